"""`/api/templates` before anything is run: what is shown of each template, and its thumbnail."""

import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.template_folders import ROW, write_template

from gateway.app import create_app
from gateway.lifespan import running
from gateway.settings import load_settings

pytestmark = pytest.mark.slow


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A gateway that has a template more, `sale-card`."""
    write_template(tmp_path / "mine")
    away = ROW.replace("{model: embedded-mini}", "{model: nowhere}").replace(
        "[model]}, intent: text_heavy", "[model]}, model: flux-dev"
    )
    write_template(tmp_path / "mine", "away", away)
    (tmp_path / "mine" / "away" / "thumbnail.webp").unlink()
    env = {"GATEWAY_DATA_DIR": str(tmp_path / "data"), "GATEWAY_TEMPLATES_DIR": str(tmp_path / "mine")}
    app = create_app(load_settings(env))
    transport = httpx.ASGITransport(app=app)  # type: ignore[arg-type]  # Litestar types scopes itself
    async with running(app), httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as http:
        yield http


async def listed(api: httpx.AsyncClient) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in (await api.get("/api/templates")).json()["templates"]}


async def test_a_template_of_the_list(api) -> None:
    shown = (await listed(api))["sale-card"]
    assert (shown["title"], shown["description"]) == ("Sale card", "A card for a window.")
    variables = shown["variables"]
    assert (variables["required"], variables["additionalProperties"]) == (["words"], False)
    assert variables["properties"]["words"] == {
        "type": "string", "maxLength": 40, "description": "What it says",
    }  # fmt: skip
    assert shown["outputs"] == [
        {"name": "card", "width": 300, "height": 100, "format": "png", "about": "For the window", "when": []},
        {"name": "tile", "width": 120, "height": 120, "format": "jpeg", "about": "", "when": []},
    ]
    assert shown["text"] == ["overlay", "model"]
    assert "sample" not in shown


async def test_its_steps_say_what_serves_them_and_when(api) -> None:
    shown = (await listed(api))["sale-card"]
    (step,) = shown["steps"]
    assert (step["name"], step["does"], step["of"], step["available"]) == ("scene", "generate", None, True)
    first, last = step["uses"]
    assert (first["if"], first["intent"], first["model"]) == ({"text": ["model"]}, "text_heavy", None)
    assert (last["if"], last["when"], last["model"], last["available"]) == ({}, [], "embedded-mini", True)


async def test_one_that_nothing_serves_says_why(api) -> None:
    shown = (await listed(api))["away"]
    why = "the registry has no model 'nowhere'"
    assert (shown["available"], shown["unavailableBecause"]) == (False, f"scene: {why}")
    assert (shown["steps"][0]["available"], shown["steps"][0]["unavailableBecause"]) == (False, why)
    # Without a key fal's models are not available either, and it is said which is missing.
    assert "FAL_KEY" in shown["steps"][0]["uses"][0]["unavailableBecause"]
    assert (shown["price"], shown["priceMicros"]) == (None, None)


async def test_every_shipped_one_can_be_run_and_priced(api) -> None:
    shown = await listed(api)
    del shown["away"]
    assert {name for name, one in shown.items() if not one["available"]} == set()
    assert {name for name, one in shown.items() if one["price"] is None} == set()


async def test_one_of_them_with_its_example(api) -> None:
    shown = (await api.get("/api/templates/sale-card")).json()
    sample = shown.pop("sample")
    assert shown == (await listed(api))["sale-card"]
    assert sample["words"] == "Everything must go"
    kind, _, data = sample["photo"].partition(",")
    assert kind == "data:image/png;base64"
    assert base64.b64decode(data).startswith(b"\x89PNG")


async def test_one_that_is_not_there(api) -> None:
    for path in ("poster", "poster/thumbnail"):
        answer = await api.get(f"/api/templates/{path}")
        problem = answer.json()
        assert (answer.status_code, problem["code"]) == (404, "unknown_template")
        assert {"billboard", "sale-card"} <= set(problem["supported"])


async def test_a_thumbnail(api, tmp_path) -> None:
    url = (await listed(api))["sale-card"]["thumbnailUrl"]
    answer = await api.get(url)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/webp")
    assert answer.content == (tmp_path / "mine" / "sale-card" / "thumbnail.webp").read_bytes()
    assert answer.headers["cache-control"] == "private, max-age=3600"
    again = await api.get(url, headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    changed = await api.get(url, headers={"If-None-Match": '"of-before"'})
    assert changed.status_code == 200


async def test_a_template_without_one(api) -> None:
    assert (await listed(api))["away"]["thumbnailUrl"] is None
    answer = await api.get("/api/templates/away/thumbnail")
    assert (answer.status_code, answer.json()["code"]) == (404, "no_thumbnail")


async def test_a_body_that_names_none_lists_them(api) -> None:
    answer = await api.post("/api/templates", json={"variables": {"words": "x"}})
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (400, "invalid_body")
    assert (problem["errors"][0]["pointer"], problem["errors"][0]["code"]) == ("/template", "missing")
    assert "billboard" in problem["errors"][0]["allowed"]


async def test_a_price_above_its_limit_is_told_which(api) -> None:
    body = {"variables": {"words": "x", "price": "500.01"}}
    (fault,) = (await api.post("/api/templates/sale-card", json=body)).json()["errors"]
    assert (fault["pointer"], fault["code"], fault["allowed"]) == (
        "/variables/price", "out_of_range", "at most 500",
    )  # fmt: skip


async def test_the_document_has_each_ones_request(api) -> None:
    document = (await api.get("/schema/openapi.json")).json()
    schemas = document["components"]["schemas"]
    by_name = document["paths"]["/api/templates"]["post"]["requestBody"]["content"]["application/json"]
    mapping = by_name["schema"]["discriminator"]["mapping"]
    assert mapping["sale-card"] == "#/components/schemas/Template.sale-card"
    assert {ref["$ref"] for ref in by_name["schema"]["oneOf"]} == set(mapping.values())
    assert mapping.keys() == (await listed(api)).keys()
    request = schemas["Template.sale-card"]
    assert (request["required"], request["properties"]["template"]["enum"]) == (
        ["template", "variables"],
        ["sale-card"],
    )
    assert request["properties"]["variables"] == {"$ref": "#/components/schemas/Variables.sale-card"}
    assert schemas["Variables.sale-card"]["properties"]["words"]["maxLength"] == 40
    for path in ("", "/thumbnail"):
        (name,) = document["paths"][f"/api/templates/{{name}}{path}"]["get"]["parameters"]
        assert set(name["schema"]["enum"]) == set(mapping)
    by_path = document["paths"]["/api/templates/{name}"]["post"]["requestBody"]["content"]["application/json"]
    refs = by_path["schema"]["properties"]["variables"]["anyOf"]
    assert {"$ref": "#/components/schemas/Variables.sale-card"} in refs
    assert by_path["examples"]["sale-card"]["value"] == {"variables": {"words": "Everything must go"}}


async def test_money_is_a_number_in_the_document(api) -> None:
    schemas = (await api.get("/schema/openapi.json")).json()["components"]["schemas"]
    assert schemas["RunEstimateView"]["properties"]["cost"] == {"type": "number"}
    for name, member in (("StepView", "cost"), ("TemplateView", "price"), ("TemplateDetail", "price")):
        assert schemas[name]["properties"][member] == {"type": ["number", "null"]}


async def test_two_templates_whose_names_come_to_one_component(tmp_path) -> None:
    from gateway.template_openapi import describe_templates
    from templates.library import TemplateLibrary

    for name in ("sale card", "sale.card"):
        write_template(tmp_path / "odd", name)
    schemas: dict[str, Any] = {}
    document = {
        "components": {"schemas": schemas},
        "paths": {
            "/api/templates/{name}/thumbnail": {"get": {"responses": {"200": {}}}},
            "/api/templates/{name}/preview": {"post": {"responses": {"200": {"content": {"image/png": {}}}}}},
        },
    }
    describe_templates(document, TemplateLibrary.load(tmp_path / "odd"), {"type": "object", "properties": {}})
    assert {name for name in schemas if "sale" in name} == {
        "Template.sale.card", "Template.sale.card_", "Variables.sale.card", "Variables.sale.card_",
    }  # fmt: skip
