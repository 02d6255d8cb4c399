"""Errors as problem documents: a stable code, nothing of our insides."""

import json
import logging

import pytest
from litestar import Request
from litestar.exceptions import HTTPException, MethodNotAllowedException, ValidationException

import gateway.jobs.runner  # the codes of its classes count too
from gateway.problems import CODES, Problem, as_problem, problem_response, provider_problem
from providers.errors import ProviderError, ProviderUnavailable, RateLimited, RequestRejected
from registry.errors import Fault, InvalidInputs, UnknownModel

SECRET = "sk-live-4242"


def request() -> Request:
    return Request({"type": "http", "headers": [], "state": {"request_id": "req_1"}})


def answer(error: Exception) -> tuple[int, dict]:
    response = problem_response(request(), error)
    assert response.media_type == "application/problem+json"
    return response.status_code, json.loads(response.content)


@pytest.mark.parametrize("code", CODES)
def test_every_code_has_a_status_and_a_title(code) -> None:
    status, title = CODES[code]
    assert 400 <= status < 600
    found, body = answer(Problem(code, "what to do"))
    assert (found, body["status"], body["code"], body["title"]) == (status, status, code, title)
    assert body["type"] == f"urn:image-gateway:error:{code}"


def classes(cls: type[ProviderError] = ProviderError) -> list[type[ProviderError]]:
    return [cls] + [c for sub in cls.__subclasses__() for c in classes(sub)]


@pytest.mark.parametrize("cls", classes(), ids=lambda cls: cls.code)
def test_every_providers_error_has_a_status(cls) -> None:
    assert 400 <= cls.http_status < 600
    status, body = answer(cls("what happened", raw=SECRET))
    assert (status, body["code"], body["detail"]) == (cls.http_status, cls.code, "what happened")
    assert SECRET not in json.dumps(body)


def test_no_two_classes_share_a_code() -> None:
    assert gateway.jobs.runner
    codes = [cls.code for cls in classes() if "code" in vars(cls)]
    assert len(codes) == len(set(codes))


@pytest.mark.parametrize("error", [KeyError(SECRET), OSError(SECRET), HTTPException(SECRET, status_code=500)])
def test_an_unknown_error_tells_nothing_and_is_logged(error, caplog) -> None:
    with caplog.at_level(logging.ERROR):
        status, body = answer(error)
    assert (status, body["code"], body["requestId"]) == (500, "internal_error", "req_1")
    assert SECRET not in json.dumps(body)
    assert SECRET in caplog.text
    assert "req_1" in caplog.text


def test_what_is_the_callers_fault_is_not_logged(caplog) -> None:
    answer(Problem("bad_json", "no"))
    assert caplog.text == ""


def test_faults_by_pointer() -> None:
    faults = [Fault(pointer="/inputs/a", code="missing", message="a is needed", allowed="text")]
    status, body = answer(InvalidInputs(faults))
    assert (status, body["code"]) == (422, "invalid_inputs")
    assert body["errors"] == [
        {"pointer": "/inputs/a", "code": "missing", "message": "a is needed", "allowed": "text"}
    ]


def test_an_unknown_model_names_those_that_exist() -> None:
    status, body = answer(UnknownModel("x", ("a", "b"), ("a",)))
    assert (status, body["code"], body["supported"]) == (400, "unknown_model", ["a", "b"])
    assert "a, b" in body["detail"]


@pytest.mark.parametrize(
    ("status", "code"),
    [(400, "bad_request"), (404, "not_found"), (405, "method_not_allowed"), (413, "body_too_large"),
     (415, "unsupported_media_type"), (418, "bad_request")],
)  # fmt: skip
def test_litestars_own_errors(status, code) -> None:
    assert as_problem(HTTPException("x", status_code=status)).document.code == code


def test_a_wrong_query_parameter_is_named() -> None:
    error = ValidationException(
        "Bad", extra=[{"message": "Expected `int`", "key": "limit", "source": "query"}]
    )
    assert "limit: Expected `int`" in as_problem(error).document.detail


def test_headers_are_kept() -> None:
    error = MethodNotAllowedException(headers={"Allow": "GET"})
    assert problem_response(request(), error).headers == {"Allow": "GET"}


@pytest.mark.parametrize(
    ("cls", "retryable"), [(RateLimited, True), (ProviderUnavailable, True), (RequestRejected, False)]
)
def test_what_may_be_sent_again_says_so(cls, retryable) -> None:
    assert provider_problem(cls("x"), "job_1").document.retryable is retryable


# -- over the application ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "not_found"),
        ("GET", "/api/images/generate", 405, "method_not_allowed"),
        ("GET", "/api/jobs?limit=abc", 400, "bad_request"),
        ("GET", "/api/jobs?limit=101", 400, "bad_request"),
        ("GET", "/api/jobs?status=odd", 400, "bad_request"),
        ("GET", "/api/jobs?cursor=%F0%9F", 400, "bad_request"),
        ("GET", "/api/jobs?cursor=bm9uZQ==", 400, "bad_request"),
        ("GET", "/api/jobs/job_none", 404, "not_found"),
        ("DELETE", "/api/jobs/job_none", 404, "not_found"),
        ("GET", "/images/img_none", 404, "not_found"),
        ("GET", "/images/..%2f..%2fgateway.db", 404, "not_found"),
        ("GET", "/api/models/nope", 404, "not_found"),
        ("GET", "/schema/assets/nope.js", 404, "not_found"),
        ("POST", "/api/templates/nope", 404, "unknown_template"),
        ("POST", "/api/images/generate?dryRun=perhaps", 400, "bad_request"),
    ],
)
async def test_every_answer_is_a_problem(api, method, path, status, code) -> None:
    response = await api.request(method, path, json={} if method == "POST" else None)
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["requestId"] == response.headers["x-request-id"]


async def test_a_wrong_method_names_the_right_ones(api) -> None:
    response = await api.delete("/api/images/generate")
    assert "POST" in response.headers["allow"]


async def test_a_body_above_a_mebibyte(api) -> None:
    response = await api.post("/api/images/generate", json={"inputs": {"prompt": "x" * (1 << 20)}})
    assert (response.status_code, response.json()["code"]) == (413, "body_too_large")


@pytest.mark.parametrize("n", ["num_images", "n"])
async def test_the_raw_route_makes_one_picture(api, n) -> None:
    body = {"model_id": "embedded-mini", "inputs": "x", "parameters": {n: 2}}
    response = await api.post("/diffusers/generate", json=body)
    assert response.status_code == 422
    assert response.json()["errors"][0]["pointer"] == f"/parameters/{n}"
    assert (await api.get("/api/jobs")).json()["jobs"] == []
