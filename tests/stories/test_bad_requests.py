"""Every fault is a problem with a stable code and a place, before anything is spent."""

from typing import Any

import pytest
from support.gateway_process import GatewayProcess

URL = "/api/images/generate"
GOOD = {"inputs": {"prompt": "x", "size": "64x64"}}
JSON = {"Content-Type": "application/json"}


def body(**inputs: Any) -> dict[str, Any]:
    return {"model": "embedded-mini", "inputs": {"prompt": "x", **inputs}}


FAULTS: list[tuple[str, dict[str, Any], int, str, set[str]]] = [
    # what, request, status, code, pointers
    ("bad JSON", {"content": b"{bad", "headers": JSON}, 400, "bad_json", set()),
    ("empty body", {"content": b"", "headers": JSON}, 400, "bad_json", set()),
    ("a list", {"json": []}, 400, "invalid_body", {""}),
    ("unknown field", {"json": {**GOOD, "webhook": "x"}}, 400, "invalid_body", {"/webhook"}),
    ("inputs no object", {"json": {"inputs": "x"}}, 400, "invalid_body", {"/inputs"}),
    ("model no text", {"json": {"model": 5, "inputs": {}}}, 400, "invalid_body", {"/model"}),
    ("unknown model", {"json": {"model": "flux-dve", "inputs": {}}}, 400, "unknown_model", set()),
    ("form body", {"data": {"prompt": "x"}}, 415, "unsupported_media_type", set()),
    ("too large", {"json": body(style="x" * 1_100_000)}, 413, "body_too_large", set()),
    ("deep JSON", {"content": b'{"inputs":{"prompt":' + b"[" * 100_000, "headers": JSON}, 400, "bad_json", set()),
    ("nothing given", {"json": {}}, 422, "invalid_inputs", {"/inputs/prompt"}),
    (
        "all missing at once",
        {"json": {"model": "face-swap"}},
        422,
        "invalid_inputs",
        {"/inputs/image_url", "/inputs/target_image_url"},
    ),
    ("blank prompt", {"json": {"inputs": {"prompt": "  "}}}, 422, "invalid_inputs", {"/inputs/prompt"}),
    ("unknown input", {"json": body(promt="x")}, 422, "invalid_inputs", {"/inputs/promt"}),
    ("wrong types", {"json": body(steps="9", seed=1.5)}, 422, "invalid_inputs", {"/inputs/steps", "/inputs/seed"}),
    ("out of range", {"json": body(steps=1000, n=0)}, 422, "invalid_inputs", {"/inputs/steps", "/inputs/n"}),
    ("model's range", {"json": body(width=4096)}, 422, "invalid_inputs", {"/inputs/width"}),
    ("two values", {"json": {**body(steps=4), "options": {"num_inference_steps": 5}}}, 422, "invalid_inputs",
     {"/options/num_inference_steps"}),
    ("size against width", {"json": body(size="64x64", width=128)}, 422, "invalid_inputs", {"/inputs/width"}),
    ("a mask it cannot use", {"json": body(mask_url="https://a.test/m.png")}, 422, "invalid_inputs", {"/inputs/mask_url"}),
    ("file URL", {"json": body(image_url="file:///etc/passwd")}, 422, "invalid_inputs", {"/inputs/image_url"}),
    ("bad policy", {"json": {**GOOD, "options": {"on_unsupported": "maybe"}}}, 422, "invalid_inputs",
     {"/options/on_unsupported"}),
    ("strict hint", {"json": {**body(style="x"), "options": {"on_unsupported": "error"}}}, 422, "invalid_inputs",
     {"/inputs/style"}),
    ("no provider", {"json": {"model": "flux-dev", "inputs": {"prompt": "x"}}}, 503, "provider_not_configured", set()),
    ("foreign origin", {"json": GOOD, "headers": {"Origin": "https://evil.test"}}, 403, "foreign_origin", set()),
    ("null origin", {"json": GOOD, "headers": {"Origin": "null"}}, 403, "foreign_origin", set()),
    ("foreign host", {"json": GOOD, "headers": {"Host": "evil.test"}}, 403, "foreign_host", set()),
]  # fmt: skip


@pytest.mark.parametrize("headers", [{"X-Long": "x" * 150_000}, {f"X-{n}": "x" for n in range(120)}])
def test_too_much_of_a_header_is_refused_by_the_server(headers, gateway: GatewayProcess) -> None:
    assert gateway.http.get("/health/live", headers=headers).status_code == 431


@pytest.mark.parametrize(
    ("request_", "status", "code", "pointers"), [f[1:] for f in FAULTS], ids=[f[0] for f in FAULTS]
)
def test_a_fault_is_a_problem_and_costs_nothing(
    gateway: GatewayProcess, request_: dict[str, Any], status: int, code: str, pointers: set[str]
) -> None:
    before = gateway.query("select count(*) from job")
    answer = gateway.http.post(URL, **request_)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert (problem["code"], problem["status"]) == (code, status)
    assert {fault["pointer"] for fault in problem.get("errors", [])} == pointers
    assert all(
        fault.get("allowed") or fault["code"] == "conflicting_values" for fault in problem.get("errors", [])
    )
    assert problem["requestId"] == answer.headers["x-request-id"]
    assert len(problem["detail"]) > 15
    assert gateway.query("select count(*) from job") == before


def test_an_unknown_model_suggests_the_near_one(gateway: GatewayProcess) -> None:
    problem = gateway.generate({"model": "flux-dve", "inputs": {}}).json()
    assert "flux-dev" in problem["detail"]
    assert "embedded-mini" in problem["supported"]


def test_own_origin_may_call(gateway: GatewayProcess) -> None:
    assert gateway.generate(GOOD, Origin=gateway.url).status_code == 200


@pytest.mark.parametrize(
    "path", ["/api/jobs/job_nobody", "/images/img_nobody", "/api/models/nobody", "/nowhere"]
)
def test_what_is_not_there_is_a_404(gateway: GatewayProcess, path: str) -> None:
    answer = gateway.http.get(path)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/api/images/estimate", {"Content-Type": "text/plain"}, 415),
        ("/api/images/estimate", {"Content-Type": "application/json", "Origin": "http://evil.test"}, 403),
        ("/api/nowhere", {"Content-Type": "application/json"}, 404),
        ("/api/models", {"Content-Type": "application/json"}, 405),
    ],
)
def test_a_body_that_is_not_read_ends_its_connection_and_the_client_is_told(
    gateway: GatewayProcess, path: str, headers: dict[str, str], status: int
) -> None:
    """Else the next request on the same connection goes nowhere."""
    for _ in range(10):
        answer = gateway.http.post(path, content=b" " * 200_000, headers=headers)
        assert (answer.status_code, answer.headers.get("connection")) == (status, "close")
        assert gateway.http.get("/health/live").status_code == 200


def test_a_body_that_is_read_keeps_its_connection(gateway: GatewayProcess) -> None:
    answer = gateway.http.post(
        "/api/images/estimate", content=b"{", headers={"Content-Type": "application/json"}
    )
    assert (answer.status_code, answer.headers.get("connection")) == (400, None)
