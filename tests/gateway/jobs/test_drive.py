"""Every way that a job can go, over a scripted provider, a real database and a real ledger."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from support.scripted_provider import done, handle

from gateway.core import OPERATOR
from gateway.db.engine import DatabaseUnavailable
from gateway.jobs.drive import CANCEL_PATIENCE_S, MAX_TRIES, poll_delay
from gateway.jobs.records import JobRow
from gateway.storage import StorageError
from providers.base import Failed, ImageBytes, Running, Succeeded, Waiting
from providers.errors import (
    ContentRejected,
    JobCanceled,
    JobLost,
    ProviderFailed,
    ProviderUnavailable,
    RateLimited,
    RequestRejected,
    SubmitUnknown,
    TargetUnavailable,
)

PRICE = 30_000
BUSY = RateLimited("busy", retry_after=0)
AWAY = ProviderUnavailable("away", retry_after=0)
LOST_REPLY = SubmitUnknown("no answer")


def tries(job: JobRow) -> list[tuple[str, str, str | None]]:
    return [(a.provider, a.status, a.error_code) for a in job.attempts]


class Gate:
    """A step of a script that waits until the test lets it go on."""

    def __init__(self, then: Any = None) -> None:
        self.reached = asyncio.Event()
        self.open = asyncio.Event()
        self.then = then

    async def __call__(self) -> Any:
        self.reached.set()
        await self.open.wait()
        if isinstance(self.then, Exception):
            raise self.then
        return self.then


async def failed(world: Any, job: JobRow, code: str, status: str = "failed") -> None:
    """It ended so, cost nothing and holds nothing."""
    assert (job.status, job.error_code, job.charge_micros, job.images) == (status, code, 0, ())
    assert await world.money() == (0, 0)


async def charged(world: Any, job: JobRow, micros: int = PRICE) -> None:
    assert (job.status, job.charge_micros, job.error_code) == ("completed", micros, None)
    assert await world.money() == (micros, 0)
    for image in job.images:
        assert await world.core.images.get(image.storage_key) is not None


# -- it goes well --------------------------------------------------------------------------


async def test_success_at_once(world) -> None:
    world.script().answers([done(run_seconds=1.25, load_seconds=0.5)])
    job = await world.run()
    await charged(world, job)
    assert tries(job) == [("first", "succeeded", None)]
    assert job.attempts[0].run_seconds == "1.250"
    assert [(i.width, i.height, i.content_type, i.seed) for i in job.images] == [(64, 48, "image/png", 7)]


async def test_a_handle_is_stored_before_it_is_polled(world) -> None:
    stored = []

    async def look() -> Succeeded:
        stored.append((await world.core.job(job_id, OPERATOR)).attempts[0])
        return done()

    world.script().answers([handle()], [Waiting(position=2), Running(step=1, steps=4), look])
    job_id = await world.submit()
    await charged(world, await world.ended(job_id))
    assert (stored[0].status, stored[0].handle) == ("accepted", handle())
    assert world.script().polled == [handle()] * 3


async def test_progress_shows_while_it_runs(world) -> None:
    gate = Gate(done())
    world.script().answers([handle()], [Running(phase="denoise", step=3, steps=9), gate])
    job_id = await world.submit()
    await gate.reached.wait()
    view = world.core.view(await world.core.job(job_id, OPERATOR))
    assert (view.status, view.progress.phase, view.progress.step, view.cost) == ("running", "denoise", 3, None)
    gate.open.set()
    await charged(world, await world.ended(job_id))


async def test_what_came_is_charged(world) -> None:
    world.script().answers([done(2)])
    job = await world.run(num_images=3)
    assert (job.quote_micros, len(job.images)) == (3 * PRICE, 2)
    await charged(world, job, 2 * PRICE)


async def test_never_more_than_the_ceiling_is_charged(world) -> None:
    world.script().answers([done(3)])
    await charged(world, await world.run())


async def test_the_call_says_what_was_asked(world) -> None:
    world.script().answers([done()])
    job = await world.run(seed=5)
    call = world.script().calls[0]
    assert (call.id, call.num_images, call.payload["seed"]) == (job.attempts[0].id, 1, 5)
    assert 1700 < call.timeout_s <= 1800


# -- it fails ------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [ContentRejected("no"), RequestRejected("no"), ProviderFailed("broke")])
async def test_a_failed_job_costs_nothing(world, error) -> None:
    world.script().answers([handle()], [Failed(error=error)])
    job = await world.run()
    await failed(world, job, error.code)
    assert tries(job) == [("first", "failed", error.code)]
    assert job.error_status == error.http_status


@pytest.mark.parametrize("error", [TargetUnavailable("gone"), ProviderFailed("broke")])
async def test_try_next_goes_to_the_second_route(world, error) -> None:
    world.script().answers([error])
    world.script("second").answers([done()])
    job = await world.run("two")
    await charged(world, job)
    assert tries(job) == [("first", "failed", error.code), ("second", "succeeded", None)]
    assert job.provider == "second"


async def test_what_may_be_repeated_is_repeated_three_times(world) -> None:
    world.script().answers([BUSY] * MAX_TRIES)
    job = await world.run()
    await failed(world, job, "provider_rate_limited")
    assert tries(job) == [("first", "failed", "provider_rate_limited")] * MAX_TRIES
    assert len({call.id for call in world.script().calls}) == MAX_TRIES


async def test_a_repeated_try_may_succeed(world) -> None:
    world.script().answers([AWAY, done()])
    await charged(world, await world.run())


async def test_repeats_then_the_next_route(world) -> None:
    world.script().answers([BUSY] * MAX_TRIES)
    world.script("second").answers([done()])
    job = await world.run("two")
    await charged(world, job)
    assert [a.provider for a in job.attempts] == ["first"] * MAX_TRIES + ["second"]


@pytest.mark.parametrize("bug", [KeyError("x"), RuntimeError("y"), AssertionError()])
@pytest.mark.parametrize("where", ["submit", "poll"])
async def test_a_bug_in_a_provider_ends_the_job(world, bug, where, caplog) -> None:
    world.script().answers([bug] if where == "submit" else [handle()], [bug])
    await failed(world, await world.run(), "internal_error")
    assert "broke" in caplog.text


async def test_no_pictures_are_no_success(world) -> None:
    world.script().answers([Succeeded(images=())])
    await failed(world, await world.run(), "provider_bad_response")


async def test_a_broken_picture_is_no_success(world) -> None:
    broken = ImageBytes(data=done().images[0].data[:-3], content_type="image/png")
    world.script().answers([Succeeded(images=(*done().images, broken))])
    await failed(world, await world.run(num_images=2), "provider_bad_response")
    assert await world.core.images.keys("images") == []


async def test_a_store_that_is_full_does_not_run_the_job_again(world, monkeypatch) -> None:
    async def full(*_: object) -> None:
        raise StorageError("no space left")

    monkeypatch.setattr(world.core.images, "put", full)
    world.script().answers([done()])
    job = await world.run("two")
    await failed(world, job, "output_not_stored")
    assert world.script("second").calls == []


# -- a submit without an answer ------------------------------------------------------------


async def test_a_lost_reply_is_never_sent_again(world) -> None:
    world.script().answers([LOST_REPLY])
    job = await world.run("two")
    assert (job.status, job.charge_micros, job.completed_at) == ("unknown", None, None)
    assert tries(job) == [("first", "unknown", "provider_submit_unknown")]
    assert await world.money() == (0, PRICE)
    await world.restart()
    await world.core.runner.resume()
    assert (await world.ended(job.id)).status == "unknown"
    assert len(world.script().calls) == 1


async def test_a_provider_that_knows_a_submit_again_gets_the_same_id(world) -> None:
    world.script("sure").answers([LOST_REPLY, LOST_REPLY, done()])
    job = await world.run("sure")
    await charged(world, job)
    assert [call.id for call in world.script("sure").calls] == [job.attempts[0].id] * 3


async def test_resends_end(world) -> None:
    world.script("sure").answers([LOST_REPLY] * 3)
    assert (await world.run("sure")).status == "unknown"


async def test_a_resend_that_was_not_taken_says_nothing_of_the_first(world) -> None:
    world.script("sure").answers([LOST_REPLY, AWAY, AWAY])
    job = await world.run("sure")
    assert (job.status, len(job.attempts)) == ("unknown", 1)
    assert await world.money() == (0, PRICE)


# -- polling -------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [AWAY, BUSY, ProviderFailed("502")])
async def test_a_look_that_fails_is_no_end(world, error) -> None:
    world.script().answers([handle()], [error, error, done()])
    await charged(world, await world.run("two"))
    assert (len(world.script().calls), world.script("second").calls) == (1, [])


async def test_the_deadline_cancels(world) -> None:
    gate = Gate(Running())
    world.script().answers([handle()], [gate])
    job_id = await world.submit()
    await gate.reached.wait()
    world.clock.ahead_s += 1801
    gate.open.set()
    await failed(world, await world.ended(job_id), "provider_timeout")
    assert world.script().canceled == [handle()]


async def test_a_deadline_that_passed_while_we_were_down_still_looks_once(world) -> None:
    gate = Gate()
    world.script().answers([handle()], [gate])
    job_id = await world.submit()
    await gate.reached.wait()
    await world.restart()
    world.clock.ahead_s += 1801
    world.script().answers(poll=[done()])
    await world.core.runner.resume()
    await charged(world, await world.ended(job_id))


async def test_nothing_is_sent_after_the_deadline(world) -> None:
    world.core.runner.start = lambda *_, **__: None  # admitted, and then the process died
    job_id = await world.submit()
    world.new_process()
    world.clock.ahead_s += 1801
    await world.core.runner.resume()
    await failed(world, await world.ended(job_id), "provider_timeout")
    assert world.script().calls == []


# -- cancel --------------------------------------------------------------------------------


async def test_cancel_before_it_is_sent(world) -> None:
    world.core.runner.start = lambda *_, **__: None
    job_id = await world.submit()
    assert (await world.core.cancel(job_id, OPERATOR)).status == "queued"
    world.new_process()
    await world.core.runner.resume()
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
    assert await world.core.runner.resume() == 1
    await charged(world, await world.ended(job_id))
    assert len(world.script().calls) == 1


async def test_stopped_while_sending_is_unknown(world) -> None:
    job_id = await left_behind(world, "solo", [Gate()])
    await world.core.runner.resume()
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
    await world.core.runner.resume()
    assert (await world.ended(job_id)).status == "unknown"


async def test_stopped_while_sending_to_one_that_knows_it_again(world) -> None:
    job_id = await left_behind(world, "sure", [Gate()])
    world.script("sure").answers([done()])
    await world.core.runner.resume()
    await charged(world, await world.ended(job_id))
    assert len({call.id for call in world.script("sure").calls}) == 1


async def test_a_job_lost_while_we_ran_fails(world) -> None:
    world.script("sure").answers([handle("sure")], [Failed(error=JobLost("gone"))])
    await failed(world, await world.run("sure"), "provider_lost_job")


async def test_a_job_lost_while_we_were_down_runs_once_more(world) -> None:
    job_id = await left_behind(world, "sure", [handle("sure")], (Gate(),))
    world.script("sure").answers([done()], [Failed(error=JobLost("gone", retry_after=0))])
    await world.core.runner.resume()
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
    await world.core.runner.resume()
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


@pytest.mark.parametrize(("age", "pause"), [(0, 0.05), (0.4, 0.05), (5, 0.5), (20, 2), (9999, 2)])
def test_looks_get_rarer(age, pause) -> None:
    assert poll_delay(age) == pytest.approx(pause)
