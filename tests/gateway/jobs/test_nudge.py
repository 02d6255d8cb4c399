"""A nudge makes the next look come at once. Without one these jobs would be looked at once an hour."""

import asyncio

import pytest
from support.job_checks import Gate, charged, failed
from support.scripted_provider import done, handle

from gateway.accounts.principals import OPERATOR
from gateway.jobs import cadence
from providers.base import Failed, Waiting
from providers.errors import JobCanceled


@pytest.fixture(autouse=True)
def seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cadence, "SOONEST_S", 3600.0)
    monkeypatch.setattr(cadence, "LATEST_S", 3600.0)


async def attempt_of(world, job_id: str) -> str:
    return (await world.core.job(job_id, OPERATOR)).attempts[-1].id


async def looked_at(world, *answers) -> tuple[str, str]:
    """A job whose first look is over, and its attempt; the further looks find these."""
    first = Gate(Waiting())
    world.script().answers([handle()], [first, *answers])
    job_id = await world.submit()
    await first.reached.wait()
    first.open.set()
    await asyncio.sleep(0)
    return job_id, await attempt_of(world, job_id)


async def test_a_nudge_is_a_look(world) -> None:
    job_id, attempt_id = await looked_at(world, done())
    world.core.runner.nudge(job_id, attempt_id)
    await charged(world, await world.ended(job_id))
    assert len(world.script().polled) == 2


async def test_a_nudge_that_comes_during_a_look_is_another_look(world) -> None:
    looking = Gate(Waiting())
    world.script().answers([handle()], [looking, done()])
    job_id = await world.submit()
    await looking.reached.wait()
    world.core.runner.nudge(job_id, await attempt_of(world, job_id))
    looking.open.set()
    await charged(world, await world.ended(job_id))
    assert len(world.script().polled) == 2


async def test_a_nudge_is_one_look_and_not_more(world) -> None:
    second = Gate(Waiting())
    job_id, attempt_id = await looked_at(world, second, done())
    world.core.runner.nudge(job_id, attempt_id)
    await second.reached.wait()
    second.open.set()
    # A look that nobody asked for would find the job done.
    await world.core.runner.wait(job_id, 0.2)
    assert world.core.runner.live(job_id) is not None
    world.core.runner.nudge(job_id, attempt_id)
    await charged(world, await world.ended(job_id))
    assert len(world.script().polled) == 3


async def test_a_nudge_of_another_attempt_or_of_an_ended_job_is_nothing(world) -> None:
    job_id, attempt_id = await looked_at(world, done())
    world.core.runner.nudge(job_id, "att_other")
    world.core.runner.nudge("job_other", attempt_id)
    await world.core.runner.wait(job_id, 0.2)
    assert len(world.script().polled) == 1
    world.core.runner.nudge(job_id, attempt_id)
    await world.ended(job_id)
    world.core.runner.nudge(job_id, attempt_id)
    assert world.core.runner.live(job_id) is None


async def test_a_cancel_does_not_wait_for_the_next_look(world) -> None:
    job_id, _ = await looked_at(world, Failed(error=JobCanceled("gone")))
    await world.core.cancel(job_id, OPERATOR)
    await failed(world, await world.ended(job_id), "canceled", "canceled")
    assert (len(world.script().canceled), len(world.script().polled)) == (1, 2)
