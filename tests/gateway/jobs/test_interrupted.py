"""Jobs that are canceled, whose process ends, or whose database goes away for a while."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from support.job_checks import AWAY, BUSY, PRICE, Gate, charged, failed, tries
from support.scripted_provider import done, handle

from gateway.accounts.principals import OPERATOR
from gateway.db.engine import DatabaseUnavailable
from gateway.jobs.line import CANCEL_PATIENCE_S, MAX_TRIES
from gateway.jobs.records import JobRow
from providers.base import Failed, Running, Succeeded
from providers.errors import (
    JobCanceled,
    JobLost,
    RateLimited,
)

# -- cancel --------------------------------------------------------------------------------


async def test_cancel_before_it_is_sent(world) -> None:
    world.core.runner.start = lambda *_, **__: None
    job_id = await world.submit()
    assert (await world.core.cancel(job_id, OPERATOR)).status == "queued"
    world.new_process()
    await world.resume()
    await failed(world, await world.ended(job_id), "canceled", "canceled")
    assert world.script().calls == []


async def test_cancel_between_two_tries(world) -> None:
    gate = Gate(RateLimited("busy", retry_after=600))
    world.script().answers([gate])
    job_id = await world.submit()
    await gate.reached.wait()
    gate.open.set()
    job = await world.core.cancel(job_id, OPERATOR)
    await failed(world, job, "canceled", "canceled")
    assert len(world.script().calls) == 1


async def canceled_while_polling(world: Any, *after: Any, cancel: tuple[Any, ...] = ()) -> JobRow:
    gate = Gate(Running())
    world.script().answers([handle()], [gate, *after], cancel)
    job_id = await world.submit()
    await gate.reached.wait()
    gate.open.set()
    return await world.core.cancel(job_id, OPERATOR)


async def test_cancel_while_it_runs(world) -> None:
    job = await canceled_while_polling(world, Failed(error=JobCanceled("stopped")))
    await failed(world, job, "canceled", "canceled")
    assert world.script().canceled == [handle()]


async def test_cancel_of_a_submit_under_way_reaches_the_job(world) -> None:
    gate = Gate(handle())
    world.script().answers([gate], [Failed(error=JobCanceled("stopped"))])
    job_id = await world.submit()
    await gate.reached.wait()
    world.core.runner.cancel(job_id)
    gate.open.set()
    await failed(world, await world.ended(job_id), "canceled", "canceled")
    assert world.script().canceled == [handle()]


@pytest.mark.parametrize("error", [AWAY, BUSY])
async def test_a_cancel_that_does_not_get_through_is_asked_again(world, error) -> None:
    job = await canceled_while_polling(
        world, error, AWAY, Failed(error=JobCanceled("stopped")), cancel=(error, error)
    )
    await failed(world, job, "canceled", "canceled")
    assert len(world.script().canceled) == 3
    assert len(world.script().calls) == 1


async def test_a_cancel_that_came_too_late(world) -> None:
    await charged(world, await canceled_while_polling(world, done()))


async def test_a_provider_that_ignores_a_cancel(world) -> None:
    async def later() -> Running:
        world.clock.ahead_s += CANCEL_PATIENCE_S + 1
        return Running()

    await failed(world, await canceled_while_polling(world, later), "canceled", "canceled")


async def test_a_cancel_of_what_ended_changes_nothing(world) -> None:
    world.script().answers([done()])
    job = await world.run()
    assert await world.core.cancel(job.id, OPERATOR) == job


# -- a process ends ------------------------------------------------------------------------


async def left_behind(world: Any, model: str, submit: list[Any], poll: tuple[Any, ...] = ()) -> str:
    """A job whose process ended at the last of these steps."""
    world.script("sure" if model == "sure" else "first").answers(submit, poll)
    job_id = await world.submit(model)
    await (poll or submit)[-1].reached.wait()
    await world.restart()
    return job_id


async def test_a_stored_handle_is_polled_and_not_submitted_again(world) -> None:
    job_id = await left_behind(world, "solo", [handle()], (Gate(),))
    world.script().answers(poll=[done()])
    assert await world.resume() == 1
    await charged(world, await world.ended(job_id))
    assert len(world.script().calls) == 1


async def test_stopped_while_sending_is_unknown(world) -> None:
    job_id = await left_behind(world, "solo", [Gate()])
    await world.resume()
    job = await world.ended(job_id)
    assert (job.status, len(world.script().calls)) == ("unknown", 1)
    assert await world.money() == (0, PRICE)


async def test_canceled_and_stopped_while_sending_is_unknown_too(world) -> None:
    gate = Gate()
    world.script().answers([gate])
    job_id = await world.submit()
    await gate.reached.wait()
    await world.core.runner.aclose(0)
    await world.core.cancel(job_id, OPERATOR)
    world.new_process()
    await world.resume()
    assert (await world.ended(job_id)).status == "unknown"


async def test_stopped_while_sending_to_one_that_knows_it_again(world) -> None:
    job_id = await left_behind(world, "sure", [Gate()])
    world.script("sure").answers([done()])
    await world.resume()
    await charged(world, await world.ended(job_id))
    assert len({call.id for call in world.script("sure").calls}) == 1


async def test_a_job_that_its_engine_lost_runs_once_more(world) -> None:
    gone = [Failed(error=JobLost("gone", retry_after=0))]
    world.script("sure").answers([handle("sure")], gone)
    world.script("sure").answers([handle("sure")], [done()])
    job = await world.run("sure")
    await charged(world, job)
    assert tries(job) == [("sure", "failed", "provider_lost_job"), ("sure", "succeeded", None)]


async def test_a_job_that_takes_its_engine_along_fails(world) -> None:
    for _ in range(MAX_TRIES):
        world.script("sure").answers([handle("sure")], [Failed(error=JobLost("gone", retry_after=0))])
    await failed(world, await world.run("sure"), "provider_lost_job")


async def test_a_job_that_somebody_else_lost_is_not_sent_again(world) -> None:
    world.script().answers([handle()], [Failed(error=JobLost("gone"))])
    await failed(world, await world.run(), "provider_lost_job")


async def test_a_job_lost_while_we_were_down_runs_once_more(world) -> None:
    job_id = await left_behind(world, "sure", [handle("sure")], (Gate(),))
    world.script("sure").answers([done()], [Failed(error=JobLost("gone", retry_after=0))])
    await world.resume()
    job = await world.ended(job_id)
    await charged(world, job)
    assert tries(job) == [("sure", "failed", "provider_lost_job"), ("sure", "succeeded", None)]


async def test_a_stop_gives_jobs_about_to_end_their_time(world) -> None:
    gate = Gate(done())
    world.script().answers([gate])
    job_id = await world.submit()
    await gate.reached.wait()
    closing = asyncio.create_task(world.core.runner.aclose(10))
    gate.open.set()
    await closing
    await charged(world, await world.core.job(job_id, OPERATOR))


async def test_a_job_let_in_while_we_stop_waits_for_the_next_start(world) -> None:
    await world.core.runner.aclose(0)
    job_id = await world.submit()
    assert (await world.ended(job_id)).status == "queued"
    world.new_process()
    world.script().answers([done()])
    await world.resume()
    await charged(world, await world.ended(job_id))


async def test_a_caller_that_leaves_does_not_leave_the_job_behind(world) -> None:
    world.script().answers([done()])
    write, reached = world.db.write, asyncio.Event()

    async def slow(fn: Callable[..., Any]) -> Any:
        reached.set()
        return await write(fn)

    world.db.write = slow
    request = asyncio.create_task(world.submit())
    await reached.wait()
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    while not (jobs := list(world.core.runner._live)):
        await asyncio.sleep(0)
    await charged(world, await world.ended(jobs[0]))


# -- the database is away ------------------------------------------------------------------


def away_for(times: int, call: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    left = times

    async def flaky(fn: Callable[..., Any]) -> Any:
        nonlocal left
        if left:
            left -= 1
            raise DatabaseUnavailable("locked", 0.0)
        return await call(fn)

    return flaky


async def test_what_is_paid_is_settled_when_the_database_is_back(world) -> None:
    async def finish() -> Succeeded:
        world.db.write = away_for(5, world.db.write)
        return done()

    world.script().answers([finish])
    await charged(world, await world.run())


async def test_a_job_is_read_when_the_database_is_back(world) -> None:
    world.script().answers([done()])
    read = world.db.read
    job_id = await world.submit()
    world.db.read = away_for(3, read)
    await world.core.runner.wait(job_id, 20)
    world.db.read = read
    await charged(world, await world.ended(job_id))
