"""Every way that a job can go, over a scripted provider, a real database and a real ledger."""

import pytest
from support.job_checks import AWAY, BUSY, LOST_REPLY, PRICE, Gate, charged, failed, tries
from support.scripted_provider import done, handle

from gateway.accounts.principals import OPERATOR
from gateway.jobs.line import MAX_TRIES
from providers.base import Failed, ImageBytes, Running, Succeeded, Waiting
from providers.errors import (
    ContentRejected,
    ProviderFailed,
    RequestRejected,
    TargetUnavailable,
)
from registry.errors import InvalidInputs

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
    assert (view.status, view.progress.phase, view.progress.step, view.cost) == (
        "running",
        "denoise",
        3,
        None,
    )
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


# -- a submit without an answer ------------------------------------------------------------


async def test_a_lost_reply_is_never_sent_again(world) -> None:
    world.script().answers([LOST_REPLY])
    job = await world.run("two")
    assert (job.status, job.charge_micros, job.completed_at) == ("unknown", None, None)
    assert tries(job) == [("first", "unknown", "provider_submit_unknown")]
    assert await world.money() == (0, PRICE)
    await world.restart()
    await world.resume()
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
    await world.resume()
    await charged(world, await world.ended(job_id))


async def test_nothing_is_sent_after_the_deadline(world) -> None:
    world.core.runner.start = lambda *_, **__: None  # admitted, and then the process died
    job_id = await world.submit()
    world.new_process()
    world.clock.ahead_s += 1801
    await world.resume()
    await failed(world, await world.ended(job_id), "provider_timeout")
    assert world.script().calls == []


async def test_max_seconds_is_the_jobs_deadline(world) -> None:
    async def later() -> Running:
        world.clock.ahead_s += 31
        return Running()

    world.script().answers([handle()], [later])
    job = await world.ended(await world.submit(max_seconds=30))
    await failed(world, job, "provider_timeout")
    assert world.script().canceled == [handle()]


async def test_what_was_seen_is_what_is_usual(world) -> None:
    """The runner's memory is the plan's."""
    world.core.cadence.ended("first/make", 40.0)
    with pytest.raises(InvalidInputs, match="max_seconds"):
        await world.submit(max_seconds=30)
