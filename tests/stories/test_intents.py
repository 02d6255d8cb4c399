"""An intent in place of a model: the best that can serve does, and the answer says which and why."""

import base64
import io
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.gateway_process import GatewayProcess
from support.loopback_fal import LoopbackFal

from registry.load import load_registry

pytestmark = pytest.mark.slow

INTENTS = sorted(load_registry().intents)
EIGHT = (
    "flux-dev",
    "flux-pro-ultra",
    "flux-2-pro",
    "ideogram-v3",
    "nano-banana-pro",
    "gpt-image-2",
    "seedream-4",
    "recraft-v3",
)


def picture() -> str:
    out = io.BytesIO()
    Image.new("RGB", (96, 64), "teal").save(out, "PNG")
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode()


def inputs(intent: str) -> dict[str, Any]:
    return {"prompt": f"for {intent}"} | ({"image_url": picture()} if intent == "edit" else {})


@pytest.mark.parametrize("intent", INTENTS)
def test_with_fals_key_alone_every_intent_is_served(
    intent: str, paid: GatewayProcess, fal: LoopbackFal
) -> None:
    answer = paid.generate({"intent": intent, "inputs": inputs(intent)})
    assert answer.status_code == 200, answer.text
    job = answer.json()
    assert job["routing"]["rule"] == "intent"
    assert job["model"] != "embedded-mini"
    assert len(fal.invoices(f"for {intent}")) == 1


def test_an_edit_of_nothing_is_refused(paid: GatewayProcess) -> None:
    answer = paid.generate({"intent": "edit", "inputs": {"prompt": "x"}})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_inputs")
    assert "needs image_url" in answer.json()["detail"]
    assert [fault["pointer"] for fault in answer.json()["errors"]] == ["/inputs/image_url"]


@pytest.mark.parametrize("intent", INTENTS)
def test_without_a_key_the_embedded_model_serves_and_says_so(intent: str, gateway: GatewayProcess) -> None:
    body = {"intent": intent, "inputs": inputs(intent) | {"size": "64x64", "steps": 4}}
    job = gateway.generate(body).json()
    assert (job["status"], job["model"], job["cost"]) == ("completed", "embedded-mini", 0)
    assert job["routing"]["requested"] == intent
    passed = job["routing"]["passedOver"]
    assert passed
    assert all("set " in over["reason"] or "does not take" in over["reason"] for over in passed), passed


def test_one_body_runs_on_eight_models_in_turn(
    fal: LoopbackFal, own_gateway: Callable[..., GatewayProcess], tmp_path: Path
) -> None:
    """The engine is swapped and the car stays: fal takes every payload, each by its own schema."""
    text = resources.files("registry").joinpath("models.yaml").read_text("utf-8")
    rows = "".join(f"  only_{name}: {{about: one, models: [{name}]}}\n" for name in EIGHT)
    (tmp_path / "models.yaml").write_text(text.replace("\nintents:\n", f"\nintents:\n{rows}", 1))
    running = own_gateway(GATEWAY_REGISTRY=str(tmp_path / "models.yaml"), **fal.env()).start()
    asked = {
        "prompt": "one body",
        "aspect_ratio": "1:1",
        "seed": 7,
        "output_format": "png",
        "optimize_prompt": True,
    }
    for name in EIGHT:
        job = running.generate({"intent": f"only_{name}", "inputs": asked}).json()
        assert (job["status"], job["model"]) == ("completed", name), job
        told = {row["name"] for row in job["report"] if row["requestedAs"]}
        assert told == set(asked)
    # Some of them write the prompt anew: "One body."
    asked_of = [job.endpoint for job in fal.jobs if job.payload["prompt"].casefold().startswith("one body")]
    assert len(set(asked_of)) == len(asked_of) == 8
    running.check_books()
