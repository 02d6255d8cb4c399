"""The diffusers backend's specification, a test for each of its scenarios, in its order.

The gateway calls Modal's own client, which talks to a control plane on loopback; the containers are
processes that run the deployed app with the real engine on tiny real pipelines.
"""

import io
import json
import re
import shutil
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image
from support.gateway_process import GatewayProcess, until
from support.modal_control_plane import ControlPlane
from support.modal_hub import Hub
from support.modal_world import World, serving
from support.tiny_pipelines import build_glm, build_sdxl
from support.tiny_registry import tiny_registry

from providers.diffusers_modal import embedded
from registry.catalog import Catalog
from registry.load import load_registry

# Each starts containers that load real pipelines: three minutes in all.
pytestmark = pytest.mark.slow

SDXL = "stabilityai/stable-diffusion-xl-base-1.0"
GLM = "zai-org/GLM-Image"
SD15 = "stable-diffusion-v1-5/stable-diffusion-v1-5"
A10G, L40S = "DiffusersBackend_A10G", "DiffusersBackend_L40S"
SMALL = {"width": 64, "height": 64, "num_inference_steps": 2, "seed": 3}


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    sdxl, glm = build_sdxl(folder / "sdxl"), build_glm(folder / "glm")
    return tiny_registry(folder / "models.yaml", sdxl=sdxl, glm=glm)


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Hub:
    """Has Stable Diffusion 1.5, in which the embedded pipeline's files stand in for the big ones."""
    folder = tmp_path_factory.mktemp("hub")
    shutil.copytree(embedded.folder("mini"), folder / SD15)
    return Hub(folder)


