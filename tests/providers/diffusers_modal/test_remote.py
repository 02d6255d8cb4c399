"""Jobs on Modal: the real client, the deployed class in real containers, the real engine."""

import asyncio
import io
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest
from PIL import Image
from support.engines import job, long_job
from support.modal_backend import A10G, L40S, run, until_ended
from support.modal_control_plane import ControlPlane
from support.tiny_pipelines import build_glm, build_sdxl, glm_spec, sdxl_spec

from providers.diffusers_modal.engine import Engine
from providers.diffusers_modal.remote import ModalBackend, TierStats
from providers.diffusers_modal.wire import Done, ErrorRecord, Queued, Running

pytestmark = pytest.mark.slow


@pytest.fixture
def plane(shared) -> Iterator[ControlPlane]:
    yield shared
    shared.heal()
    assert shared.violations == []


@pytest.fixture
async def backend(plane) -> AsyncIterator[ModalBackend]:
    backend = ModalBackend(plane.env, provider="diffusers", look_s=0.05)
    yield backend
    await backend.aclose()


async def running(backend: ModalBackend, call_id: str, job_id: str, step: int = 1) -> Running:
    """Poll until the job has made this many steps."""
    async with asyncio.timeout(90):
        while True:
            reply = await backend.poll("A10G", call_id, job_id)
            if isinstance(reply, Running) and reply.step >= step:
                return reply
            assert isinstance(reply, Queued | Running), reply
            await asyncio.sleep(0.02)


async def test_a_job_waits_runs_and_gives_the_picture_that_our_own_engine_gives(plane, backend):
    call_id = await backend.submit("A10G", job("first", num_inference_steps=60, num_images=4))
    assert call_id.startswith("fc-")
    answer, replies = await until_ended(backend, call_id, "first")
    assert isinstance(answer, Done)
    with ThreadPoolExecutor(1) as thread:
        plain = thread.submit(Engine().run, job(num_inference_steps=60)).result()
    assert answer.images[0].data == plain.images[0].data
    assert [picture.seed for picture in answer.images] == [1, 2, 3, 4]
    kinds = [type(reply) for reply in replies]
    # In this order and never back, though the progress is gone before the result is there.
    assert kinds == sorted(kinds, key=[Queued, Running].index)
    assert kinds[0] is Queued
    steps = [reply.step for reply in replies if isinstance(reply, Running)]
    assert steps == sorted(steps)
    assert steps[-1] > 0


async def test_another_process_goes_on_with_the_id_alone(plane, backend):
    call_id = await backend.submit("A10G", job("handed-over"))
    code = """
import asyncio, os, sys
from providers.diffusers_modal.remote import ModalBackend
from providers.diffusers_modal.wire import Done, ErrorRecord


async def main():
    backend = ModalBackend(os.environ)
    async with asyncio.timeout(60):
        while not isinstance(reply := await backend.poll("A10G", sys.argv[1], ""), Done | ErrorRecord):
            await asyncio.sleep(0.05)
    await backend.aclose()
    sys.stdout.buffer.write(reply.images[0].data)

asyncio.run(main())
"""
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", code, call_id],
        env=plane.env,
        capture_output=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    assert Image.open(io.BytesIO(done.stdout)).size == (64, 64)
    # A result is not used up by being read.
    answer, _ = await until_ended(backend, call_id, "handed-over")
    assert answer.images[0].data == done.stdout


async def test_a_canceled_job_stops_within_a_step_and_its_container_goes_on(plane, backend):
    call_id = await backend.submit("A10G", long_job("stopped"))
    await running(backend, call_id, "stopped")
    containers = [container.id for container in plane.containers(A10G)]
    await backend.cancel(call_id)
    async with asyncio.timeout(20):
        answer, _ = await until_ended(backend, call_id, "stopped")
    assert answer == ErrorRecord(code="canceled", message="The job was canceled.")
    after = await run(backend, job("after"))
    assert after.load_seconds == 0
    assert [container.id for container in plane.containers(A10G)] == containers
    # Another process, that did not cancel it, is told the same; and once more is no error.
    other = ModalBackend(plane.env, provider="diffusers")
    assert await other.poll("A10G", call_id, "stopped") == answer
    await other.cancel(call_id)
    await other.aclose()


async def test_a_job_canceled_in_the_queue_never_runs(plane, backend):
    first = await backend.submit("A10G", long_job("busy"))
    await running(backend, first, "busy")
    second = await backend.submit("A10G", job("waiting"))
    assert await backend.poll("A10G", second, "waiting") == Queued(position=1)
    assert await backend.stats("A10G") == TierStats(backlog=1, runners=1, running=1)
    await backend.cancel(second)
    answer, _ = await until_ended(backend, second, "waiting")
    assert answer.code == "canceled"
    await backend.cancel(first)
    await until_ended(backend, first, "busy")
    assert plane.state.calls[second].container is None


