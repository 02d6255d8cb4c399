"""No key, no account, no network: a prompt comes back as an image, its cost and its job."""

import hashlib
import io

import pytest
from PIL import Image
from support.gateway_process import GatewayProcess

BODY = {"model": "embedded-mini", "inputs": {"prompt": "a red circle", "seed": 7}}


def test_a_prompt_comes_back_as_an_image(gateway: GatewayProcess) -> None:
    answer = gateway.generate({**BODY, "userId": "user123"})
    assert answer.status_code == 200, answer.text
    job = answer.json()
    assert job["status"] == "completed"
    assert (job["model"], job["provider"], job["userId"]) == ("embedded-mini", "diffusers", "user123")
    assert (job["cost"], job["costMicros"], job["currency"]) == (0, 0, "USD")
    assert job["imageUrl"] == job["images"][0]["url"]
    assert job["createdAt"] <= job["completedAt"]
    assert [a["status"] for a in job["attempts"]] == ["succeeded"]
    assert job["routing"]["rule"] == "model"
    data = gateway.http.get(job["imageUrl"])
    assert data.headers["content-type"] == "image/png"
    assert data.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in data.headers["content-security-policy"]
    image = job["images"][0]
    assert hashlib.sha256(data.content).hexdigest() == image["sha256"]
    picture = Image.open(io.BytesIO(data.content))
    picture.load()
    assert picture.size == (image["width"], image["height"]) == (256, 256)


def test_the_job_can_be_asked_for_again(gateway: GatewayProcess) -> None:
    made = gateway.generate(BODY).json()
    assert gateway.job(made["jobId"]) == made
    newest = gateway.http.get("/api/jobs", params={"limit": 1}).json()
    assert newest["jobs"] == [made]
    older = gateway.http.get("/api/jobs", params={"limit": 1, "cursor": newest["nextCursor"]}).json()
    assert older["jobs"][0]["jobId"] < made["jobId"]


def test_the_same_seed_gives_the_same_bytes(gateway: GatewayProcess) -> None:
    first, second = (gateway.generate(BODY).json()["images"][0] for _ in range(2))
    assert first["sha256"] == second["sha256"]
    assert first["id"] != second["id"]
    other = gateway.generate({"inputs": {**BODY["inputs"], "seed": 8}}).json()["images"][0]
    assert other["sha256"] != first["sha256"]


@pytest.mark.parametrize(
    "change",
    [
        {"size": "128x192"},
        {"steps": 4},
        {"cfg_scale": 1.5},
        {"negative_prompt": "blue"},
        {"prompt": "a blue square"},
        {"sampler": "k_heun"},
    ],
)
def test_each_input_changes_the_picture(gateway: GatewayProcess, change: dict[str, object]) -> None:
    plain = gateway.generate(BODY).json()
    changed = gateway.generate({"inputs": {**BODY["inputs"], **change}}).json()
    assert changed["images"][0]["sha256"] != plain["images"][0]["sha256"]
    asked = {row["requestedAs"]: row["how"] for row in changed["report"] if row["requestedAs"]}
    assert asked.keys() == {"prompt", "seed", *change}
    assert "dropped" not in asked.values()


def test_several_images_have_their_own_seeds(gateway: GatewayProcess) -> None:
    job = gateway.generate({"inputs": {**BODY["inputs"], "n": 2, "size": "64x64"}}).json()
    assert [image["seed"] for image in job["images"]] == [7, 8]
    assert len({image["sha256"] for image in job["images"]}) == 2


def test_options_and_inputs_are_one_namespace(gateway: GatewayProcess) -> None:
    job = gateway.generate(
        {"inputs": {"prompt": "x"}, "options": {"width": 64, "height": 72, "seed": 1}}
    ).json()
    assert (job["images"][0]["width"], job["images"][0]["height"]) == (64, 72)


def test_a_hint_that_cannot_be_honoured_is_a_warning(gateway: GatewayProcess) -> None:
    job = gateway.generate({"inputs": {"prompt": "x", "size": "64x64", "steps": 120, "style": "noir"}}).json()
    how = {row["name"]: (row["how"], row["sent"]) for row in job["report"]}
    assert how["num_inference_steps"] == ("clamped", 50)
    assert how["style"] == ("dropped", None)
    assert len(job["warnings"]) == 2


def test_an_estimate_spends_nothing(gateway: GatewayProcess) -> None:
    before = gateway.query("select count(*) from job")
    body = {
        "model": "flux-dev",
        "inputs": {"prompt": "x", "lora_url": "s3://b/l.safetensors"},
        "options": {"n": 2},
    }
    for path in ("/api/images/estimate", "/api/images/generate?dryRun=true"):
        answer = gateway.http.post(path, json=body).json()
        assert (answer["cost"], answer["costMicros"], answer["ceilingMicros"]) == (0.06, 60_000, 60_000)
        assert answer["endpoint"] == "fal-ai/flux-lora"
        assert answer["payload"]["loras"] == [{"path": "s3://b/l.safetensors", "scale": 1.0}]
        assert not answer["available"]
        assert "FAL_KEY" in answer["unavailableBecause"]
    assert gateway.query("select count(*) from job") == before


def test_an_unknown_intent_gets_the_default_with_a_warning(gateway: GatewayProcess) -> None:
    job = gateway.generate({"intent": "sparkly", "inputs": {"prompt": "x", "size": "64x64"}}).json()
    assert (job["model"], job["routing"]["rule"]) == ("embedded-mini", "default")
    assert "sparkly" in job["warnings"][0]


def test_an_intent_passes_over_what_cannot_serve(gateway: GatewayProcess) -> None:
    job = gateway.generate({"intent": "realistic", "inputs": {"prompt": "x", "size": "64x64"}}).json()
    assert job["model"] == "embedded-mini"
    passed = job["routing"]["passedOver"]
    assert passed[0]["model"] == "nano-banana-2"
    assert "FAL_KEY" in passed[0]["reason"]
