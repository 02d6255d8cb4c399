"""One process drives a job at a time; what a former one still writes changes nothing."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy import select, update
from support.job_checks import PRICE, Gate, charged, tries
from support.scripted_provider import done, handle

from gateway.accounts.principals import OPERATOR
from gateway.db.tables import job
from gateway.jobs import leases
from gateway.jobs.keeper import Keeper
from gateway.jobs.runner import Runner


async def lease_of(world: Any, job_id: str) -> tuple[str | None, int]:
    columns = select(job.c.owner, job.c.fence).where(job.c.id == job_id)
    owner, fence = await world.db.read(lambda c: c.execute(columns).one())
    return owner, fence


async def until_done(runner: Runner, job_id: str) -> None:
    await runner.wait(job_id, 20)
    assert runner.live(job_id) is None


async def test_who_lets_a_job_in_drives_it_until_its_end(world) -> None:
    gate = Gate(done())
    world.script().answers([handle()], [gate])
    job_id = await world.submit()
    await gate.reached.wait()
    assert await lease_of(world, job_id) == (world.core.runner.owner, 1)
    gate.open.set()
    await charged(world, await world.ended(job_id))
    assert await lease_of(world, job_id) == (None, 1)


async def test_a_job_has_one_driver(world) -> None:
    gate = Gate(done())
    world.script().answers([handle()], [gate])
    job_id = await world.submit()
    await gate.reached.wait()
    first = world.core.runner
    # The same process again: nothing. It has the job, and another start of it is no second driver.
    first.start(job_id)
    assert first.running() == [job_id]
    assert await world.db.write(lambda c: leases.adopt(c, first.owner, 5)) == []
    gate.open.set()
    await charged(world, await world.ended(job_id))
    assert len(world.script().polled) == 1


async def adopted(world: Any, submit: Any, poll: Any, gate: Gate) -> tuple[Runner, str]:
    """A job that another process took on while its first one was held up at a gate; that one, and the job."""
    world.script().answers(submit, poll)
    job_id = await world.submit()
    await gate.reached.wait()
    former = world.core.runner
    world.new_process()
    assert await world.resume() == 1
    await until_done(world.core.runner, job_id)
    return former, job_id


async def test_the_end_that_a_former_owner_finds_changes_nothing(world) -> None:
    gate = Gate(done(count=2))
    former, job_id = await adopted(world, [handle()], [gate, done()], gate)
    before = await world.core.job(job_id, OPERATOR)
    await charged(world, before)
    gate.open.set()
    await until_done(former, job_id)
    assert await world.core.job(job_id, OPERATOR) == before
    assert await world.money() == (PRICE, 0)
    assert tries(before) == [("first", "succeeded", None)]


async def test_a_failure_that_a_former_owner_finds_changes_nothing(world) -> None:
    gate = Gate(ValueError("broke"))
    former, job_id = await adopted(world, [handle()], [gate, done()], gate)
    gate.open.set()
    await until_done(former, job_id)
    await charged(world, await world.core.job(job_id, OPERATOR))
    assert former.take_broken() == []


async def test_the_handle_that_a_former_owner_gets_is_kept_and_followed(world) -> None:
    gate = Gate(handle(remote_id="r9"))
    former, job_id = await adopted(world, [gate], [done()], gate)
    assert (await world.core.job(job_id, OPERATOR)).status == "unknown"
    gate.open.set()
    await until_done(former, job_id)
    assert (await world.core.job(job_id, OPERATOR)).status == "running"
    assert await world.resume() == 1
    await charged(world, await world.ended(job_id))
    assert [one.remote_id for one in world.script().polled] == ["r9"]
    assert len(world.script().calls) == 1


async def test_a_stop_lets_go_of_what_did_not_end(world) -> None:
    gate = Gate(done())
    world.script().answers([handle()], [gate])
    job_id = await world.submit()
    await gate.reached.wait()
    await world.core.runner.aclose(0)
    assert await lease_of(world, job_id) == (None, 1)
    world.new_process()
    assert await world.resume() == 1
    assert await lease_of(world, job_id) == (world.core.runner.owner, 2)
    await world.core.runner.aclose(0)


@pytest.mark.every_database
async def test_what_nobody_drives_is_adopted_oldest_first_and_once(world) -> None:
    world.script().answers([done()])
    await world.run()
    gates = [Gate(done()) for _ in range(3)]
    world.script().answers([handle()] * 3, gates)
    jobs = [await world.submit() for _ in range(3)]
    for gate in gates:
        await gate.reached.wait()
    await world.core.runner.aclose(0)
    first = await world.db.write(lambda c: leases.adopt(c, "own_1", 2))
    assert first == [(jobs[0], 2), (jobs[1], 2)]
    assert await world.db.write(lambda c: leases.adopt(c, "own_1", 2)) == [(jobs[2], 2)]
    assert await world.db.write(lambda c: leases.adopt(c, "own_1", 2)) == []
    assert await world.db.write(lambda c: leases.claim(c, jobs[0], "own_1")) == 3
    await world.db.write(lambda c: leases.renew(c, "own_1", jobs))


@pytest.mark.parametrize("status", ["scheduled", "unknown", "completed", "failed", "canceled"])
async def test_what_nobody_should_drive_is_not_taken_on(world, status: str) -> None:
    world.script().answers([handle()], [done()])
    job_id = (await world.run()).id
    await world.db.write(lambda c: c.execute(update(job).values(status=status)))
    world.new_process()
    assert await world.resume() == 0
    assert await world.db.write(lambda c: leases.claim(c, job_id, "own_other")) is None


async def test_a_job_whose_task_broke_is_tried_again(world, caplog) -> None:
    gate = Gate(ValueError("broke"))
    world.script().answers([handle()], [gate, done()])
    job_id = await world.submit()
    await gate.reached.wait()
    runner, write = world.core.runner, world.core.db.write

    async def gone(fn: Callable[..., Any]) -> Awaitable[Any]:
        raise RuntimeError("the database is not what it was")

    world.core.db.write = gone
    gate.open.set()
    await until_done(runner, job_id)
    world.core.db.write = write
    assert "is tried again" in caplog.text
    assert runner.take_broken() == [job_id]
    assert runner.take_broken() == []
    runner.start(job_id, recovered=True)
    await charged(world, await world.ended(job_id))


async def test_leases_of_others_are_not_renewed(world) -> None:
    gate = Gate(done())
    world.script().answers([handle()], [gate])
    job_id = await world.submit()
    await gate.reached.wait()
    await world.db.write(lambda c: leases.renew(c, "own_other", [job_id]))
    await world.db.write(lambda c: leases.renew(c, world.core.runner.owner, [job_id] * 1200))
    assert await lease_of(world, job_id) == (world.core.runner.owner, 1)
    gate.open.set()
    await world.ended(job_id)


async def test_the_keeper_ends_with_its_task(world) -> None:
    keeper = Keeper(world.db, world.core.runner, shared=True)
    keeper.start()
    await keeper.aclose()
    await keeper.aclose()
