"""Weights are downloaded once: before a job or by it, and every container has them after that."""

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from support.engines import job
from support.modal_backend import A10G, deployed, run
from support.modal_control_plane import ControlPlane
from support.modal_hub import Hub, tiny_hub

from providers.diffusers_modal import embedded
from providers.diffusers_modal.remote import FetchProgress, ModalBackend
from providers.diffusers_modal.wire import EngineJob, PipelineSpec
from providers.errors import ProviderFailed


def spec(name: str) -> PipelineSpec:
    return PipelineSpec(source=name, pipeline_class="StableDiffusionPipeline", variant="fp16")


def job_on(id_: str, name: str) -> EngineJob:
    return msgspec.structs.replace(job(id_), pipeline=spec(name))


@pytest.fixture
def hub(tmp_path) -> Hub:
    return tiny_hub(tmp_path / "hub", embedded.folder("mini"))


@pytest.fixture
async def url(hub) -> AsyncIterator[str]:
    async with hub.serve() as url:
        yield url


@pytest.fixture
async def plane(url, tmp_path) -> AsyncIterator[ControlPlane]:
    folder = tmp_path / "plane"
    folder.mkdir()
    with deployed(folder, {"HF_ENDPOINT": url, "HF_HUB_OFFLINE": "0"}) as plane:
        yield plane
        assert plane.violations == []


@pytest.fixture
async def backend(plane) -> AsyncIterator[ModalBackend]:
    backend = ModalBackend(plane.env, provider="diffusers")
    yield backend
    await backend.aclose()


async def fetched(backend: ModalBackend, name: str) -> list[FetchProgress]:
    return [step async for step in backend.fetch("A10G", spec(name))]


@pytest.mark.slow
async def test_fetched_weights_are_found_by_a_container_that_was_running_before(plane, backend, hub, url):
    await run(backend, job("warm"))
    steps = await fetched(backend, "acme/tiny")
    assert steps[-1].done_bytes == steps[-1].total_bytes > 3_000_000
    assert plane.count["VolumeCommit"] == 1
    assert [container.function.name for container in plane.containers(A10G)] == [A10G]
    before = hub.downloads.copy()
    done = await run(backend, job_on("on-it", "acme/tiny"))
    assert done.load_seconds > 0
    assert plane.count["VolumeReload"] == 1
    assert hub.downloads == before
    # Again: there is nothing to download, and nothing to keep.
    again = await fetched(backend, "acme/tiny")
    assert again[-1].total_bytes == 0
    assert hub.downloads == before
    assert plane.count["VolumeCommit"] == 1


@pytest.mark.slow
async def test_what_a_job_had_to_download_is_there_for_the_next_container(plane, backend, hub):
    first = await run(backend, job_on("first", "acme/tiny"))
    plane.wait(lambda: plane.count["VolumeCommit"] == 1)
    before = hub.downloads.copy()
    assert "unet/diffusion_pytorch_model.fp16.safetensors" in before
    plane.kill(A10G)
    second = await run(backend, job_on("second", "acme/tiny"))
    assert second.images[0].data == first.images[0].data
    assert hub.downloads == before
    (kept,) = Path(plane.state.folder, "volumes").iterdir()
    assert kept.name == "vo-diffusers-models"


async def test_a_download_that_fails_says_why(backend):
    with pytest.raises(ProviderFailed, match="acme/none was not fetched: "):
        await fetched(backend, "acme/none")
