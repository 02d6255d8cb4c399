"""Runs what waits for batch windows: one task, woken when there is something, and when a window comes."""

import asyncio
import logging
from collections.abc import Sequence

from sqlalchemy import Connection

from gateway.ambient import Ambient
from gateway.db.engine import Database, DatabaseError
from gateway.faults import point
from gateway.jobs import queries, windows
from gateway.jobs.runner import Runner
from gateway.jobs.windows import Batch, Due
from gateway.planning import Candidate
from providers.base import TakesGroups
from providers.discovery import Providers

__all__ = ["Dispatcher"]

log = logging.getLogger(__name__)

LOOK_EVERY_S = 30.0
"""For what another replica took and did not live to run."""
SHARED_LOOK_S = 2.0
"""For what another process let in, where there may be others."""
SHORTEST_PAUSE_S = 0.1
"""Between two looks that find nothing, when a job is due that another replica is about to take."""


class Dispatcher:
    """Takes jobs out of their windows and has them run, a group at a time.

    What it has not taken stays `scheduled`: a crash leaves it waiting, and another replica can take it. So at
    most `most` jobs that it took run at once, and the next group comes when there is room for it.

    Args:
        db: has the jobs.
        ambient: time and ids.
        providers: say whether they take groups.
        runner: runs the jobs.
        most: jobs that run at once, and the most that a group has.
        shared: other processes let jobs in to the same database.
    """

    def __init__(
        self,
        db: Database,
        ambient: Ambient,
        providers: Providers,
        runner: Runner,
        *,
        most: int,
        shared: bool = False,
    ) -> None:
        self._db = db
        self._ambient = ambient
        self._providers = providers
        self._runner = runner
        self._most = most
        self._look_s = SHARED_LOOK_S if shared else LOOK_EVERY_S
        self._ends_at = 0.0
        """When it is looked again for batches that have ended."""
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._running: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Begin. What was missed while nobody ran comes first."""
        self._task = asyncio.create_task(self._run(), name="batch windows")

    def wake(self) -> None:
        """A job was let in that waits."""
        self._wake.set()

    def stop(self) -> None:
        """Take no more jobs; those that run go on."""
        if self._task is not None:
            self._task.cancel()

    async def aclose(self) -> None:
        """Stop."""
        self.stop()
        for task in self._running:
            task.cancel()
        mine = [*self._running, *([] if self._task is None else [self._task])]
        await asyncio.gather(*mine, return_exceptions=True)

    async def run_due(self) -> int:
        """Run every job whose window has come, as soon as there is room; how many were started."""
        at = self._ambient.now_ms()
        waiting = await self._db.read(lambda c: windows.due(c, at))
        return sum([await self._serve(group) for group in windows.arrange(waiting, self._most)])

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            try:
                await self._note_ends()
                while await self.run_due():
                    pass
                pause = await self._pause()
            except DatabaseError as error:
                log.warning("the batch windows cannot be read: %s", error)
                pause = LOOK_EVERY_S
            except Exception:
                log.exception("the batch windows cannot be run now")
                pause = LOOK_EVERY_S
            try:
                async with asyncio.timeout(pause):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _pause(self) -> float:
        """Seconds until the next window that somebody waits for."""
        at = await self._db.read(windows.next_window)
        if at is None:
            return self._look_s
        return min(self._look_s, max(SHORTEST_PAUSE_S, (at - self._ambient.now_ms()) / 1000))

    async def _serve(self, group: Sequence[Due]) -> int:
        """Start the jobs of a group; how many nobody else had taken."""
        model, limit = await self._of(group[0].id)
        if limit == 1:
            # Side by side: each as soon as there is room for it, all of them one batch.
            new = self._batch(group, model)
            return sum([await self._start(new, [one.id]) for one in group])
        started = 0
        for first in range(0, len(group), limit):
            together = group[first : first + limit]
            started += await self._start(self._batch(together, model), [one.id for one in together])
        return started

    async def _of(self, job_id: str) -> tuple[str, int]:
        """A job's model, and how many like it its provider runs as one."""
        try:
            job = await self._db.read(lambda c: queries.find_job(c, job_id))
            return ("", 1) if job is None else (job.model, self._limit(job.admitted.candidates))
        except DatabaseError:
            raise
        except Exception:
            # It runs by itself, and whoever runs it says what is wrong; the others must not wait for it.
            log.exception("whether job %s can run with others cannot be told", job_id)
            return "", 1

    def _limit(self, candidates: Sequence[Candidate]) -> int:
        """How many calls like that of the first candidate its provider runs as one; 1 for a template's run,
        which has none of its own.
        """
        if not candidates:
            return 1
        candidate = candidates[0]
        provider = self._providers.get(candidate.route.provider)
        if not isinstance(provider, TakesGroups) or len(candidate.calls) > 1:
            return 1
        call = candidate.calls[0]
        return max(1, provider.group_limit(candidate.route, call.payload, call.num_images))

    def _batch(self, group: Sequence[Due], model: str) -> Batch:
        first = group[0]
        return Batch(
            id=self._ambient.new_id("bat"),
            window_at=first.window_at,
            group_key=first.group_key,
            model=model,
        )

    async def _start(self, new: Batch, ids: Sequence[str]) -> int:
        """Take jobs out of their window and run them, when there is room for all; how many they are."""
        while self._running and len(self._running) + len(ids) > self._most:
            await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)

        def take(conn: Connection) -> dict[str, int]:
            return windows.take(conn, new, ids, self._ambient.now_ms(), self._runner.owner)

        taken = await self._db.write(take)
        point("window.taken")
        for job_id, fence in taken.items():
            self._runner.start(job_id, fence=fence)
            task = asyncio.create_task(self._follow(job_id, new.id))
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        if taken:
            log.info("batch %s: %d jobs of %s are taken out of their window", new.id, len(taken), new.model)
        return len(taken)

    async def _follow(self, job_id: str, batch_id: str) -> None:
        """Wait until a job is done with here."""
        live = self._runner.live(job_id)
        if live is not None:
            await live.done.wait()
        try:
            await self._end(batch_id)
        except DatabaseError as error:
            log.warning("that batch %s has ended is noted later: %s", batch_id, error)

    async def _note_ends(self) -> None:
        """Of batches that another process began; now and then."""
        now = self._ambient.monotonic()
        if now < self._ends_at:
            return
        self._ends_at = now + LOOK_EVERY_S
        for batch_id in await self._db.read(windows.not_noted):
            await self._end(batch_id)

    async def _end(self, batch_id: str) -> None:
        await self._db.write(lambda c: windows.end_batch(c, batch_id, self._ambient.now_ms()))
