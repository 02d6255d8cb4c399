"""A thousand cancels against a thousand ends: one end each, and the charge agrees with it."""

import asyncio
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from support.job_checks import PRICE
from support.scripted_provider import done, handle

from billing import ledger
from gateway.accounts.principals import OPERATOR
from providers.base import Failed, Running
from providers.errors import JobCanceled

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.every_database]

RACES = 1000


async def race(world: Any, rng: Random) -> tuple[str, int]:
    """How one job ended, and what was charged."""
    last = rng.choice([done(), Failed(error=JobCanceled("stopped"))])
    world.script().answers([handle()], [*[Running()] * rng.randrange(2), last])
    job_id = await world.submit()
    # Some rounds of the loop, or some time: a write takes milliseconds, and the cancel is to come in all of them.
    for _ in range(rng.randrange(20)):
        await asyncio.sleep(rng.choice((0, 0, 0.001)))
    await world.core.cancel(job_id, OPERATOR)
    await world.core.runner.wait(job_id, 20)
    job = await world.core.job(job_id, OPERATOR)
    assert (job.charge_micros, len(job.images)) == ((PRICE, 1) if job.status == "completed" else (0, 0))
    assert not world.script().submit or job.status == "canceled"  # canceled before it was sent
    world.script().submit.clear()
    world.script().poll.clear()
    return job.status, job.charge_micros


async def test_one_end_each_and_the_charge_agrees(world, figures: Callable[[str], None]) -> None:
    rng = Random(1)
    ends = [await race(world, rng) for _ in range(RACES)]
    counts = Counter(status for status, _ in ends)
    assert set(counts) == {"completed", "canceled"}
    assert min(counts.values()) > RACES / 20, counts  # both happen
    assert await world.money() == (sum(charged for _, charged in ends), 0)
    assert await world.db.read(ledger.verify) == []
    figures(f"{RACES} races: {dict(counts)}")
