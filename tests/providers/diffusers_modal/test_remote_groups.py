"""A group of jobs on Modal is one function call; each of its jobs is asked for, and canceled, by its place."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from support.engines import job, long_job
from support.modal_backend import run

from providers.diffusers_modal.remote import ModalBackend
from providers.diffusers_modal.wire import Done, ErrorRecord, Queued, Running

CANCELED = ErrorRecord(code="canceled", message="The job was canceled.")


@pytest.fixture
async def backend(shared) -> AsyncIterator[ModalBackend]:
    backend = ModalBackend(shared.env, provider="diffusers", look_s=0.05)
    yield backend
    await backend.aclose()
    shared.heal()
    assert shared.violations == []


async def at_end(backend, call_id, name, place):
    async with asyncio.timeout(90):
        while isinstance(reply := await backend.poll("A10G", call_id, name, place), Queued | Running):
            await asyncio.sleep(0.02)
    return reply


async def drawing(backend, call_id, name, place):
    async with asyncio.timeout(90):
        while True:
            reply = await backend.poll("A10G", call_id, name, place)
            assert isinstance(reply, Queued | Running), reply
            if isinstance(reply, Running) and reply.step > 0:
                return
            await asyncio.sleep(0.02)


@pytest.mark.slow
async def test_each_gets_its_own_picture_in_this_process_and_in_another(backend, shared):
    names = ["one", "two", "three"]
    call_id = await backend.submit_many(
        "A10G", [job(name, seed=place, prompt=name) for place, name in enumerate(names)]
    )
    answers = await asyncio.gather(
        *(at_end(backend, call_id, name, place) for place, name in enumerate(names))
    )
    assert all(isinstance(answer, Done) for answer in answers)
    assert [[image.seed for image in answer.images] for answer in answers] == [[0], [1], [2]]
    assert len({answer.run_seconds for answer in answers}) == 1  # of one call, shared out
    other = ModalBackend(shared.env, provider="diffusers")
    assert await other.poll("A10G", call_id, "two", 1) == answers[1]
    await other.aclose()


@pytest.mark.slow
async def test_one_that_is_canceled_does_not_end_the_call_of_the_others(backend):
    call_id = await backend.submit_many(
        "A10G", [job(name, num_inference_steps=100) for name in ("stays", "goes")]
    )
    await drawing(backend, call_id, "stays", 0)
    await backend.cancel(call_id, 1, 2)
    await backend.cancel(call_id, 1, 2)
    assert await backend.poll("A10G", call_id, "goes", 1) == CANCELED
    assert isinstance(await at_end(backend, call_id, "stays", 0), Done)
    assert await backend.poll("A10G", call_id, "goes", 1) == CANCELED


@pytest.mark.slow
async def test_when_all_are_canceled_the_call_ends(backend):
    names = ("first", "second")
    call_id = await backend.submit_many("A10G", [long_job(name) for name in names])
    await drawing(backend, call_id, "first", 0)
    for place in range(2):
        await backend.cancel(call_id, place, 2)
    for place, name in enumerate(names):
        assert await backend.poll("A10G", call_id, name, place) == CANCELED
    # The container is free again: it was the call that was ended, and not our interest in it.
    assert (await run(backend, job("after"))).load_seconds == 0
