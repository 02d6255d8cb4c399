"""The operator's word on a job whose submit got no answer."""

import asyncio

import pytest
from support.job_checks import LOST_REPLY, PRICE, charged, failed, tries
from support.scripted_provider import done

from gateway import unknown as word
from gateway.problems import Problem
from providers.base import Handle, Unavailable
from providers.errors import RequestRejected

pytestmark = pytest.mark.every_database


async def unknown(world) -> str:
    world.script().answers([LOST_REPLY])
    job = await world.run()
    assert job.status == "unknown"
    return job.id


async def test_an_adopted_job_goes_on_from_the_providers_id(world) -> None:
    job_id = await unknown(world)
    world.script().answers(poll=[done()])
    assert (await word.adopt(world.core, job_id, "r-77")).status in ("running", "completed")
    job = await world.ended(job_id)
    await charged(world, job)
    assert tries(job) == [("first", "succeeded", None)]
    assert world.script().polled == [Handle(provider="first", remote_id="r-77")]
    assert len(world.script().calls) == 1


async def test_an_adopted_job_gets_a_new_deadline(world) -> None:
    job_id = await unknown(world)
    world.clock.ahead_s += 86_400
    world.script().answers(poll=[done()])
    await word.adopt(world.core, job_id, "r-77")
    await charged(world, await world.ended(job_id))


async def test_a_job_that_was_not_taken_ends_uncharged(world) -> None:
    job_id = await unknown(world)
    assert await world.money() == (0, PRICE)
    await failed(world, await word.fail(world.core, job_id), "provider_not_taken")
    assert await world.money() == (0, 0)


async def test_only_an_unknown_job_is_settled(world) -> None:
    world.script().answers([done()])
    job = await world.run()
    for settle in (word.adopt(world.core, job.id, "r-1"), word.fail(world.core, job.id)):
        with pytest.raises(Problem) as caught:
            await settle
        assert caught.value.document.code == "job_not_unknown"
    await charged(world, await world.core.job(job.id, job.account_id))


async def test_two_operators_at_once_settle_it_once(world) -> None:
    job_id = await unknown(world)
    words = [word.fail(world.core, job_id) for _ in range(8)]
    answers = await asyncio.gather(*words, return_exceptions=True)
    assert sum(isinstance(answer, Problem) for answer in answers) == 7
    assert await world.money() == (0, 0)


async def test_what_cannot_be_is_refused_and_nothing_changes(world) -> None:
    job_id = await unknown(world)
    with pytest.raises(RequestRejected):
        await word.adopt(world.core, job_id, "x-1")
    world.script().unavailable = Unavailable(reason="no key", setting="KEY")
    with pytest.raises(Problem, match="no key"):
        await word.adopt(world.core, job_id, "r-1")
    with pytest.raises(Problem, match="job_nobody"):
        await word.adopt(world.core, "job_nobody", "r-1")
    assert (await world.core.job(job_id, "acc_local_operator")).status == "unknown"
