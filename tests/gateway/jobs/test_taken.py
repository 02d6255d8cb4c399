"""A provider says that it took a submit: before its answer, in its stead, or long after."""

import pytest
from support.job_checks import LOST_REPLY, Gate, charged, tries
from support.scripted_provider import done, handle

from gateway.accounts.principals import OPERATOR
from gateway.jobs import taken
from gateway.jobs.records import JobRow
from providers.errors import RequestRejected

SAID = handle(remote_id="r-said")

pytestmark = pytest.mark.every_database


async def note(world, job: JobRow, said=SAID) -> bool:
    deadline_at = world.core.ambient.now_ms() + 60_000
    attempt_id = job.attempts[-1].id
    return await world.db.write(lambda c: taken.note_taken(c, job.id, attempt_id, said, deadline_at))


async def under_way(world, then) -> tuple[JobRow, Gate]:
    """A job whose submit is out, and what lets its end come."""
    gate = Gate(then)
    world.script().answers([gate])
    job_id = await world.submit()
    await gate.reached.wait()
    return await world.core.job(job_id, OPERATOR), gate


async def test_it_takes_the_place_of_an_answer_that_never_comes(world) -> None:
    job, gate = await under_way(world, LOST_REPLY)
    world.script().answers(poll=[done()])
    assert await note(world, job) is False
    gate.open.set()
    ended = await world.ended(job.id)
    await charged(world, ended)
    assert tries(ended) == [("first", "succeeded", None)]
    assert world.script().polled == [SAID]


async def test_an_answer_counts_more(world) -> None:
    job, gate = await under_way(world, handle())
    world.script().answers(poll=[done()])
    await note(world, job)
    gate.open.set()
    await charged(world, await world.ended(job.id))
    assert world.script().polled == [handle()]


async def test_so_does_a_refusal(world) -> None:
    job, gate = await under_way(world, RequestRejected("no"))
    await note(world, job)
    gate.open.set()
    assert (await world.ended(job.id)).error_code == "provider_rejected_request"
    assert await world.money() == (0, 0)


async def test_it_outlives_the_process_that_sent(world) -> None:
    job, _ = await under_way(world, LOST_REPLY)
    world.script().answers(poll=[done()])
    await note(world, job)
    await world.restart()
    stored = await world.core.job(job.id, OPERATOR)
    assert (stored.status, stored.attempts[0].status, stored.attempts[0].handle) == (
        "running",
        "accepted",
        SAID,
    )
    await world.resume()
    await charged(world, await world.ended(job.id))
    assert len(world.script().calls) == 1


async def test_it_makes_an_unknown_job_known(world) -> None:
    world.script().answers([LOST_REPLY])
    job = await world.run()
    assert job.status == "unknown"
    world.clock.ahead_s += 86_400
    world.script().answers(poll=[done()])
    assert await note(world, job) is True
    world.core.runner.start(job.id)
    ended = await world.ended(job.id)
    await charged(world, ended)
    assert tries(ended) == [("first", "succeeded", None)]
    assert world.script().polled == [SAID]


async def test_the_first_word_counts(world) -> None:
    job, gate = await under_way(world, LOST_REPLY)
    world.script().answers(poll=[done()])
    await note(world, job)
    assert await note(world, job, handle(remote_id="r-other")) is False
    gate.open.set()
    await charged(world, await world.ended(job.id))
    assert world.script().polled == [SAID]


@pytest.mark.parametrize("end", ["completed", "failed"])
async def test_what_has_ended_stays_so(world, end: str) -> None:
    world.script().answers([done() if end == "completed" else RequestRejected("no")])
    job = await world.run()
    assert await note(world, job) is False
    assert await world.core.job(job.id, OPERATOR) == job


async def test_what_is_unknown_in_spite_of_a_handle_is_left_so(world) -> None:
    """No provider says this of a look; one that did would be asked again and again."""
    world.script().answers([handle()], [LOST_REPLY, LOST_REPLY])
    job = await world.run()
    assert (job.status, len(world.script().polled)) == ("unknown", 2)


async def test_the_job_of_an_attempt(world) -> None:
    world.script().answers([done()])
    job = await world.run()
    assert await world.db.read(lambda c: taken.job_of_attempt(c, job.attempts[0].id)) == job
    assert await world.db.read(lambda c: taken.job_of_attempt(c, "att_gone")) is None
