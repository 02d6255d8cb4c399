"""Jobs whose endpoint makes one picture at a time: several calls, one job, one cost."""

import asyncio
from typing import Any

import pytest
from support.job_checks import AWAY, LOST_REPLY, PRICE, Gate, charged, failed
from support.scripted_provider import done, handle

from gateway import unknown
from gateway.accounts.principals import OPERATOR
from gateway.jobs.drive import SIDE_BY_SIDE
from gateway.jobs.line import MAX_TRIES
from providers.base import Failed, Running
from providers.errors import ContentRejected, JobCanceled, NotTaken, ProviderFailed


def ends(job: Any) -> list[tuple[int, str, str | None]]:
    """Call, status and error of each attempt, by call."""
    return sorted((a.call_index, a.status, a.error_code) for a in job.attempts)


async def test_three_calls_make_one_job(world) -> None:
    world.script().answers([done(), done(), done()])
    job = await world.run("single", num_images=3, seed=5)
    await charged(world, job, 3 * PRICE)
    assert [image.position for image in job.images] == [0, 1, 2]
    assert [call.payload["seed"] for call in world.script().calls] == [5, 6, 7]
    assert {call.num_images for call in world.script().calls} == {1}
    assert len({call.id for call in world.script().calls}) == 3
    assert ends(job) == [(0, "succeeded", None), (1, "succeeded", None), (2, "succeeded", None)]
    assert (job.quote_micros, job.warnings) == (3 * PRICE, ())


async def test_so_many_run_at_once_and_no_more(world) -> None:
    gates = [Gate(done()) for _ in range(SIDE_BY_SIDE + 2)]
    world.script().answers(gates)
    job_id = await world.submit("single", num_images=len(gates))
    for gate in gates[:SIDE_BY_SIDE]:
        await gate.reached.wait()
    assert not gates[SIDE_BY_SIDE].reached.is_set()
    for gate in gates:
        gate.open.set()
    await charged(world, await world.ended(job_id), len(gates) * PRICE)


async def test_pictures_show_as_they_come(world) -> None:
    gate, running = Gate(done()), Gate(Running(step=1, steps=4))
    world.script().answers([done(), handle()], [running, gate])
    job_id = await world.submit("single", num_images=2)
    await running.reached.wait()
    while world.core.runner.live(job_id).images != 1:
        await asyncio.sleep(0)
    running.open.set()
    await gate.reached.wait()
    view = world.core.view(await world.core.job(job_id, OPERATOR))
    assert (view.status, len(view.images), view.cost) == ("running", 1, None)
    assert (view.progress.images, view.progress.step) == (1, 1)
    gate.open.set()
    await charged(world, await world.ended(job_id), 2 * PRICE)


@pytest.mark.parametrize("error", [ContentRejected("no"), ProviderFailed("broke")])
async def test_what_came_is_kept_and_charged(world, error) -> None:
    world.script().answers([done(), error, done()])
    job = await world.run("single", num_images=3)
    await charged(world, job, 2 * PRICE)
    assert [image.position for image in job.images] == [0, 2]
    assert ends(job)[1] == (1, "failed", error.code)
    assert job.warnings == (f"1 of 3 calls gave no picture and are not charged: {error.code}",)


async def test_when_nothing_came_nothing_is_charged(world) -> None:
    world.script().answers([ProviderFailed("one"), ContentRejected("two")])
    await failed(world, await world.run("single", num_images=2), "provider_failed")


async def test_each_call_is_repeated_by_itself(world) -> None:
    world.script().answers([AWAY, AWAY, done(), done()])
    job = await world.run("single", num_images=2)
    await charged(world, job, 2 * PRICE)
    assert len(world.script().calls) == 4
    assert sorted(a.number for a in job.attempts) == [1, 2, 3, 4]
    assert max(len([a for a in job.attempts if a.call_index == i]) for i in (0, 1)) <= MAX_TRIES


async def test_more_pictures_than_asked_take_no_others_place(world) -> None:
    world.script().answers([done(2), done(2)])
    job = await world.run("single", num_images=2)
    await charged(world, job, 2 * PRICE)
    assert [image.position for image in job.images] == [0, 1]


