"""A process takes on what it has room for; the rest waits, and is adopted as if it had let it in itself."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy import select
from support.job_checks import PRICE, Gate
from support.scripted_provider import done, handle

from gateway.accounts.principals import OPERATOR
from gateway.db.tables import job
from gateway.jobs.keeper import ADOPTED_AT_ONCE, Keeper, adopt_all
from gateway.jobs.store import request_cancel


async def leases(world: Any, jobs: Sequence[str]) -> list[tuple[str | None, int]]:
    """Owner and fence of each."""
    rows = await world.db.read(lambda c: c.execute(select(job.c.id, job.c.owner, job.c.fence)).all())
    found = {row.id: (row.owner, row.fence) for row in rows}
    return [found[job_id] for job_id in jobs]


async def completed(world: Any, *jobs: str) -> None:
    """They have ended well, each paid for once."""
    assert {(await world.ended(job_id)).status for job_id in jobs} == {"completed"}


def keeper(world: Any) -> Keeper:
    """One for the world's present process, which looks by itself once an hour."""
    world.core.keeper = Keeper(world.db, world.core.runner, shared=False, every_s=3600)
    return world.core.keeper


async def test_what_comes_on_top_waits_until_a_job_ends(world) -> None:
    world.new_process(at_once=2)
    kept, mine = keeper(world), world.core.runner.owner
    kept.start()
    gates = [Gate(done()) for _ in range(4)]
    world.script().answers([handle(remote_id=f"r{n}") for n in range(4)], gates)
    jobs = [await world.submit() for _ in range(4)]
    await asyncio.gather(gates[0].reached.wait(), gates[1].reached.wait())
    assert await leases(world, jobs) == [(mine, 1), (mine, 1), (None, 0), (None, 0)]
    assert (world.core.runner.room, len(world.core.runner.running())) == (0, 2)
    gates[0].open.set()
    await gates[2].reached.wait()  # and not at the next look, an hour from now
    found = await leases(world, jobs)
    assert (found[2], found[3]) == ((mine, 1), (None, 0))
    assert sorted(found[:2], key=repr) == [(mine, 1), (None, 1)]  # whichever of them has ended
    for gate in gates:
        gate.open.set()
    await gates[3].reached.wait()
    await completed(world, *jobs)
    assert await world.money() == (4 * PRICE, 0)
    await kept.aclose()


async def test_who_waits_for_a_job_without_a_place_waits_for_its_end(world) -> None:
    world.new_process(at_once=1)
    kept = keeper(world)
    kept.start()
    gates = [Gate(done()), Gate(done())]
    world.script().answers([handle()] * 2, gates)
    first, second = await world.submit(), await world.submit()
    waiting = asyncio.create_task(world.core.wait(second, OPERATOR, 60))
    gates[0].open.set()
    await gates[1].reached.wait()
    assert not waiting.done()
    gates[1].open.set()
    assert (await waiting).status == "completed"
    assert (await world.core.wait(first, OPERATOR, 0)).status == "completed"
    await kept.aclose()


async def test_a_burst_takes_no_more_places_than_there_are(world) -> None:
    world.new_process(at_once=3)
    gates = [Gate(done()) for _ in range(3)]
    world.script().answers([handle()] * 3, gates)
    jobs = await asyncio.gather(*(world.submit() for _ in range(12)))
    owners = [owner for owner, _ in await leases(world, jobs)]
    assert (owners.count(world.core.runner.owner), owners.count(None)) == (3, 9)
    await asyncio.gather(*(gate.reached.wait() for gate in gates))
    await world.core.runner.aclose(0)


async def test_places_are_kept_only_while_they_are_taken(world) -> None:
    runner = world.core.runner
    with runner.places(150) as first, runner.places(150) as second:
        assert (first, second, runner.room) == (150, 50, 0)
    assert runner.room == runner.at_once == 200


@pytest.mark.every_database
async def test_a_process_that_drives_nothing_leaves_its_jobs_to_others(world) -> None:
    world.new_process(drives=False)
    jobs = [await world.submit() for _ in range(3)]
    front = world.core.runner
    for job_id in jobs:
        front.start(job_id)
    assert (front.running(), front.at_once, front.room) == ([], 0, 0)
    assert await leases(world, jobs) == [(None, 0)] * 3
    assert await adopt_all(world.db, front) == 0
    world.script().answers([handle()] * 2, [done()] * 2)
    world.new_process(at_once=2)
    assert await world.resume() == 2
    await completed(world, *jobs[:2])
    assert await leases(world, jobs) == [(None, 1), (None, 1), (None, 0)]


async def test_a_first_adoption_is_no_recovery(world, caplog) -> None:
    """Nothing of it was left by anybody: how long it takes is learnt from, and the log speaks of no other process."""
    caplog.set_level("INFO", "gateway.jobs.keeper")
    world.new_process(drives=False)
    job_id = await world.submit()
    world.script().answers([handle()], [done()])
    world.new_process()
    assert await world.resume() == 1
    await completed(world, job_id)
    endpoint = (await world.core.job(job_id, OPERATOR)).attempts[0].endpoint
    assert world.core.runner._tools.cadence.usual_s(endpoint) is not None
    assert "goes on here" not in caplog.text


async def test_a_worker_shares_what_is_left(world) -> None:
    world.new_process(drives=False)
    jobs = [await world.submit() for _ in range(ADOPTED_AT_ONCE + 2)]
    world.script().answers([handle()] * len(jobs), [done()] * len(jobs))
    world.new_process(at_once=ADOPTED_AT_ONCE + 1)
    shared = Keeper(world.db, world.core.runner, shared=True, every_s=3600)
    await shared._adopt()
    assert len(world.core.runner.running()) == ADOPTED_AT_ONCE
    await shared._adopt()
    assert len(world.core.runner.running()) == ADOPTED_AT_ONCE + 1
    await completed(world, *jobs[:-1])


async def test_a_keeper_that_is_told_to_stop_adopts_no_more(world) -> None:
    world.new_process(drives=False)
    job_id = await world.submit()
    world.new_process()
    kept = keeper(world)
    kept.drain()
    await kept._adopt()
    assert await leases(world, [job_id]) == [(None, 0)]


@pytest.mark.every_database
async def test_what_nobody_ever_drove_ends_where_its_end_is_asked_for(world) -> None:
    world.new_process(drives=False)
    job_id = await world.submit()
    account_id = (await world.core.job(job_id, OPERATOR)).account_id
    at = world.core.ambient.now_ms()
    assert await world.db.write(lambda c: request_cancel(c, job_id, account_id, at)) == "canceled"
    found = await world.core.job(job_id, OPERATOR)
    assert (found.status, found.charge_micros, [one.status for one in found.attempts]) == (
        "canceled",
        0,
        ["failed"],
    )
    assert await world.money() == (0, 0)


async def test_what_somebody_drove_is_canceled_by_who_drives_it(world) -> None:
    gate = Gate(done())
    world.script().answers([handle()], [gate])
    job_id = await world.submit()
    await gate.reached.wait()
    await world.core.runner.aclose(0)
    account_id = (await world.core.job(job_id, OPERATOR)).account_id
    assert await world.db.write(lambda c: request_cancel(c, job_id, account_id, 1)) == "running"
    assert await world.db.write(lambda c: request_cancel(c, "job_none", account_id, 1)) is None
