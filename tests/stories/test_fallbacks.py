"""More pictures than an endpoint makes, and other models when one fails: one job, one cost, one answer."""

import pytest
from support.gateway_process import GatewayProcess
from support.loopback_fal import LoopbackFal

pytestmark = pytest.mark.slow


def test_more_pictures_than_the_endpoint_makes_at_once(paid: GatewayProcess, fal: LoopbackFal) -> None:
    asked = {"model": "flux-dev", "inputs": {"prompt": "six foxes", "size": "128x128", "n": 6, "seed": 5}}
    estimate = paid.http.post("/api/images/estimate", json=asked).json()
    answer = paid.generate(asked)
    assert answer.status_code == 200, answer.text
    job = answer.json()
    assert (len(job["images"]), job["cost"], estimate["cost"]) == (6, 0.18, 0.18)
    assert [row["how"] for row in job["report"] if row["name"] == "num_images"] == ["emulated"]
    invoices = sorted(fal.invoices("six foxes"), key=lambda invoice: invoice.payload["seed"])
    assert [(i.payload["num_images"], i.payload["seed"]) for i in invoices] == [(4, 5), (2, 9)]
    assert len({image["id"] for image in job["images"]}) == 6


def test_what_came_is_given_and_paid(paid: GatewayProcess, fal: LoopbackFal) -> None:
    fal.fail("job", "error")
    job = paid.generate(
        {"model": "flux-dev", "inputs": {"prompt": "some foxes", "size": "128x128", "n": 8}}
    ).json()
    assert (job["status"], len(job["images"]), job["cost"]) == ("completed", 4, 0.12)
    assert job["warnings"] == ["1 of 2 calls gave no picture and are not charged: provider_failed"]
    assert sorted(attempt["status"] for attempt in job["attempts"]) == ["failed", "succeeded"]


def test_another_model_serves_when_the_first_fails(paid: GatewayProcess, fal: LoopbackFal) -> None:
    fal.fail("job", "error", endpoint="fal-ai/flux/dev")
    job = paid.generate(
        {
            "model": "flux-dev",
            "inputs": {"prompt": "a steady fox", "size": "128x128"},
            "fallbacks": ["flux-pro", "flux-schnell"],
        }
    ).json()
    assert (job["status"], job["model"], job["cost"]) == ("completed", "flux-pro", 0.05)
    assert [(a["model"], a["status"]) for a in job["attempts"]] == [
        ("flux-dev", "failed"),
        ("flux-pro", "succeeded"),
    ]
    assert "flux-dev failed and flux-pro served" in job["warnings"]
    assert [invoice.endpoint for invoice in fal.invoices("a steady fox")] == [
        "fal-ai/flux/dev",
        "fal-ai/flux-pro/v1.1",
    ]


def test_a_refused_prompt_goes_to_no_other_model(paid: GatewayProcess, fal: LoopbackFal) -> None:
    fal.fail("job", "policy", endpoint="fal-ai/flux/dev")
    answer = paid.generate(
        {"model": "flux-dev", "inputs": {"prompt": "a refused fox"}, "fallbacks": ["flux-pro"]}
    )
    assert (answer.status_code, answer.json()["code"]) == (422, "content_policy")
    assert len(fal.invoices("a refused fox")) == 1


def test_a_list_that_names_no_model_is_refused(paid: GatewayProcess) -> None:
    answer = paid.generate({"model": "flux-dev", "inputs": {"prompt": "x"}, "fallbacks": ["flux-prou"]})
    assert (answer.status_code, answer.json()["code"]) == (400, "unknown_model")
    assert "flux-pro" in answer.json()["detail"]
