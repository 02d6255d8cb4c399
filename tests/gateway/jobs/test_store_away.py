"""The store is away when a paid picture comes: it is waited for, and the job is never run again."""

import asyncio
from pathlib import Path

import pytest
from support.job_checks import charged, failed
from support.scripted_provider import done, handle


class Wall:
    """A file where the store's folder of pictures should be: it takes nothing while that stands."""

    def __init__(self, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
        self._path = folder / "store" / "images"
        self._caplog = caplog
        self._path.write_text("in the way")

    async def met(self, times: int = 1) -> None:
        """Wait until a picture was not taken so many times."""
        async with asyncio.timeout(20):
            while self._caplog.text.count("is not stored yet") < times:
                await asyncio.sleep(0.001)

    def fall(self) -> None:
        self._path.unlink()


@pytest.fixture
def wall(world, tmp_path, caplog) -> Wall:
    return Wall(tmp_path, caplog)


async def test_a_store_that_comes_back_gets_the_picture_and_the_job_is_paid_once(world, wall) -> None:
    world.script().answers([handle()], [done(2)])
    job_id = await world.submit("two", num_images=2)
    await wall.met(times=3)
    assert world.core.runner.live(job_id).status == "storing"
    wall.fall()
    job = await world.ended(job_id)
    await charged(world, job, 2 * 30_000)
    assert [(a.provider, a.status) for a in job.attempts] == [("first", "succeeded")]
    assert (len(world.script().calls), len(world.script().polled)) == (1, 1)
    assert world.script("second").calls == []


async def test_a_store_that_stays_away_until_the_deadline_ends_the_job_uncharged(world, wall) -> None:
    world.script().answers([done()])
    job_id = await world.submit("two")
    await wall.met(times=2)
    world.clock.ahead_s = world.core.settings.job_timeout_s
    await failed(world, await world.ended(job_id), "output_not_stored")
    assert len(world.script().calls) == 1
    assert world.script("second").calls == []


async def test_who_cancels_does_not_wait_for_the_store(world, wall) -> None:
    world.script().answers([handle()], [done()])
    job_id = await world.submit()
    await wall.met()
    world.core.runner.cancel(job_id)
    await failed(world, await world.ended(job_id), "canceled", status="canceled")


async def test_a_restart_meanwhile_goes_on_from_the_handle(world, wall) -> None:
    world.script().answers([handle()], [done(), done()])
    job_id = await world.submit()
    await wall.met()
    await world.restart()
    wall.fall()
    await world.resume()
    await charged(world, await world.ended(job_id))
    assert len(world.script().calls) == 1
