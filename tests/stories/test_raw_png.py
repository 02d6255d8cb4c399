"""`curl -o image.png`: raw bytes in the Hugging Face style, and no backend woken for nothing."""

import io

from PIL import Image
from support.gateway_process import GatewayProcess

URL = "/diffusers/generate"


def test_the_answer_is_the_png_itself(gateway: GatewayProcess) -> None:
    body = {
        "model_id": "embedded-mini",
        "inputs": "a hill",
        "parameters": {"width": 128, "height": 64, "seed": 3},
    }
    answer = gateway.http.post(URL, json=body)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["x-seed"] == "3"
    assert answer.headers["x-cost-usd"] == "0.00"
    assert Image.open(io.BytesIO(answer.content)).size == (128, 64)
    job = gateway.job(answer.headers["x-job-id"])
    assert job["images"][0]["seed"] == 3
    assert gateway.http.post(URL, json=body).content == answer.content


def test_a_model_that_is_not_there_names_those_that_are(gateway: GatewayProcess) -> None:
    answer = gateway.http.post(URL, json={"model_id": "nobody/nothing", "inputs": "x"})
    assert (answer.status_code, answer.json()["code"]) == (400, "unknown_model")
    assert "zai-org/GLM-Image" in answer.json()["supported"]
    assert "flux-dev" not in answer.json()["supported"]


def test_a_model_of_another_kind_is_sent_to_the_right_door(gateway: GatewayProcess) -> None:
    answer = gateway.http.post(URL, json={"model_id": "flux-dev", "inputs": "x"})
    assert (answer.status_code, answer.json()["code"]) == (400, "not_a_diffusers_model")


def test_a_backend_without_credentials_says_what_to_set(gateway: GatewayProcess) -> None:
    answer = gateway.http.post(URL, json={"model_id": "zai-org/GLM-Image", "inputs": "x"})
    assert (answer.status_code, answer.json()["code"]) == (503, "provider_not_configured")
    assert answer.json()["setting"] == "MODAL_TOKEN_ID"


def test_faults_point_into_this_body(gateway: GatewayProcess) -> None:
    body = {"model_id": "embedded-mini", "inputs": "", "parameters": {"width": 5000, "steps": "ten"}}
    answer = gateway.http.post(URL, json=body)
    assert answer.status_code == 422
    assert {f["pointer"] for f in answer.json()["errors"]} == {"/inputs", "/parameters/steps"}


def test_the_list_has_every_diffusers_model_and_its_tier(gateway: GatewayProcess) -> None:
    models = {m["id"]: m for m in gateway.http.get("/diffusers/models").json()["models"]}
    assert models["zai-org/GLM-Image"]["tier"] == "L40S"
    assert models["stabilityai/stable-diffusion-xl-base-1.0"]["tier"] == "L40S"
    assert models["embedded-mini"]["available"]
    assert any(m["tier"] == "A10G" for m in models.values())
    assert "flux-dev" not in models
