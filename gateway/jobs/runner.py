"""Runs jobs: one task each, all of them in this process's event loop."""

import asyncio
import logging

from gateway.jobs import queries
from gateway.jobs.drive import Drive
from gateway.jobs.live import Live
from gateway.jobs.tools import Tools, read_until_done
from providers.errors import ProviderError

__all__ = ["Runner"]

log = logging.getLogger(__name__)


class InternalFailure(ProviderError):
    """Something broke in the gateway."""

    code = "internal_error"
    http_status = 500


class Runner:
    """Starts jobs, waits for them, cancels them."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._live: dict[str, Live] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._released = asyncio.Event()
        self._closed = False

    def start(self, job_id: str, *, recovered: bool = False) -> None:
        """Run a job that is in the database; nothing if it runs already, or after `aclose`: then
        the next start resumes it.
        """
        if job_id in self._tasks or self._closed:
            return
        live = self._live[job_id] = Live()
        task = asyncio.create_task(self._run(job_id, live, recovered), name=f"job {job_id}")
        self._tasks[job_id] = task
        task.add_done_callback(lambda done: self._forget(job_id, live, done))

    async def resume(self) -> int:
        """Go on with every job that a former process left; how many they are."""
        job_ids = await self._tools.db.read(queries.open_job_ids)
        for job_id in job_ids:
            self.start(job_id, recovered=True)
        return len(job_ids)

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

    def release(self) -> None:
        """Let everybody who waits go, for the process is about to stop; jobs run on."""
        self._released.set()

    def live(self, job_id: str) -> Live | None:
        """What is known of a job that runs here."""
        return self._live.get(job_id)

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

    async def _run(self, job_id: str, live: Live, recovered: bool) -> None:
        job = await read_until_done(self._tools.db, lambda c: queries.find_job(c, job_id))
        if job is None or job.status in ("completed", "failed", "canceled"):
            return
        if job.status == "unknown":
            return  # the operator's, until somebody finds out what became of it
        drive = Drive(job, self._tools, live, recovered=recovered)
        try:
            await drive.run()
        except Exception:
            # A fault of ours must not leave a hold open: the job ends, and the log says why.
            log.exception("job %s broke", job_id)
            await drive.fail(InternalFailure("Something broke here. Nothing was charged; the log has it."))

    def _forget(self, job_id: str, live: Live, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            log.error("job %s could not be ended and is resumed at the next start", job_id,
                      exc_info=task.exception())  # fmt: skip
        live.done.set()
        self._live.pop(job_id, None)
        self._tasks.pop(job_id, None)
        self._tools.ended()