async def test_canceling_what_nobody_knows_is_no_error(backend):
    await backend.cancel("fc-nobody")


async def test_a_job_past_its_own_deadline_says_so_and_its_container_goes_on(plane, backend):
    await run(backend, job("warm"))
    containers = [container.id for container in plane.containers(A10G)]
    call_id = await backend.submit("A10G", msgspec.structs.replace(long_job("late"), timeout_s=0.3))
    answer, _ = await until_ended(backend, call_id, "late")
    assert answer.code == "timeout"
    assert [container.id for container in plane.containers(A10G)] == containers


@pytest.mark.parametrize(("build", "spec"), [(build_sdxl, sdxl_spec), (build_glm, glm_spec)])
async def test_the_pipelines_of_the_catalog_run_in_a_container(backend, tmp_path, build, spec):
    one = msgspec.structs.replace(
        job("other", num_inference_steps=2), pipeline=spec(build(tmp_path / "model"))
    )
    done = await run(backend, one, "L40S")
    assert Image.open(io.BytesIO(done.images[0].data)).size == (64, 64)
    assert done.load_seconds > 0


async def test_what_is_wrong_with_a_job_comes_back_as_its_record(backend):
    call_id = await backend.submit("A10G", job("wrong", width=63))
    answer, _ = await until_ended(backend, call_id, "wrong")
    assert answer.code == "bad_parameter"


async def test_large_jobs_and_large_results_go_through_the_blob_store(plane, backend):
    noise = Image.effect_noise((1200, 1200), 100).convert("RGB")
    file = io.BytesIO()
    noise.save(file, "PNG")
    large = msgspec.structs.replace(job("large"), images={"image": file.getvalue()})
    assert len(file.getvalue()) > 1_000_000
    before = plane.count.copy()
    call_id = await backend.submit("A10G", large)
    answer, _ = await until_ended(backend, call_id, "large")
    assert plane.count["PUT blob"] - before["PUT blob"] >= 1
    assert isinstance(answer, Done | ErrorRecord)

    big = job("big", width=1024, height=1024, num_inference_steps=1, num_images=4)
    done = await run(backend, big)
    assert sum(len(picture.data) for picture in done.images) > 2 * 1024 * 1024
    assert plane.count["GET blob"] - before["GET blob"] >= 2


async def test_eight_jobs_at_once_on_two_tiers(plane, backend):
    before = plane.count["FunctionMap"]
    jobs = [(("A10G", "L40S")[number % 2], job(f"many-{number}", seed=number)) for number in range(8)]
    answers = await asyncio.gather(*(run(backend, one, tier) for tier, one in jobs))
    assert [answer.images[0].seed for answer in answers] == list(range(8))
    assert plane.count["FunctionMap"] - before == 8
    assert len(plane.containers(A10G)) == len(plane.containers(L40S)) == 1


async def test_several_jobs_of_one_call(plane, backend):
    modal, client = await backend._connection.open()
    cls = modal.Cls.from_name("image-gateway-diffusers", A10G, client=client)
    jobs = [msgspec.msgpack.encode(job(f"shared-{seed}", seed=seed)) for seed in range(3)]
    answers = await cls().generate_many.remote.aio(jobs)
    seeds = [msgspec.msgpack.decode(answer, type=Done | ErrorRecord).images[0].seed for answer in answers]
    assert seeds == [0, 1, 2]


async def test_the_progress_of_an_ended_job_is_taken_away(plane, backend):
    call_id = await backend.submit("A10G", job("tidy", num_inference_steps=50, num_images=4))
    await running(backend, call_id, "tidy")
    assert "tidy" in plane.progress()
    await until_ended(backend, call_id, "tidy")
    await asyncio.to_thread(plane.wait, lambda: "tidy" not in plane.progress())


async def test_a_container_that_is_killed_fails_its_job_and_the_next_one_has_another(plane, backend):
    call_id = await backend.submit("A10G", long_job("doomed"))
    await running(backend, call_id, "doomed")
    (before,) = plane.containers(A10G)
    plane.kill(A10G)
    answer, _ = await until_ended(backend, call_id, "doomed")
    assert answer.code == "engine_failed"
    assert answer.message.startswith("The GPU container ended while the job ran. Nothing was charged")
    await run(backend, job("next"))
    assert [container.id for container in plane.containers(A10G)] != [before.id]


async def test_a_job_that_runs_into_modals_timeout_says_which_setting_it_is(plane, backend):
    before = plane.function(A10G).definition.timeout_secs
    plane.set_timeout(A10G, 1)
    try:
        call_id = await backend.submit("A10G", long_job("endless"))
        answer, _ = await until_ended(backend, call_id, "endless")
    finally:
        plane.set_timeout(A10G, before)
    assert answer.code == "timeout"
    assert "DIFFUSERS_<TIER>_TIMEOUT" in answer.message
