"""Drives one run of a template: its steps one after the other, each as jobs of their own, then what is laid
over their pictures, then its outputs.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import chain, repeat
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy import Connection

from gateway.faults import point
from gateway.jobs import queries, store
from gateway.jobs.leases import fenced
from gateway.jobs.live import Live
from gateway.jobs.outputs import OutputNotStored
from gateway.jobs.records import TERMINAL, JobRow, NewImage
from gateway.jobs.tools import Tools, read_until_done, write_until_done
from gateway.observe import spans
from gateway.runs.compose import Made, finish
from gateway.runs.pictures import Picture, Pictures
from gateway.runs.records import RunRecord, StepRecord, step_job_id
from gateway.runs.steps import admit_step, new_step
from gateway.schemas import ProgressView
from providers.errors import JobCanceled, ProviderError, by_code
from templates.errors import TemplateError

if TYPE_CHECKING:
    from gateway.jobs.runner import Runner

__all__ = ["RunDrive"]

log = logging.getLogger(__name__)
T = TypeVar("T")

SIDE_BY_SIDE = 4
"""Jobs of one step that run at once."""
LOOK_S = 0.25
"""Between looks at a step's job that another process drives."""


class RunBroken(ProviderError):
    """The template that the run is of cannot be used any more."""

    code = "template_gone"
    http_status = 503


class _Unknown(Exception):
    """A step's submit got no answer: the run waits until somebody says what became of it."""


