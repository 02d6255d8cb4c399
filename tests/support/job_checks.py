"""What tests of running jobs share: errors of a script, a gate in it, and how a job must have ended."""

import asyncio
from typing import Any

from gateway.jobs.records import JobRow
from providers.errors import ProviderUnavailable, RateLimited, SubmitUnknown

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
