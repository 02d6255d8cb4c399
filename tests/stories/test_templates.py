"""Marketing posts variables and gets a picture."""

import pytest
from support.gateway_process import GatewayProcess

pytestmark = pytest.mark.slow

URL = "/api/templates/billboard"


def test_a_billboard_from_its_variables(gateway: GatewayProcess) -> None:
    body = {"template": "billboard", "variables": {"headline": "Winter Sale", "background_style": "snowy"}}
    answer = gateway.http.post(URL, json=body)
    assert answer.status_code == 200, answer.text
    job = answer.json()
    assert (job["status"], job["routing"]["requested"]) == ("completed", "realistic")
    image = job["images"][0]
    assert [(one["name"], one["width"], one["height"]) for one in job["images"]] == [
        ("14x48", 2880, 840), ("3x1", 2400, 800)
    ]  # fmt: skip
    assert gateway.http.get(image["url"]).content[:4] == b"\x89PNG"
    prompt = next(row["sent"] for row in job["report"] if row["name"] == "prompt")
    assert "snowy" in prompt


def test_an_avatar_goes_to_a_lora_model(gateway: GatewayProcess) -> None:
    answer = gateway.http.post(
        URL, json={"variables": {"headline": "X", "avatar_lora": "s3://b/l.safetensors"}}
    )
    assert (answer.status_code, answer.json()["setting"]) == (503, "FAL_KEY")


def test_wrong_variables_are_all_named(gateway: GatewayProcess) -> None:
    problem = gateway.http.post(URL, json={"variables": {"colour": "red"}}).json()
    assert problem["code"] == "invalid_variables"
    assert {f["pointer"] for f in problem["errors"]} == {"/variables/colour", "/variables/headline"}


def test_an_unknown_template_names_those_that_exist(gateway: GatewayProcess) -> None:
    answer = gateway.http.post("/api/templates/poster", json={"variables": {}})
    assert answer.status_code == 404
    assert {"billboard", "product-shot"} <= set(answer.json()["supported"])
