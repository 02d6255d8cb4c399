"""Runs jobs: one task each, all of them in this process's event loop, each under a lease of its own."""

import asyncio
import contextvars
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

from structlog.contextvars import bind_contextvars

from gateway.db.engine import DatabaseError
from gateway.faults import point
from gateway.jobs import leases, queries
from gateway.jobs.drive import Drive
from gateway.jobs.live import Live
from gateway.jobs.records import UNDER_WAY, JobRow
from gateway.jobs.tools import Tools, read_until_done, write_until_done
from gateway.observe import spans
from gateway.runs.drive import RunDrive
from providers.errors import ProviderError

__all__ = ["AT_ONCE", "Runner"]

log = logging.getLogger(__name__)


AT_ONCE = 200
"""Jobs that a process drives, where nothing else is said."""


class InternalFailure(ProviderError):
    """Something broke in the gateway."""

    code = "internal_error"
    http_status = 500


class Runner:
    """Starts jobs, waits for them, cancels them.

    Args:
        tools: what driving a job takes.
        at_once: jobs that may run here. The steps of a template's run, and what is taken out of a batch
            window, count, and do not wait for room.
        drives: False: none is started here, and other processes drive them.
    """

    def __init__(self, tools: Tools, *, at_once: int = AT_ONCE, drives: bool = True) -> None:
        self.owner = tools.ambient.new_id("own")
        """Who holds the leases of jobs that run here."""
        self._tools = tools
        self._at_once = at_once
        self._drives = drives
        self._places = 0
        """Kept for jobs that are about to start."""
        self._live: dict[str, Live] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._broken: set[str] = set()
        self._released = asyncio.Event()
        self._closed = False

    def start(self, job_id: str, *, fence: int | None = None, recovered: bool = False) -> None:
        """Run a job that is in the database; nothing if it runs here already, if another process drives it
        (or will: whoever has room adopts it), or after `aclose`: then the next start resumes it.

        Args:
            job_id: the job.
            fence: of the lease that this process has on it; None: it has none yet.
            recovered: another process had it before.
        """
        if job_id in self._tasks or self._closed or not self._drives:
            return
        live = self._live[job_id] = Live()
        # Nothing of whoever starts it: a request, another job or a round of the keeper.
        task = asyncio.create_task(
            self._run(job_id, live, fence, recovered), name=f"job {job_id}", context=contextvars.Context()
        )
        self._tasks[job_id] = task
        task.add_done_callback(lambda done: self._forget(job_id, live, done))

    @property
    def at_once(self) -> int:
        """Jobs that may run here."""
        return self._at_once if self._drives else 0

    @property
    def room(self) -> int:
        """How many jobs more may be taken on now."""
        if self._closed:
            return 0
        return max(0, self.at_once - len(self._tasks) - self._places)

    @contextmanager
    def places(self, wanted: int) -> Iterator[int]:
        """Keep places for jobs while they are taken on in the database; how many there were.

        They are given back at the end of the block: what was started in it counts itself by then.
        """
        kept = min(wanted, self.room)
        self._places += kept
        try:
            yield kept
        finally:
            self._places -= kept

    def running(self) -> list[str]:
        """The jobs that run here."""
        return list(self._tasks)

    def take_broken(self) -> list[str]:
        """Jobs that could not be ended here since the last call, and are to be tried again."""
        found, self._broken = list(self._broken), set()
        return found

    async def wait(self, job_id: str, seconds: float) -> None:
        """Wait until a job ends here, the time is up, or everybody is let go."""
        live = self._live.get(job_id)
        if live is None:
            return
        waits = [asyncio.ensure_future(event.wait()) for event in (live.done, self._released)]
        try:
            await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def pause(self, seconds: float) -> None:
        """Wait for so long, or until everybody is let go."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._released.wait()

    def release(self) -> None:
        """Let everybody who waits go, for the process is about to stop; jobs run on."""
        self._released.set()

    def live(self, job_id: str) -> Live | None:
        """What is known of a job that runs here."""
        return self._live.get(job_id)

    @property
    def lives(self) -> Mapping[str, Live]:
        """What is known of each job that runs here."""
        return self._live

    def cancel(self, job_id: str) -> None:
        """Tell a job that runs here that its end is wanted. The wish itself is in the database."""
        live = self._live.get(job_id)
        if live is not None:
            live.ask_cancel()

    def nudge(self, job_id: str, attempt_id: str) -> None:
        """Look at an attempt now, for it may have ended; nothing for a job that does not run here."""
        live = self._live.get(job_id)
        if live is not None:
            live.nudges[attempt_id].set()

    async def aclose(self, grace_s: float) -> None:
        """Stop driving. Jobs that have not ended stay in the database and are resumed at the next
        start; those about to end get `grace_s` seconds to do so.
        """
        self._closed = True
        running = [task for task in self._tasks.values() if not task.done()]
        if running and grace_s > 0:
            await asyncio.wait(running, timeout=grace_s)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        if running:
            await self._hand_over()

    async def _hand_over(self) -> None:
        """Let others have the jobs that did not end here, at once."""
        try:
            await self._tools.db.write(lambda c: leases.let_go(c, self.owner))
        except DatabaseError as error:
            log.warning("jobs are handed over when their leases run out: %s", error)

    async def _run(self, job_id: str, live: Live, fence: int | None, recovered: bool) -> None:
        db = self._tools.db
        if fence is None:
            fence = await write_until_done(db, lambda c: leases.claim(c, job_id, self.owner))
        if fence is None:
            return  # ended, the operator's to settle, or another process's
        point("job.claimed")
        job = await read_until_done(db, lambda c: queries.find_job(c, job_id))
        if job is None or job.status not in UNDER_WAY:
            return
        with spans.job(self._tools.tracing, job, recovered=recovered) as span:
            bind_contextvars(
                job_id=job_id,
                account_id=job.account_id,
                request_id=job.admitted.request_id,
                trace_id=span.trace_id,
            )
            await self._drive(job, live, fence, recovered)
        if job.parent_id is not None:
            # It was unknown with its step, and nobody drives it since; else this does nothing.
            self.start(job.parent_id)

    async def _drive(self, job: JobRow, live: Live, fence: int, recovered: bool) -> None:
        if job.admitted.run is not None:
            drive: Drive | RunDrive = RunDrive(job, self._tools, live, fence=fence, runner=self)
        else:
            drive = Drive(job, self._tools, live, fence=fence, recovered=recovered)
        try:
            try:
                await drive.run()
            except Exception as error:
                if leases.is_lost(error):
                    raise
                # A fault of ours must not leave a hold open: the job ends, and the log says why.
                log.exception("job %s broke", job.id)
                await drive.fail(
                    InternalFailure("Something broke here. Nothing was charged; the log has it.")
                )
        except Exception as error:
            if not leases.is_lost(error):
                raise
            log.warning("job %s: this process was too late, and another drives it by now", job.id)
            self._tools.tracing.current().fail("lease_lost")

    def _forget(self, job_id: str, live: Live, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            log.error(
                "job %s could not be ended and is tried again",
                job_id,
                exc_info=task.exception(),
                extra={"job_id": job_id},
            )
            self._broken.add(job_id)
        live.end()
        self._live.pop(job_id, None)
        self._tasks.pop(job_id, None)
        self._tools.ended()
