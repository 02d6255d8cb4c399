"""Vector pictures: SVG by name or by intent, checked before it is kept, and shown so that nothing in it runs."""

import pytest
from support.gateway_process import GatewayProcess
from support.loopback_fal import LoopbackFal

pytestmark = pytest.mark.slow


def test_an_intent_for_shapes_answers_svg(paid: GatewayProcess, fal: LoopbackFal) -> None:
    job = paid.generate(
        {"intent": "vector", "inputs": {"prompt": "a flat fox icon", "size": "512x512"}}
    ).json()
    assert (job["status"], job["model"], job["cost"]) == ("completed", "recraft-v4-vector", 0.096)
    (image,) = job["images"]
    assert (image["contentType"], image["width"], image["height"]) == ("image/svg+xml", 512, 512)
    answer = paid.http.get(image["url"])
    assert answer.headers["content-type"] == "image/svg+xml"
    assert answer.headers["content-security-policy"].startswith("sandbox; default-src 'none';")
    assert answer.headers["content-disposition"].endswith('.svg"')
    assert answer.content.startswith(b"<?xml")


def test_an_svg_that_could_run_is_not_kept(paid: GatewayProcess, fal: LoopbackFal) -> None:
    fal.fail("job", "image_svg")
    answer = paid.generate({"model": "recraft-v3-vector", "inputs": {"prompt": "a bad fox"}})
    assert (answer.status_code, answer.json()["code"]) == (502, "provider_bad_response")
    assert "<script>" in answer.json()["detail"]


def test_a_model_of_pixels_gives_no_svg(paid: GatewayProcess, fal: LoopbackFal) -> None:
    fal.fail("job", "image_svg")
    answer = paid.generate({"model": "recraft-v3", "inputs": {"prompt": "a foxy fox"}})
    assert (answer.status_code, answer.json()["code"]) == (502, "provider_bad_response")
