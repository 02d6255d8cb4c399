"""The OpenAPI document holds together, and shows each model's own inputs."""

import json
import re
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from support.closed_app import litestar
from support.small_registry import model, route, small_catalog

from gateway.answers import Operation
from gateway.app import create_app
from gateway.guard import Guard
from gateway.openapi import complete_document
from gateway.routes.schema import operations_of
from gateway.settings import load_settings
from registry.catalog import Catalog
from registry.jsonschema import model_schema
from registry.load import load_registry
from templates.library import TemplateLibrary

CATALOG = Catalog(load_registry())
METHODS = {"get", "put", "post", "delete", "options", "head", "patch", "trace"}


@pytest.fixture
async def document(api) -> dict[str, Any]:
    response = await api.get("/schema/openapi.json")
    assert response.status_code == 200
    return response.json()


def walk(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from walk(item)


def resolve(document: dict[str, Any], ref: str) -> Any:
    assert ref.startswith("#/")
    found: Any = document
    for part in ref[2:].split("/"):
        found = found[part.replace("~1", "/").replace("~0", "~")]
    return found


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            assert method in METHODS
            yield path, method, operation


async def test_the_structure(document) -> None:
    assert re.fullmatch(r"3\.1\.\d+", document["openapi"])
    assert document["info"]["title"]
    assert document["info"]["version"]
    ids = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(ids) == len(set(ids)) > 10
    for name in document["components"]["schemas"]:
        assert re.fullmatch(r"[A-Za-z0-9._-]+", name)


async def test_every_reference_leads_somewhere(document) -> None:
    refs = [node["$ref"] for node in walk(document) if isinstance(node.get("$ref"), str)]
    assert refs
    for ref in refs:
        assert isinstance(resolve(document, ref), dict)


async def test_every_path_parameter_is_declared(document) -> None:
    for path, method, operation in operations(document):
        declared = {p["name"] for p in operation.get("parameters", []) if p["in"] == "path"}
        assert set(re.findall(r"{(\w+)}", path)) == declared, (method, path)


async def test_every_operation_has_answers_and_a_problem(document) -> None:
    for _, _, operation in operations(document):
        assert {"200", "201", "202", "204"} & operation["responses"].keys()
        assert all(answer["description"] for answer in operation["responses"].values())
        problem, of_code = operation["responses"]["500"]["content"]["application/problem+json"]["schema"][
            "allOf"
        ]
        assert resolve(document, problem["$ref"])["required"] == ["type", "title", "status", "code", "detail"]
        assert of_code["properties"]["code"]["enum"] == ["internal_error"]


async def test_every_operation_that_reads_a_body_shows_it(document) -> None:
    for path, method, operation in operations(document):
        assert ("requestBody" in operation) == (method in ("post", "put", "patch")), (method, path)


async def test_the_problems_are_those_of_the_handler_and_of_what_it_is(document) -> None:
    def codes(path: str, method: str) -> dict[str, list[str]]:
        return {
            status: schema["allOf"][1]["properties"]["code"]["enum"]
            for status, answer in document["paths"][path][method]["responses"].items()
            if (schema := answer.get("content", {}).get("application/problem+json", {}).get("schema"))
        }

    assert codes("/api/auth/verify", "post") == {
        "400": ["bad_request", "bad_json", "invalid_body"],
        "403": ["foreign_host", "foreign_origin"],
        "408": ["slow_request"],
        "410": ["bad_link"],
        "413": ["body_too_large"],
        "415": ["unsupported_media_type"],
        "500": ["internal_error"],
        "503": ["database_unavailable"],
    }
    assert "not_found" in codes("/api/jobs/{job_id}", "get")["404"]
    assert "admin_required" in codes("/api/admin/audit", "get")["403"]
    assert "session_required" in codes("/api/auth/signout", "post")["403"]
    assert "content_policy" in codes("/api/images/generate", "post")["422"]
    assert "content_policy" not in codes("/api/images/estimate", "post")["422"]
    assert "checks" in resolve(document, ready_view(document)["$ref"])["properties"]


def ready_view(document: dict[str, Any]) -> dict[str, Any]:
    answer = document["paths"]["/health/ready"]["get"]["responses"]["503"]
    return answer["content"]["application/json"]["schema"]


def test_each_handlers_example_is_a_body_that_it_takes() -> None:
    app = create_app(load_settings({}))
    assert isinstance(app, Guard)
    bodies = [operation for operation in operations_of(litestar(app)).values() if operation.body]
    assert len(bodies) > 15
    for operation in bodies:
        assert msgspec.convert(operation.example, operation.body)


@pytest.mark.parametrize("path", ["/api/images/generate", "/api/images/estimate"])
async def test_one_schema_a_model(document, path) -> None:
    body = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
    mapping = body["discriminator"]["mapping"]
    names = {spelling for m in CATALOG.alive.values() for spelling in (m.id, *m.aliases)}
    assert mapping.keys() == names
    assert {ref["$ref"] for ref in body["oneOf"]} == {
        *mapping.values(),
        "#/components/schemas/GenerateByIntent",
    }
    for m in CATALOG.alive.values():
        schema = resolve(document, mapping[m.id])
        assert schema["properties"]["model"]["enum"] == [m.id, *m.aliases]
        assert schema["properties"]["inputs"] == json.loads(
            msgspec.json.encode(model_schema(m, CATALOG.vocabulary))
        )


async def test_models_differ(document) -> None:
    schemas = document["components"]["schemas"]
    swap = schemas["Generate.face-swap"]["properties"]["inputs"]
    assert swap["required"] == ["image_url", "target_image_url"]
    assert "num_inference_steps" not in swap["properties"]
    assert "safety_tolerance" in schemas["Generate.flux-pro"]["properties"]["inputs"]["properties"]


async def test_only_jobs_go_on(document) -> None:
    may_wait = {path for path, _, operation in operations(document) if "202" in operation["responses"]}
    assert may_wait == {
        "/api/images/generate",
        "/diffusers/generate",
        "/api/templates",
        "/api/templates/{name}",
        # Whose mail goes on.
        "/api/auth/signup",
        "/api/auth/reset",
        "/api/deliveries/{delivery_id}/redeliver",
        "/api/admin/outbox/{delivery_id}/redeliver",
    }


async def test_what_makes_a_job_may_be_sent_again(document) -> None:
    for path, method, operation in operations(document):
        sent = {p["name"] for p in operation.get("parameters", []) if p["in"] == "header"}
        makes_job = "Prefer" in sent
        assert ("Idempotency-Key" in sent) == makes_job, (method, path)
        marked = {
            s
            for s, answer in operation["responses"].items()
            if "Idempotent-Replayed" in answer.get("headers", {})
        }
        assert marked == ({"200", "202"} if makes_job else set())


async def test_the_raw_route_names_its_models(document) -> None:
    body = document["paths"]["/diffusers/generate"]["post"]["requestBody"]["content"]["application/json"]
    ids = body["schema"]["properties"]["model_id"]["enum"]
    assert "embedded-mini" in ids
    assert "flux-dev" not in ids


async def test_the_same_document_twice(api, document) -> None:
    assert (await api.get("/schema/openapi.json")).json() == document


async def test_two_models_whose_names_come_to_one(document) -> None:
    catalog = small_catalog(
        {name: model(route("first")) for name in ("two", "solo", "org/keyed", "org.keyed")}
    )
    nothing = Operation(closed=False, by_link=False, codes=(), body=None, example={})
    said = {(path, method): nothing for path, method, _ in operations(document)}
    done = complete_document(document, catalog, TemplateLibrary.load(), [], said, asks_for_keys=False)
    body = done["paths"]["/api/images/generate"]["post"]["requestBody"]["content"]["application/json"][
        "schema"
    ]
    assert len(set(body["discriminator"]["mapping"].values())) == 4


async def test_the_page_works_with_what_is_here(api) -> None:
    page = await api.get("/schema")
    assert page.headers["content-type"].startswith("text/html")
    for link in re.findall(r'(?:src|href)="(/[^"]+)"', page.text):
        assert (await api.get(link)).status_code == 200


async def test_each_example_is_a_request_that_the_gateway_takes(api, document) -> None:
    post = document["paths"]["/api/images/estimate"]["post"]
    examples = post["requestBody"]["content"]["application/json"]["examples"]
    assert examples.keys() == set(CATALOG.alive)
    assert next(iter(examples)) == CATALOG.data.default[0]
    for name, example in examples.items():
        answer = await api.post("/api/images/estimate", json=example["value"])
        assert answer.status_code == 200, (name, answer.text)
        assert answer.json()["model"] == name


async def test_money_is_a_number(document) -> None:
    schemas = document["components"]["schemas"]
    assert schemas["JobView"]["properties"]["cost"] == {"type": ["number", "null"]}
    assert schemas["EstimateView"]["properties"]["cost"] == {"type": "number"}
    assert schemas["QuoteView"]["properties"]["cost"] == {"type": "number"}


def test_no_two_answers_share_a_name(document) -> None:
    """Of two structs of one name each is described under its module's, and its money as text."""
    assert [name for name in document["components"]["schemas"] if "_schemas_" in name] == []
    moved = document["components"]["schemas"]["MovedView"]["properties"]["amount"]
    assert moved == {"type": "number"}
