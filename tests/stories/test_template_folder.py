"""A template is a folder: put one there, and the API, the command and the document have it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from support.gateway_process import GatewayProcess
from support.template_folders import ROW, write_template

pytestmark = pytest.mark.slow


def test_a_folder_is_a_template(own_gateway: Callable[..., GatewayProcess], tmp_path: Path) -> None:
    folder = write_template(tmp_path / "mine")
    running = own_gateway(GATEWAY_TEMPLATES_DIR=str(tmp_path / "mine")).start()

    shown = running.http.get("/api/templates/sale-card").json()
    assert (shown["title"], shown["available"]) == ("Sale card", True)
    assert running.http.get(shown["thumbnailUrl"]).content == (folder / "thumbnail.webp").read_bytes()
    document = running.http.get("/schema/openapi.json").json()
    assert document["components"]["schemas"]["Variables.sale-card"]["required"] == ["words"]
    listed = json.loads(running.done("template", "list", "--json"))["templates"]
    assert "sale-card" in [one["name"] for one in listed]

    # Both shapes: the name in the path, and in the body as the seed document has it.
    variables = {"words": "Everything must go"}
    for path, body in (("/sale-card", {}), ("", {"template": "sale-card"})):
        answer = running.http.post(f"/api/templates{path}", json={**body, "variables": variables})
        assert (answer.status_code, answer.json()["status"]) == (200, "completed"), answer.text
    wrong = running.http.post("/api/templates/sale-card", json={"variables": {"wordz": "x"}}).json()
    assert {fault["pointer"] for fault in wrong["errors"]} == {"/variables/wordz", "/variables/words"}


def test_one_that_comes_while_the_gateway_serves(
    own_gateway: Callable[..., GatewayProcess], tmp_path: Path
) -> None:
    (tmp_path / "mine").mkdir()
    running = own_gateway(GATEWAY_TEMPLATES_DIR=str(tmp_path / "mine")).start()
    assert running.http.get("/api/templates/sale-card").status_code == 404
    assert "sale-card" not in running.http.get("/schema/openapi.json").text

    folder = write_template(tmp_path / "mine")
    assert running.http.post("/api/admin/registry/reload", json={}).status_code == 200
    assert running.http.get("/api/templates/sale-card").status_code == 200
    document = running.http.get("/schema/openapi.json").json()
    assert "Template.sale-card" in document["components"]["schemas"]
    assert "Sale card" in running.done("template", "show", "sale-card")

    # One that is wrong changes nothing, and says where.
    (folder / "template.yaml").write_text(ROW.replace("title:", "titel:"))
    answer = running.http.post("/api/admin/registry/reload", json={})
    assert (answer.status_code, answer.json()["code"]) == (422, "bad_registry")
    assert str(folder / "template.yaml") in answer.json()["detail"]
    assert running.http.get("/api/templates/sale-card").json()["title"] == "Sale card"
