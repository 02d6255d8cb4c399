"""One call of a job, from its stored attempt to its pictures: submitted once, polled, repeated if it may be.

Whatever is stored is enough to go on from: an attempt without a handle is submitted, one with a
handle is polled. Every step that a crash could tear is one transaction of `gateway.jobs.store`.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from itertools import chain, repeat
from typing import Protocol, TypeVar

import msgspec
from sqlalchemy import Connection
from structlog.contextvars import bind_contextvars

from gateway.faults import point
from gateway.jobs import store, taken
from gateway.jobs.leases import LeaseLost
from gateway.jobs.live import Live
from gateway.jobs.outputs import OutputNotStored
from gateway.jobs.records import AttemptRow, JobRow, NewAttempt, NewImage
from gateway.jobs.tools import Tools, write_until_done
from gateway.observe import spans
from gateway.observe.metrics import ProviderCall
from gateway.planning import Candidate
from gateway.schemas import ProgressView
from providers.base import Call, Failed, Handle, Provider, Running, Succeeded, Waiting
from providers.calls import PlannedCall
from providers.errors import JobCanceled, JobLost, ProviderError, ProviderTimeout, SubmitUnknown

__all__ = ["CANCEL_PATIENCE_S", "MAX_TRIES", "Line", "NotSentAgain"]

log = logging.getLogger(__name__)
T = TypeVar("T")


class NotSentAgain(ProviderError):
    """The job comes from a backup, and what this call is may have been sent before."""

    code = "restored"
    http_status = 503


class Write(Protocol):
    """Writes for a job that this process drives."""

    def __call__(self, fn: Callable[[Connection], T]) -> Awaitable[T]:
        """As `Database.write`, however long the database is away; `LeaseLost` when it drives it no more."""
        ...


MAX_TRIES = 3
"""Attempts at one call, where the error allows another."""
WATCHED_S = 0.5
"""Seconds between looks at a job that somebody follows, at most."""
CANCEL_PATIENCE_S = 30.0
"""How long a canceled job may take to say so before it is called canceled anyway."""


class Line:
    """One call under way.

    Args:
        job: its stored state.
        attempt: the last attempt at the call.
        tools: what it takes.
        live: where its progress shows.
        write: writes as long as this process has the job, and raises `LeaseLost` then.
        recovered: another process had it, so a provider may have lost it for no fault of its own.
        tries: attempts at the call, this one with them.
        next_number: gives the number of a further attempt of the job.
    """

    def __init__(
        self,
        job: JobRow,
        attempt: AttemptRow,
        tools: Tools,
        live: Live,
        *,
        write: Write,
        recovered: bool,
        tries: int,
        next_number: Callable[[], int],
    ) -> None:
        self.job, self.attempt, self.tools, self.live, self.write = job, attempt, tools, live, write
        self.recovered, self.tries, self.next_number = recovered, tries, next_number
        self.candidate: Candidate = job.admitted.candidates[attempt.route_index]
        self.call: PlannedCall = self.candidate.calls[attempt.call_index]
        self.provider: Provider = tools.providers.get(self.candidate.route.provider)
        self.store_pauses = chain(tools.store_pauses_s, repeat(tools.store_pauses_s[-1]))
        self.sent_at: float | None = None
        """When this process began to submit the attempt, if it did."""

    @property
    def alone(self) -> bool:
        """Whether the job has no other call."""
        return len(self.candidate.calls) == 1

    async def run(self) -> tuple[Succeeded, tuple[NewImage, ...]]:
        """Follow the call to its end; its pictures are in the store then, and not in the database.

        Raises:
            SubmitUnknown: a submit got no answer.
            ProviderError: it gave no picture, and is not tried again. The attempt's end is not written yet.
        """
        while True:
            bind_contextvars(attempt=self.attempt.number, attempt_id=self.attempt.id)
            try:
                with spans.attempt(self.tools.tracing, self.job, self.attempt):
                    done = await self.follow_attempt()
                    images = await self.collect(done)
            except SubmitUnknown:
                log.error("job %s: a submit to %s got no answer", self.job.id, self.attempt.provider)
                self.note(SubmitUnknown.code)
                raise
            except ProviderError as error:
                self.note(error.code)
                said = error.raw or error
                log.info("job %s: attempt %d: %s: %s", self.job.id, self.attempt.number, error.code, said)
                self.tools.outliers.failed(self.candidate.route, error)
                if not self.may_repeat(error):
                    raise
                await self.open_next(error)
            else:
                self.note("succeeded")
                self.tools.outliers.succeeded(self.candidate.route)
                return done, images

    def note(self, outcome: str) -> None:
        """Count an attempt that ended."""
        seconds = None if self.sent_at is None else self.tools.ambient.monotonic() - self.sent_at
        self.tools.metrics.attempt(self.attempt.provider, self.candidate.route.model, outcome, seconds)

    async def timed(self, call: ProviderCall, answer: Awaitable[T]) -> T:
        """The provider's answer to a call, which is timed."""
        begun = self.tools.ambient.monotonic()
        try:
            return await answer
        finally:
            seconds = self.tools.ambient.monotonic() - begun
            self.tools.metrics.provider_call(self.attempt.provider, call, seconds)

    # -- one attempt --------------------------------------------------------------------

    async def follow_attempt(self) -> Succeeded:
        """Submit unless that was done, then poll to the end."""
        handle = self.attempt.handle
        if handle is None:
            if self.live.cancel.is_set() and self.attempt.status == "not_sent":
                raise JobCanceled("The job was canceled before it was sent.", provider=self.attempt.provider)
            if self.attempt.status == "sent" and not self.provider.idempotent_submit(self.candidate.route):
                raise SubmitUnknown(
                    "The gateway stopped while it was sending.", provider=self.attempt.provider
                )
            if self.job.admitted.restored:
                raise NotSentAgain(
                    "The gateway was restored from a backup, and this may have been sent before: it is not "
                    "sent again. Nothing was charged.",
                    provider=self.attempt.provider,
                )
            if self.seconds_left() <= 0:
                raise ProviderTimeout(
                    "The job was not sent before its deadline. Nothing was charged.",
                    provider=self.attempt.provider,
                )
            with spans.submit(self.tools.tracing, self.job, self.attempt, self.candidate) as span:
                answer = await self.submit()
                spans.accepted(span, answer)
            if isinstance(answer, Succeeded):
                return answer
            handle = answer
            await self.keep_handle(answer)
        with self.tools.tracing.span("wait"):
            return await self.poll(handle)

    async def keep_handle(self, handle: Handle) -> None:
        """Store a handle, before the first poll.

        Raises:
            LeaseLost: another process drives the job. It may have called the submit one without an answer:
                here is the answer, and the job is followed from there.
        """
        point("submit.answered")
        try:
            await self.write(lambda c: store.accept_attempt(c, self.job.id, self.attempt.id, handle))
        except LeaseLost:
            deadline_at = self.job.deadline_at
            await write_until_done(
                self.tools.db,
                lambda c: taken.note_taken(c, self.job.id, self.attempt.id, handle, deadline_at),
            )
            raise
        point("submit.kept")

    async def submit(self) -> Handle | Succeeded:
        """One submit; repeated on a lost answer only where the provider promises to know it again."""
        point("submit.planned")
        await self.write(lambda c: store.send_attempt(c, self.attempt.id))
        point("submit.noted")
        call = Call(
            id=self.attempt.id,
            route=self.candidate.route,
            payload=self.call.payload,
            num_images=self.call.num_images,
            timeout_s=max(1.0, self.seconds_left()),
            media=self.tools.media,
            webhook=self.tools.webhooks.address(self.provider.type, self.attempt.id),
            group=self.job.group if self.alone and self.attempt.route_index == 0 else None,
        )
        self.sent_at = self.tools.ambient.monotonic()
        unknown: SubmitUnknown | None = None
        for pause in (*self.tools.resend_pauses_s, None):
            try:
                return await self.timed("submit", self.provider.submit(call))
            except SubmitUnknown as error:
                unknown = error
            except ProviderError as error:
                # That a resend was not taken says nothing of the submit before it.
                if unknown is None or not (error.retry_same or error.try_next):
                    raise
            if not self.provider.idempotent_submit(call.route) or pause is None:
                raise unknown
            await asyncio.sleep(pause)
        raise AssertionError("the last pause is None")

    async def poll(self, handle: Handle) -> Succeeded:
        """Look at the job until it ends; its deadline and a wish to cancel are kept here."""
        started = self.tools.ambient.monotonic()
        canceled_at: float | None = None
        while True:
            now = self.tools.ambient.monotonic()
            if self.live.cancel.is_set() and canceled_at is None and await self.ask_cancel(handle):
                canceled_at = now
            if canceled_at is not None and now - canceled_at > CANCEL_PATIENCE_S:
                raise JobCanceled("The job was canceled.", provider=handle.provider)
            # A nudge from here on is worth another look, for this one may come too soon.
            self.live.nudges[self.attempt.id].clear()
            done = await self.look(handle)
            if done is not None:
                if not self.recovered:
                    self.tools.cadence.ended(self.attempt.endpoint, now - started)
                return done
            # After the look: what ended while the gateway was down is still brought home.
            if self.seconds_left() <= 0:
                await self.ask_cancel(handle)
                raise ProviderTimeout(
                    "The job did not end in time. Nothing was charged.", provider=handle.provider
                )
            delay_s = self.tools.cadence.delay_s(self.attempt.endpoint, now - started)
            await self.pause(min(delay_s, WATCHED_S) if self.live.watched else delay_s)

    async def ask_cancel(self, handle: Handle) -> bool:
        """Pass the wish to cancel on; False when the provider did not take it now."""
        try:
            await self.timed("cancel", self.provider.cancel(handle))
        except ProviderError as error:
            log.warning("job %s: the cancel did not get through: %s", self.job.id, error)
            return False
        return True

    async def look(self, handle: Handle) -> Succeeded | None:
        """One poll; None while the job goes on."""
        try:
            poll = await self.timed("poll", self.provider.poll(handle))
        except ProviderError as error:
            if not (error.retry_same or error.try_next):
                raise
            # Said of this look, not of the job: that may well go on there, and to run it again
            # would pay twice. Only its deadline ends the wait.
            log.warning("job %s cannot be asked about: %s", self.job.id, error)
            return None
        match poll:
            case Succeeded():
                point("poll.succeeded")
                self.live.log(self.attempt.id, poll.logs)
                return poll
            case Failed():
                raise poll.error
            case Waiting():
                self.live.show(ProgressView(phase="queued", position=poll.position))
            case Running():
                self.live.log(self.attempt.id, poll.logs)
                self.live.show(ProgressView(phase=poll.phase, step=poll.step, steps=poll.steps))
        return None

    async def pause(self, seconds: float) -> None:
        """Wait for the next look. A nudge ends the wait, and a new wish to cancel is one."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.live.nudges[self.attempt.id].wait()

    async def until_canceled(self, seconds: float) -> None:
        """Wait, unless the job is canceled."""
        try:
            async with asyncio.timeout(seconds):
                await self.live.cancel.wait()
        except TimeoutError:
            return

    # -- what follows -------------------------------------------------------------------

    async def collect(self, done: Succeeded) -> tuple[NewImage, ...]:
        """Bring the call's pictures into the store."""
        if self.alone:
            self.live.status = "storing"
        before = sum(call.num_images for call in self.candidate.calls[: self.attempt.call_index])
        if not self.alone:  # more than it was asked for would take the place of another call's
            done = msgspec.structs.replace(done, images=done.images[: self.call.num_images])
        with self.tools.tracing.span("store"):
            images = await self.tools.collector.collect(
                self.job.id,
                done,
                provider=self.attempt.provider,
                wait=self.wait_for_store,
                first=before,
                vector=self.candidate.route.output == "vector",
            )
        point("pictures.stored")
        return images

    async def wait_for_store(self, error: OutputNotStored) -> None:
        """The store did not take a picture, which we owe the provider for: wait for another try.

        Raises:
            OutputNotStored: the deadline is past.
            JobCanceled: nobody wants the picture any more.
        """
        left = self.seconds_left()
        log.warning("job %s: a picture is not stored yet: %s", self.job.id, error.raw)
        if left <= 0:
            raise error
        await self.until_canceled(min(next(self.store_pauses), left))
        if self.live.cancel.is_set():
            raise JobCanceled("The job was canceled before its picture was kept.", provider=error.provider)

    def may_repeat(self, error: ProviderError) -> bool:
        """Whether the same call is tried once more."""
        again = error.retry_same or (
            # Lost with the engine that had it, which bills nothing: run it once more.
            isinstance(error, JobLost) and self.provider.idempotent_submit(self.candidate.route)
        )
        return again and self.tries < MAX_TRIES

    async def open_next(self, error: ProviderError) -> None:
        """Give this attempt up and open the next, after a pause."""
        failed, self.tries = self.attempt.id, self.tries + 1
        new = NewAttempt(
            id=self.tools.ambient.new_id("att"),
            number=self.next_number(),
            candidate=self.attempt.route_index,
            call=self.attempt.call_index,
            provider=self.attempt.provider,
            endpoint=self.attempt.endpoint,
        )
        at = self.tools.ambient.now_ms()
        await self.write(
            lambda c: store.next_attempt(c, self.job.id, failed, error, new, at, alone=self.alone)
        )
        wanted = float(self.tries) if error.retry_after is None else error.retry_after
        await self.until_canceled(max(0.0, min(wanted, self.seconds_left())))
        self.attempt, self.sent_at = AttemptRow.opened(new, at), None

    def seconds_left(self) -> float:
        """Seconds until the job's deadline."""
        return (self.job.deadline_at - self.tools.ambient.now_ms()) / 1000