@pytest.fixture(scope="module")
def world(registry: Path, hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The backend deployed with `gateway backend deploy`, and a gateway that calls it."""
    folder = tmp_path_factory.mktemp("modal")
    (folder / "plane").mkdir()
    with (
        serving(hub) as url,
        ControlPlane(folder / "plane", {"HF_ENDPOINT": url, "HF_HUB_OFFLINE": "0"}) as plane,
    ):
        gateway = GatewayProcess(folder / "data", GATEWAY_REGISTRY=str(registry), **plane.env)
        world = World(gateway, plane, hub)
        world.deploy()
        gateway.start()
        yield world
        gateway.check_books()
        gateway.close()
        assert plane.violations == []


def asked(world: World) -> dict[str, int]:
    """How often a gateway has asked Modal for what. Containers ask too: for work, and to tell."""
    names = (
        "ClassGet",
        "FunctionGet",
        "FunctionMap",
        "FunctionGetOutputs",
        "FunctionGetCurrentStats",
        "DictGet",
    )
    return {"calls": len(world.plane.calls), **{name: world.plane.count[name] for name in names}}


def test_two_gpu_tier_classes(world: World) -> None:
    tiers = {name: world.plane.function(name).definition for name in (A10G, L40S)}
    assert [tiers[name].resources.gpu_config.gpu_type for name in (A10G, L40S)] == ["A10G", "L40S"]
    assert world.plane.function(A10G).id != world.plane.function(L40S).id
    (app,) = world.plane.state.apps.values()
    assert set(app.class_ids) == {A10G, L40S}
    for definition in tiers.values():
        assert definition.is_class
        assert set(definition.method_definitions) == {"generate", "generate_many"}


def test_backend_separate_lifecycle(world: World) -> None:
    """A request wakes its own tier's backend, by one call, and no other."""
    before = asked(world)
    answer = world.raw(SDXL, **SMALL)
    assert answer.status_code == 200, answer.text + world.plane.logs()
    after = asked(world)
    assert [after[name] - before[name] for name in ("calls", "FunctionMap")] == [1, 1]
    assert world.plane.calls[-1].function.name == L40S
    assert (len(world.plane.containers(L40S)), len(world.plane.containers(A10G))) == (1, 0)
    assert world.plane.function(L40S).definition.autoscaler_settings.scaledown_window == 300


def test_registry_structure() -> None:
    catalog = Catalog(load_registry())
    (route,) = catalog.model(GLM).routes
    pipeline = route.pipeline
    assert pipeline is not None
    assert (pipeline.pipeline_class, pipeline.tier, pipeline.dtype) == (
        "GlmImagePipeline",
        "L40S",
        "bfloat16",
    )
    assert pipeline.device_map is None
    assert route.parameters["num_inference_steps"].default == 30
    assert catalog.model("glm-image").id == GLM


def test_supported_models() -> None:
    models = Catalog(load_registry()).models
    found = {
        name: (r.pipeline.tier, r.pipeline.dtype)
        for name in (GLM, SDXL)
        for r in models[name].routes
        if r.pipeline is not None
    }
    assert found == {GLM: ("L40S", "bfloat16"), SDXL: ("L40S", "float16")}


def problem_of(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The problem that an answer is."""
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    found: dict[str, Any] = answer.json()
    return found


@pytest.fixture
def no_rpc(world: World) -> Iterator[None]:
    before = asked(world)
    yield
    assert asked(world) == before


@pytest.mark.usefixtures("no_rpc")
def test_unsupported_model_rejection(world: World) -> None:
    problem = problem_of(world.raw("runwayml/nothing"), 400, "unknown_model")
    assert {GLM, SDXL} <= set(problem["supported"])


@pytest.mark.usefixtures("no_rpc")
def test_model_validation_at_gateway(world: World) -> None:
    for model, parameters, at in (
        (GLM, {"width": 100, "height": 64}, "/parameters/width"),
        (GLM, {"negative_prompt": "blurry", "on_unsupported": "error"}, "/parameters/negative_prompt"),
        (GLM, {"lora_url": "https://example.org/a.safetensors"}, "/parameters/lora_url"),
        (SDXL, {"num_inference_steps": "many"}, "/parameters/num_inference_steps"),
        (SDXL, {"scheduler": "zigzag", "on_unsupported": "error"}, "/parameters/scheduler"),
    ):
        problem = problem_of(world.raw(model, **parameters), 422, "invalid_inputs")
        assert at in [fault["pointer"] for fault in problem["errors"]], problem


@pytest.mark.usefixtures("no_rpc")
def test_a_missing_credit_wakes_nothing(world: World) -> None:
    account = world.command("account", "create", "Ann").stdout.strip()
    key = world.command("keys", "create", account).stdout.strip()
    body = {"model": SDXL, "inputs": {"prompt": "a fox"}}
    answer = world.gateway.http.post(
        "/api/images/generate", json=body, headers={"Authorization": f"Bearer {key}"}
    )
    problem_of(answer, 402, "insufficient_funds")


@pytest.mark.usefixtures("no_rpc")
def test_list_supported_models(world: World) -> None:
    models = {m["id"]: m for m in world.gateway.http.get("/diffusers/models").json()["models"]}
    assert {name: models[name]["tier"] for name in (GLM, SDXL)} == {GLM: "L40S", SDXL: "L40S"}
    assert models[GLM]["available"]
    assert world.gateway.http.get("/api/models").status_code == 200


def test_generate_endpoint(world: World) -> None:
    for answer in (
        world.gateway.http.post("/diffusers/generate", json={"inputs": "x"}),
        world.gateway.http.post("/diffusers/generate", json={"model_id": SDXL}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_body")
    plain = world.gateway.http.post("/diffusers/generate", json={"model_id": SDXL, "inputs": "a fox"})
    assert plain.status_code == 200, plain.text


def test_parameter_overrides(world: World) -> None:
    first = world.raw(GLM, width=64, height=32, num_inference_steps=2, guidance_scale=1.2, seed=5)
    assert first.status_code == 200, first.text
    assert Image.open(io.BytesIO(first.content)).size == (64, 32)
    job = world.gateway.job(first.headers["x-job-id"])
    report = {row["name"]: (row["how"], row["sent"]) for row in job["report"]}
    assert report["num_inference_steps"] == ("exact", 2)
    assert report["guidance_scale"] == ("exact", 1.2)
    assert first.headers["x-seed"] == "5"


def test_response_format(world: World) -> None:
    answer = world.raw(SDXL, **SMALL)
    assert answer.headers["content-type"] == "image/png"
    assert answer.content.startswith(b"\x89PNG\r\n\x1a\n")
    assert answer.content == world.raw(SDXL, **SMALL).content


def loads(world: World, answer: httpx.Response) -> float:
    """Seconds that the job's attempt spent with loading."""
    job_id = answer.headers["x-job-id"]
    ((seconds,),) = world.gateway.query(f"select load_seconds from attempt where job_id = '{job_id}'")
    return float(seconds)


def test_first_request_for_model(world: World) -> None:
    world.plane.retire(L40S)
    first, second = world.raw(SDXL, **SMALL), world.raw(SDXL, **SMALL)
    assert loads(world, first) > 0
    assert loads(world, second) == 0


def test_memory_management(world: World) -> None:
    """A model's first job after another's loads it again: one pipeline is in memory."""
    tiny = {"width": 64, "height": 64, "num_inference_steps": 2}
    assert world.raw(SDXL, **SMALL).status_code == 200
    switched = world.raw(GLM, **tiny)
    again = world.raw(SDXL, **SMALL)
    assert loads(world, switched) > 0
    assert loads(world, again) > 0
    assert len(world.plane.containers(L40S)) == 1


def test_volume_configuration(world: World) -> None:
    for name in (A10G, L40S):
        (mount,) = world.plane.function(name).definition.volume_mounts
        assert mount.mount_path == "/root/.cache/huggingface"
        assert mount.volume_id == "vo-diffusers-models"


def test_cache_hit_on_restart(world: World) -> None:
    """A new container finds the weights on the volume that the one before it kept them on."""
    first = world.raw(SD15, **SMALL)
    assert first.status_code == 200, first.text + world.plane.logs()
    asked = world.hub.requests
    assert world.hub.bytes > 1_000_000
    world.plane.retire(A10G)
    world.plane.wait(lambda: not world.plane.containers(A10G))
    second = world.raw(SD15, **SMALL)
    assert loads(world, second) > 0
    assert second.content == first.content
    assert world.hub.requests == asked


def configured(world: World, tier: str) -> tuple[int, int, int]:
    settings = world.plane.function(f"DiffusersBackend_{tier}").definition
    scaling = settings.autoscaler_settings
    return scaling.max_containers, scaling.scaledown_window, settings.timeout_secs


def test_a10g_tier_configuration(world: World) -> None:
    assert configured(world, "A10G") == (1, 300, 1800)
    changed = {"MAX_CONTAINERS": "4", "SCALEDOWN": "60", "TIMEOUT": "900"}
    world.deploy(**{f"DIFFUSERS_A10G_{name}": value for name, value in changed.items()})
    assert (configured(world, "A10G"), configured(world, "L40S")) == ((4, 60, 900), (1, 300, 1800))
    world.deploy()


def test_l40s_tier_configuration(world: World) -> None:
    assert configured(world, "L40S") == (1, 300, 1800)
    changed = {"MAX_CONTAINERS": "2", "SCALEDOWN": "240", "TIMEOUT": "600"}
    world.deploy(**{f"DIFFUSERS_L40S_{name}": value for name, value in changed.items()})
    assert (configured(world, "A10G"), configured(world, "L40S")) == ((1, 300, 1800), (2, 240, 600))
    world.deploy()


# -- what the specification does not say, and a user expects ------------------------------------


def test_a_killed_gateway_goes_on_with_the_call_that_it_made(world: World) -> None:
    spawned = len(world.plane.calls)
    body = {"model": SDXL, "inputs": {"prompt": "a fox", "size": "64x64", "steps": 100}}
    job_id = world.gateway.generate(body, Prefer="respond-async").json()["jobId"]
    until("it is accepted", lambda: world.gateway.job(job_id)["status"] == "running")
    world.gateway.kill()
    world.gateway.start()
    job = world.gateway.ended(job_id, 120)
    assert (job["status"], len(job["attempts"])) == ("completed", 1)
    assert len(world.plane.calls) == spawned + 1


def test_price_and_cost_of_gpu_seconds(world: World) -> None:
    answer = world.raw(SDXL, **SMALL)
    job_id = answer.headers["x-job-id"]
    ((run, load, cost),) = world.gateway.query(
        f"select run_seconds, load_seconds, provider_cost_micros from attempt where job_id = '{job_id}'"
    )
    expected = Decimal("0.000542") * (Decimal(run) + Decimal(load)) * 1_000_000
    assert abs(cost - expected) <= 1
    assert world.gateway.job(job_id)["cost"] == 0.01


def test_cancel_reaches_modal(world: World) -> None:
    body = {"model": SDXL, "inputs": {"prompt": "a fox", "size": "64x64", "steps": 150, "n": 4}}
    job_id = world.gateway.generate(body, Prefer="respond-async").json()["jobId"]
    until("it runs", lambda: world.gateway.job(job_id)["status"] == "running")
    world.gateway.http.delete(f"/api/jobs/{job_id}")
    job = world.gateway.ended(job_id)
    assert (job["status"], job["costMicros"]) == ("canceled", 0)
    assert world.plane.count["FunctionCallCancel"] >= 1
    assert world.raw(SDXL, **SMALL).status_code == 200


def test_an_image_and_a_mask(world: World) -> None:
    data = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(data, "PNG")
    upload = world.gateway.http.post(
        "/api/uploads", content=data.getvalue(), headers={"Content-Type": "image/png"}
    ).json()
    inputs = {"prompt": "a fox", "image_url": upload["url"], "strength": 0.5, "steps": 4, "seed": 3}
    job = world.gateway.generate({"model": SDXL, "inputs": inputs}).json()
    assert job["status"] == "completed", job
    assert (job["images"][0]["width"], job["images"][0]["height"]) == (64, 64)
    masked = world.gateway.generate({"model": SDXL, "inputs": {**inputs, "mask_url": upload["url"]}}).json()
    assert masked["status"] == "completed", masked
    assert masked["images"][0]["sha256"] != job["images"][0]["sha256"]


def test_a_deploy_with_a_wrong_token_says_so_and_deploys_nothing(world: World) -> None:
    published = world.plane.count["AppPublish"]
    ended = world.command("backend", "deploy", MODAL_TOKEN_SECRET="as-other")
    assert (ended.returncode, ended.stdout) == (7, "")
    (line,) = ended.stderr.splitlines()
    assert "Set MODAL_TOKEN_ID and MODAL_TOKEN_SECRET" in line
    assert world.plane.count["AppPublish"] == published


def test_status_on_the_command_line(world: World) -> None:
    shown = world.command("backend", "status", "--json")
    assert shown.returncode == 0, shown.stderr
    tiers = {row["tier"]: row for row in json.loads(shown.stdout)["tiers"]}
    assert set(tiers) == {"A10G", "L40S"}
    assert tiers["A10G"]["containers"] == 0


@pytest.mark.slow
def test_any_tier_on_this_machines_own_engine(registry: Path, tmp_path: Path) -> None:
    """With DIFFUSERS_TARGET=local no Modal is asked: there is no token."""
    gateway = GatewayProcess(tmp_path / "data", GATEWAY_REGISTRY=str(registry), DIFFUSERS_TARGET="local")
    try:
        gateway.start()
        for model, size in ((SDXL, "64x64"), (GLM, "64x32")):
            inputs = {"prompt": "a fox", "size": size, "steps": 2, "seed": 1}
            job = gateway.generate({"model": model, "inputs": inputs}).json()
            assert (job["status"], job["provider"]) == ("completed", "diffusers"), job
            assert f"{job['images'][0]['width']}x{job['images'][0]['height']}" == size
        gateway.check_books()
    finally:
        gateway.close()


def test_the_documents_table_is_whole() -> None:
    """docs/diffusers.md names a test of this file for each scenario of the specification."""
    text = (Path(__file__).parents[2] / "docs" / "diffusers.md").read_text()
    named = re.findall(r"^\| [^|]+ \| `(test_\w+)` \|$", text, re.MULTILINE)
    assert len(named) == 16
    assert [name for name in named if name not in globals()] == []


def test_weights_are_brought_before_the_first_job(world: World) -> None:
    """`gateway backend warm`: the second time nothing is downloaded."""
    first = world.command("backend", "warm", "sd-1.5")
    assert first.returncode == 0, first.stderr + world.plane.logs()
    downloaded = world.hub.bytes
    again = world.command("backend", "warm", "sd-1.5")
    assert again.returncode == 0, again.stderr
    assert "is in the volume" in again.stderr
    assert world.hub.bytes == downloaded > 1_000_000
    unknown = world.command("backend", "warm", "embedded-mini")
    assert (unknown.returncode, "does not run on" in unknown.stderr) == (2, True)