async def test_a_lost_answer_beside_a_picture(world) -> None:
    """The caller pays for what came; the lost attempt is shown, and not sent again."""
    world.script().answers([done(), LOST_REPLY])
    job = await world.run("single", num_images=2)
    await charged(world, job, PRICE)
    assert ends(job) == [(0, "succeeded", None), (1, "unknown", "provider_submit_unknown")]
    assert len(world.script().calls) == 2


async def test_a_lost_answer_and_no_picture(world) -> None:
    world.script().answers([ProviderFailed("broke"), LOST_REPLY])
    job = await world.run("single", num_images=2)
    assert (job.status, job.charge_micros) == ("unknown", None)
    assert await world.money() == (0, 2 * PRICE)
    assert ends(job) == [(0, "failed", "provider_failed"), (1, "unknown", "provider_submit_unknown")]
    # The operator found it: its picture is brought home, and the other call stays as it ended.
    world.script().answers(poll=[done()])
    await unknown.adopt(world.core, job.id, "r9")
    found = await world.ended(job.id)
    await charged(world, found, PRICE)
    assert [image.position for image in found.images] == [1]


async def test_two_lost_answers_are_settled_as_one(world) -> None:
    world.script().answers([LOST_REPLY, LOST_REPLY])
    job = await world.run("single", num_images=2)
    assert job.status == "unknown"
    ended = await unknown.fail(world.core, job.id)
    await failed(world, ended, NotTaken.code)
    assert ends(ended) == [(0, "failed", NotTaken.code), (1, "failed", NotTaken.code)]


async def test_adopting_one_of_two_leaves_the_other(world) -> None:
    world.script().answers([LOST_REPLY, LOST_REPLY], [done()])
    job = await world.run("single", num_images=2)
    await unknown.adopt(world.core, job.id, "r9")
    found = await world.ended(job.id)
    await charged(world, found, PRICE)
    assert ends(found) == [(0, "succeeded", None), (1, "unknown", "provider_submit_unknown")]
    assert len(world.script().calls) == 2


async def test_a_restart_keeps_what_came_and_sends_nothing_twice(world) -> None:
    polled = Gate(Running())
    world.script().answers([done(), handle()], [polled])
    job_id = await world.submit("single", num_images=2)
    await polled.reached.wait()
    while world.core.runner.live(job_id).images != 1:
        await asyncio.sleep(0)
    await world.restart()
    assert len((await world.core.job(job_id, OPERATOR)).images) == 1
    world.script().answers(poll=[done()])
    await world.resume()
    job = await world.ended(job_id)
    await charged(world, job, 2 * PRICE)
    assert len(world.script().calls) == 2


async def test_a_restart_before_the_second_call_was_opened(world) -> None:
    world.core.runner.start = lambda *_, **__: None
    job_id = await world.submit("single", num_images=2)
    world.new_process()
    world.script().answers([done(), done()])
    await world.resume()
    await charged(world, await world.ended(job_id), 2 * PRICE)


async def test_a_cancel_keeps_what_came(world) -> None:
    """One picture is made and paid for; the other call is stopped."""
    polled = Gate(Running())
    world.script().answers([done(), handle()], [polled, Failed(error=JobCanceled("stopped"))])
    job_id = await world.submit("single", num_images=2)
    await polled.reached.wait()
    while world.core.runner.live(job_id).images != 1:
        await asyncio.sleep(0)
    polled.open.set()
    job = await world.core.cancel(job_id, OPERATOR)
    await charged(world, job, PRICE)
    assert world.script().canceled == [handle()]
    assert ends(job) == [(0, "succeeded", None), (1, "failed", "canceled")]


async def test_a_fault_of_ours_ends_the_job(world) -> None:
    async def broken() -> None:
        # The other call has given its picture by then.
        while [live.images for live in world.core.runner.lives.values()] != [1]:
            await asyncio.sleep(0)
        raise LookupError("a bug")

    world.script().answers([done(), broken])
    job = await world.run("single", num_images=2)
    assert (job.status, job.error_code, job.charge_micros, job.images) == ("failed", "internal_error", 0, ())
    assert await world.money() == (0, 0)
    # The call that gave its picture is to be paid for by us all the same.
    assert job.attempts[0].status == "succeeded"
