"""Keeps this process's leases alive, adopts what gone processes left, and hears of cancels elsewhere."""

import asyncio
import logging

from gateway.db.engine import Database, DatabaseError
from gateway.jobs import leases
from gateway.jobs.runner import Runner

__all__ = ["ADOPTED_AT_ONCE", "Keeper", "adopt_all"]

log = logging.getLogger(__name__)

EVERY_S = 1.0
"""Where several processes share the database."""
ALONE_EVERY_S = leases.LEASE_MS / 1000
"""Where there is but one: only a job whose task broke is looked for."""
RENEW_EVERY = 4
"""Rounds."""
ADOPTED_AT_ONCE = 20
"""So that several processes share what one leaves."""


async def adopt_all(db: Database, runner: Runner) -> int:
    """Go on with every job that nobody drives; how many they are."""
    count = 0
    while taken := await db.write(lambda c: leases.adopt(c, runner.owner, ADOPTED_AT_ONCE)):
        for job_id, fence in taken:
            runner.start(job_id, fence=fence, recovered=True)
        count += len(taken)
    return count


class Keeper:
    """One task; `start` it when jobs may run.

    Args:
        db: the database.
        runner: runs the jobs.
        shared: other processes drive jobs of the same database.
    """

    def __init__(self, db: Database, runner: Runner, *, shared: bool) -> None:
        self._db = db
        self._runner = runner
        self._shared = shared
        self._task: asyncio.Task[None] | None = None
        self._adopting = True

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._run(), name="leases")

    def drain(self) -> None:
        """Adopt no more: the process is about to stop."""
        self._adopting = False

    async def aclose(self) -> None:
        """Stop."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        rounds = 0
        while True:
            await asyncio.sleep(EVERY_S if self._shared else ALONE_EVERY_S)
            rounds += 1
            try:
                if self._shared:
                    await self._share(renew=rounds % RENEW_EVERY == 0)
                await self._restart()
            except DatabaseError as error:
                # A lease that runs out meanwhile costs nothing but the way to another process.
                log.warning("leases cannot be kept now: %s", error)

    async def _share(self, *, renew: bool) -> None:
        """One round beside other processes."""
        owner = self._runner.owner
        if renew:
            running = self._runner.running()
            await self._db.write(lambda c: leases.renew(c, owner, running))
        for job_id in await self._db.read(lambda c: leases.canceled(c, owner)):
            self._runner.cancel(job_id)
        if not self._adopting:
            return
        taken = await self._db.write(lambda c: leases.adopt(c, owner, ADOPTED_AT_ONCE))
        for job_id, fence in taken:
            log.info("job %s was left by another process and goes on here", job_id)
            self._runner.start(job_id, fence=fence, recovered=True)

    async def _restart(self) -> None:
        """Try once more to end jobs whose task broke."""
        for job_id in self._runner.take_broken():
            self._runner.start(job_id, recovered=True)