class RunDrive:
    """One run under way.

    Args:
        job: its stored state.
        tools: what it takes.
        live: where its progress shows.
        fence: of the lease that this process has on it.
        runner: drives the jobs of its steps.
    """

    def __init__(self, job: JobRow, tools: Tools, live: Live, *, fence: int, runner: "Runner") -> None:
        if job.admitted.run is None:
            raise ValueError(f"{job.id} is no run of a template")
        self.job = job
        self.record: RunRecord = job.admitted.run
        self.tools = tools
        self.live = live
        self.fence = fence
        self.runner = runner
        self.pictures = Pictures(self.record, tools)
        self.warnings = list(job.warnings)
        self.due_micros = 0
        self.gate = asyncio.Semaphore(SIDE_BY_SIDE)
        self.store_pauses = chain(tools.store_pauses_s, repeat(tools.store_pauses_s[-1]))
        live.restore(job.progress)
        if job.cancel_requested:
            live.cancel.set()

    async def run(self) -> None:
        """Bring the run to its end, or to `unknown`."""
        try:
            for step in self.record.steps:
                await self.take_step(step)
            with self.tools.tracing.span("compose"):
                made = await self.compose()
            with self.tools.tracing.span("store"):
                images = await self.keep(made)
        except _Unknown:
            at = self.tools.ambient.now_ms()
            with spans.settle(self.tools.tracing, "unknown"):
                await self.write(lambda c: store.mark_unknown(c, self.job.id, (), at))
            return
        except ProviderError as error:
            await self.fail(error)
            return
        await self.complete(images)

    async def fail(self, error: ProviderError) -> None:
        """End the run without a picture; nothing is charged."""
        at = self.tools.ambient.now_ms()
        with spans.failed(self.tools.tracing, error):
            ended_here = await self.write(lambda c: store.end_without_images(c, self.job.id, (), error, at))
        if ended_here:
            self.note("canceled" if error.code == "canceled" else "failed", at)
        point("fail.committed")
        log.info("run %s ended without a picture: %s", self.job.id, error.code)

    async def complete(self, images: Sequence[NewImage]) -> None:
        """End the run and charge for what its steps gave, in one transaction."""
        charged = min(self.due_micros, self.job.ceiling_micros)
        at, warnings = self.tools.ambient.now_ms(), tuple(dict.fromkeys(self.warnings))
        point("complete.begun")
        with spans.settle(self.tools.tracing, "completed", cost_micros=charged, images=len(images)):
            ended_here = await self.write(
                lambda c: store.complete_run(c, self.job.id, images, charged, at, warnings=warnings)
            )
        if ended_here:
            self.note("completed", at)
        point("complete.committed")
        log.info("run %s is completed: %d pictures, %d micro-dollars", self.job.id, len(images), charged)

    def note(self, outcome: str, at: int) -> None:
        """Count the run, which ended."""
        seconds = (at - self.job.created_at) / 1000
        self.tools.metrics.job(self.job.model, self.job.provider, outcome, seconds)

    # -- the steps ----------------------------------------------------------------------

    async def take_step(self, step: StepRecord) -> None:
        """Have one step's pictures made; an optional one that fails is left out.

        Raises:
            ProviderError: it failed, or nobody wants the run any more.
            _Unknown: a submit of it got no answer.
        """
        sources: Sequence[Picture | None] = (None,) if step.of is None else self.pictures.of(step.of)
        jobs = await asyncio.gather(
            *(self.take_job(step, place, source) for place, source in enumerate(sources)),
        )
        if any(one.status == "unknown" for one in jobs):
            raise _Unknown
        lost = [one for one in jobs if one.status != "completed"]
        if lost and self.live.cancel.is_set():
            raise JobCanceled("The run was canceled.")
        if lost and not (step.optional and step.of is not None):
            raise step_failure(step.name, lost[0])
        if lost:
            self.warnings.append(f"{step.name} is left out: {lost[0].error_message or 'it failed'}")
        self.due_micros += sum(one.due_micros or 0 for one in jobs)
        self.pictures.take(step, jobs, sources)

    async def take_job(self, step: StepRecord, place: int, source: Picture | None) -> JobRow:
        """One job of a step, let in unless it was before, as it ended."""
        job_id = step_job_id(self.job.id, step.name, place)
        async with self.gate:
            if self.live.cancel.is_set():
                raise JobCanceled("The run was canceled.")
            if await read_until_done(self.tools.db, lambda c: queries.find_job(c, job_id)) is None:
                new = new_step(
                    self.job,
                    step,
                    job_id,
                    source,
                    self.tools.ambient,
                    self.runner.owner,
                    traceparent=self.tools.tracing.traceparent(),
                )
                at = self.tools.ambient.now_ms()
                point("run.planned")
                await self.write(lambda c: admit_step(c, new, at))
                point("run.admitted")
            return await self.follow(step, job_id)

    async def follow(self, step: StepRecord, job_id: str) -> JobRow:
        """A step's job when it has ended, or is unknown. A wish to cancel the run is passed on."""
        told = False
        while True:
            self.runner.start(job_id)
            if self.live.cancel.is_set() and not told:
                told = True
                await self.cancel_job(job_id)
            await self.look(step, job_id)
            found = await read_until_done(self.tools.db, lambda c: queries.find_job(c, job_id))
            if found is None:
                raise LookupError(f"the job {job_id} of {self.job.id} is gone")
            if found.status in TERMINAL or found.status == "unknown":
                return found

    async def cancel_job(self, job_id: str) -> None:
        """Pass the wish to cancel on to a step's job."""
        account_id, at = self.job.account_id, self.tools.ambient.now_ms()
        await self.write(lambda c: store.request_cancel(c, job_id, account_id, at))
        self.runner.cancel(job_id)

    async def look(self, step: StepRecord, job_id: str) -> None:
        """Wait until a step's job is done with here, or for a while; its progress is the run's."""
        its = self.runner.live(job_id)
        if its is None:
            await asyncio.sleep(LOOK_S)
            return

        waits = [asyncio.ensure_future(its.done.wait())]
        if not self.live.cancel.is_set():
            waits.append(asyncio.ensure_future(self.live.cancel.wait()))
        try:
            # Looked at, and not listened to: a job with listeners is asked about more often at its provider.
            while not any(wait.done() for wait in waits):
                self.live.show(progress_of(step, its.progress))
                await asyncio.wait(waits, timeout=LOOK_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    # -- what is laid over them ---------------------------------------------------------

    async def compose(self) -> Sequence[Made]:
        """The finished outputs of each variant.

        Raises:
            RunBroken: the template is gone, or cannot be used as it is now.
            JobCanceled: nobody wants them any more.
        """
        template = self.tools.templates().templates.get(self.record.template)
        if template is None:
            raise RunBroken(f"There is no template {self.record.template!r} any more. Nothing was charged.")
        if template.version != self.record.version:
            self.warnings.append(f"{template.name} was changed while the run was under way")
        scenes = self.pictures.scenes(template.scene)
        own: Mapping[str, bytes] = await self.pictures.own()
        made: list[Made] = []
        wanted = len(self.record.outputs) * max(1, len(scenes))
        for variant, scene in enumerate(scenes or (None,)):
            if self.live.cancel.is_set():
                raise JobCanceled("The run was canceled.")
            self.live.show(ProgressView(phase="compose", step=len(made), steps=wanted))
            data = None if scene is None else await self.pictures.read(scene)
            more = await self.pictures.beside(variant)
            try:
                made += await asyncio.to_thread(
                    finish, template, self.record, variant, len(scenes), scene, data, {**own, **more}
                )
            except TemplateError as error:
                raise RunBroken(f"{error}. Nothing was charged.") from error
        point("run.composed")
        return made

    async def keep(self, made: Sequence[Made]) -> list[NewImage]:
        """Bring the outputs into the store."""
        self.live.status = "storing"
        return [
            await self.tools.collector.keep(
                self.job.id, position, one.data, one.verified, name=one.name, wait=self.wait_for_store
            )
            for position, one in enumerate(made)
        ]

    async def wait_for_store(self, error: OutputNotStored) -> None:
        """The store did not take an output: wait for another try.

        Raises:
            OutputNotStored: the deadline is past.
            JobCanceled: nobody wants it any more.
        """
        left = (self.job.deadline_at - self.tools.ambient.now_ms()) / 1000
        log.warning("run %s: an output is not stored yet: %s", self.job.id, error.raw)
        if left <= 0:
            raise error
        with suppress(TimeoutError):
            async with asyncio.timeout(min(next(self.store_pauses), left)):
                await self.live.cancel.wait()
        if self.live.cancel.is_set():
            raise JobCanceled("The run was canceled before its outputs were kept.")

    async def write(self, fn: Callable[[Connection], T]) -> T:
        """A write that waits for the database.

        Raises:
            LeaseLost: another process drives the run; nothing was written.
        """
        return await write_until_done(self.tools.db, lambda c: fenced(c, self.job.id, self.fence, fn))


def progress_of(step: StepRecord, its: ProgressView | None) -> ProgressView:
    """How far a run is while one of its steps runs."""
    if its is None:
        return ProgressView(phase=step.name)
    return ProgressView(
        phase=f"{step.name}: {its.phase}" if its.phase else step.name,
        step=its.step,
        steps=its.steps,
        position=its.position,
    )


def step_failure(step: str, job: JobRow) -> ProviderError:
    """What a run fails with when a step of it did."""
    kind = by_code(job.error_code or "")
    return kind(f"{step}: {job.error_message or 'it failed'}", provider=job.provider)
