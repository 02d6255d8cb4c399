"""Keeps this process's leases alive, adopts what nobody drives (any more), and hears of cancels elsewhere."""

import asyncio
import logging
from contextlib import suppress

from gateway.db.engine import Database, DatabaseError
from gateway.jobs import leases
from gateway.jobs.admit import FIRST_FENCE
from gateway.jobs.runner import Runner

__all__ = ["ADOPTED_AT_ONCE", "WORKER_EVERY_S", "Keeper", "adopt_all"]

log = logging.getLogger(__name__)

EVERY_S = 1.0
"""Where several processes share the database."""
WORKER_EVERY_S = 0.25
"""Where others let in what this one runs."""
ALONE_EVERY_S = leases.LEASE_MS / 1000
"""Where there is but one: what waits for room is taken when a job ends."""
RENEW_S = 4.0
"""Between renewals of the leases, of which each has three in its life."""
LOOK_S = 1.0
"""Between looks for cancels."""
ADOPTED_AT_ONCE = 20
"""So that several processes share what one leaves."""


async def adopt_all(db: Database, runner: Runner) -> int:
    """Go on with every job that nobody drives, as far as there is room; how many they are."""
    count = 0
    while taken := await _adopt(db, runner):
        count += taken
    return count


async def _adopt(db: Database, runner: Runner) -> int:
    """Take on some of what nobody drives; how many they are."""
    with runner.places(ADOPTED_AT_ONCE) as places:
        if not places:
            return 0
        taken = await db.write(lambda c: leases.adopt(c, runner.owner, places))
        for job_id, fence in taken:
            recovered = fence > FIRST_FENCE
            if recovered:
                log.info("job %s was left by another process and goes on here", job_id)
            runner.start(job_id, fence=fence, recovered=recovered)
    return len(taken)


class Keeper:
    """One task; `start` it when jobs may run.

    Args:
        db: the database.
        runner: runs the jobs.
        shared: other processes drive jobs of the same database.
        every_s: seconds between looks for what nobody drives; as `shared` says, when not given.
    """

    def __init__(self, db: Database, runner: Runner, *, shared: bool, every_s: float | None = None) -> None:
        self._db = db
        self._runner = runner
        self._shared = shared
        self._every_s = every_s or (EVERY_S if shared else ALONE_EVERY_S)
        self._task: asyncio.Task[None] | None = None
        self._adopting = True
        self._waiting = True
        """There may be jobs that nobody drives for want of room here."""
        self._wake = asyncio.Event()

    @property
    def begun(self) -> bool:
        """Whether jobs that wait for room are taken on here some time."""
        return self._task is not None

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._run(), name="leases")

    def drain(self) -> None:
        """Adopt no more: the process is about to stop."""
        self._adopting = False

    def note_waiting(self) -> None:
        """A job was let in that nobody drives: it is adopted as soon as there is room."""
        self._waiting = True
        self.note_room()

    def note_room(self) -> None:
        """A job has ended here."""
        if self._waiting and self._runner.room:
            self._wake.set()

    async def aclose(self) -> None:
        """Stop."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        clock = asyncio.get_running_loop().time
        next_at, renew_at, look_at = clock() + self._every_s, clock() + RENEW_S, clock() + LOOK_S
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(next_at):
                    await self._wake.wait()
            self._wake.clear()
            now = clock()
            try:
                if self._shared and now >= renew_at:
                    renew_at = now + RENEW_S
                    await self._renew()
                if self._shared and now >= look_at:
                    look_at = now + LOOK_S
                    await self._hear_cancels()
                await self._adopt()
                if now >= next_at:
                    await self._restart()
            except DatabaseError as error:
                # A lease that runs out meanwhile costs nothing but the way to another process.
                log.warning("leases cannot be kept now: %s", error)
            if now >= next_at:
                next_at = clock() + self._every_s

    async def _renew(self) -> None:
        owner, running = self._runner.owner, self._runner.running()
        await self._db.write(lambda c: leases.renew(c, owner, running))

    async def _hear_cancels(self) -> None:
        owner = self._runner.owner
        for job_id in await self._db.read(lambda c: leases.canceled(c, owner)):
            self._runner.cancel(job_id)

    async def _adopt(self) -> None:
        """Take on what nobody drives. A job that ends later makes room for more, if there may be more."""
        while self._adopting:
            wanted = min(ADOPTED_AT_ONCE, self._runner.room)
            taken = await _adopt(self._db, self._runner)
            self._waiting = taken >= wanted
            if self._shared or not taken:
                return

    async def _restart(self) -> None:
        """Try once more to end jobs whose task broke."""
        for job_id in self._runner.take_broken():
            self._runner.start(job_id, recovered=True)
