"""What a running job tells other processes: when it is stored, and when it is not."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import delete, select, update
from support.job_checks import Gate
from support.scripted_provider import done, handle

from gateway.db.tables import job, progress
from gateway.jobs.progress import forget_ended, save
from gateway.jobs.records import Progress
from gateway.schemas import ProgressView
from providers.base import Running


async def stored(world) -> list[tuple[str, int, Progress]]:
    """Job, version and body of each row."""
    rows = await world.db.read(lambda c: c.execute(select(progress)).all())
    return [(row.job_id, row.version, _decoded(row.body)) for row in rows]


def _decoded(body: str) -> Progress:
    import msgspec

    return msgspec.json.decode(body, type=Progress)


async def running(world, *answers: Any) -> str:
    """A job of which the process knows that the first of four steps is done."""
    gate = Gate(Running(step=1, steps=4))
    held = Gate(Running(step=1, steps=4))
    world.script().answers([handle()], [gate, held, *answers])
    job_id = await world.submit()
    gate.open.set()
    await held.reached.wait()
    return job_id


async def later(world, seconds: float) -> int:
    world.clock.ahead_s += seconds
    return await world.core.progress.write_due()


async def test_a_job_that_ends_soon_costs_no_write(world) -> None:
    world.script().answers([handle()], [Running(step=1, steps=4), done()])
    job_id = await world.submit()
    assert await world.core.progress.write_due() == 0
    await world.ended(job_id)
    assert await later(world, 60) == 0
    assert await stored(world) == []


async def test_a_change_is_stored_once_and_at_most_once_a_second(world) -> None:
    job_id = await running(world)
    live = world.core.runner.live(job_id)
    assert await world.core.progress.write_due() == 0  # seen for the first time
    assert await later(world, 0.6) == 1
    assert await later(world, 60) == 0  # nothing new
    live.show(ProgressView(step=2, steps=4))
    assert await later(world, 0) == 1
    live.show(ProgressView(step=3, steps=4))
    assert await later(world, 0.9) == 0
    live.show(ProgressView(step=4, steps=4))
    assert await later(world, 0.2) == 1
    ((found, version, body),) = await stored(world)
    assert (found, version, body.shown.step) == (job_id, 3, 4)


async def test_many_jobs_are_stored_in_one_transaction(world) -> None:
    world.script().answers([handle()] * 5, [Running(step=1, steps=4)] * 5)
    jobs = [await world.submit() for _ in range(5)]
    async with asyncio.timeout(20):
        while not all(world.core.runner.live(found).version for found in jobs):
            await asyncio.sleep(0)
    await world.core.progress.write_due()
    writes, write = 0, world.db.write

    async def counted(fn: Any) -> Any:
        nonlocal writes
        writes += 1
        return await write(fn)

    world.db.write = counted
    assert (await later(world, 1), writes) == (5, 1)
    assert sorted(found for found, _, _ in await stored(world)) == sorted(jobs)


async def test_nothing_is_stored_of_a_job_that_has_ended_or_is_anothers(world) -> None:
    job_id = await running(world)
    told = [(job_id, Progress(shown=ProgressView(step=9)))]
    await world.db.write(lambda c: c.execute(update(job).values(owner="other")))
    await world.db.write(lambda c: save(c, told, 1, owner="me"))
    assert await stored(world) == []
    await world.db.write(lambda c: save(c, told, 1, owner="other"))
    await world.db.write(lambda c: save(c, [(job_id, Progress())], 1, owner="me"))
    assert (await stored(world))[0][1:] == (1, told[0][1])
    await world.db.write(lambda c: c.execute(delete(progress)))
    await world.db.write(lambda c: c.execute(update(job).values(status="canceled")))
    await world.db.write(lambda c: save(c, [*told, ("job_gone", Progress())], 1))
    assert await stored(world) == []


async def test_only_that_of_ended_jobs_is_forgotten(world) -> None:
    job_id = await running(world)
    await world.core.progress.write_due()
    assert await later(world, 1) == 1
    assert await world.db.write(forget_ended) == 0
    await world.db.write(lambda c: c.execute(update(job).values(status="failed")))
    assert await world.db.write(forget_ended) == 1
    assert await stored(world) == []
    world.core.runner.cancel(job_id)


@pytest.mark.parametrize("status", ["queued", "running", "unknown", "scheduled", "completed"])
async def test_it_is_shown_of_jobs_under_way_alone(world, status) -> None:
    job_id = await running(world)
    await world.db.write(lambda c: save(c, [(job_id, Progress(shown=ProgressView(step=3)))], 1))
    await world.db.write(lambda c: c.execute(update(job).values(status=status)))
    row = await world.core.job(job_id, None)
    assert (row.progress is not None) == (status in ("queued", "running"))
