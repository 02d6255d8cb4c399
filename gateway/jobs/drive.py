"""Drives one job from its stored state to its end.

Whatever is stored is enough to go on from: a job without a handle is submitted, one with a
handle is polled. Every step that a crash could tear is one transaction of `gateway.jobs.store`.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from itertools import chain, repeat
from typing import TypeVar

import msgspec
from sqlalchemy import Connection

from billing.pricing import charge
from gateway.ambient import Ambient
from gateway.db.engine import Database, DatabaseUnavailable
from gateway.jobs import store, taken
from gateway.jobs.cadence import Cadence
from gateway.jobs.live import Live
from gateway.jobs.outputs import Collector, OutputNotStored
from gateway.jobs.records import AttemptRow, JobRow
from gateway.planning import Candidate
from gateway.pricing import provider_cost_micros
from gateway.schemas import ProgressView
from gateway.webhooks import NO_WEBHOOKS, Webhooks
from providers.base import (
    Call,
    Failed,
    Handle,
    MediaSource,
    NoMedia,
    Provider,
    Running,
    Succeeded,
    Waiting,
)
from providers.discovery import Providers
from providers.errors import (
    JobCanceled,
    JobLost,
    ProviderError,
    ProviderTimeout,
    SubmitUnknown,
)

__all__ = ["Drive", "Tools", "read_until_done", "write_until_done"]

log = logging.getLogger(__name__)
T = TypeVar("T")

MAX_TRIES = 3
"""Attempts at one route, where the error allows another."""
CANCEL_PATIENCE_S = 30.0
"""How long a canceled job may take to say so before it is called canceled anyway."""
RESEND_PAUSES_S = (0.2, 1.0, 5.0, 10.0, 20.0)
"""Before each resend of a submit that got no answer, to a provider that knows it again: an engine
that died meanwhile is back in that time."""
STORE_PAUSES_S = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0)
"""Before each further try at a store that is away; the last one stays, until the job's deadline."""


class Tools(msgspec.Struct, frozen=True, kw_only=True):
    """What driving a job takes."""

    db: Database
    providers: Providers
    collector: Collector
    ambient: Ambient
    cadence: Cadence = msgspec.field(default_factory=Cadence)
    resend_pauses_s: tuple[float, ...] = RESEND_PAUSES_S
    store_pauses_s: tuple[float, ...] = STORE_PAUSES_S
    media: MediaSource = NoMedia()
    """Reads the inputs of a submit."""
    webhooks: Webhooks = NO_WEBHOOKS
    """Has the address that a provider may call."""


async def write_until_done(db: Database, fn: Callable[[Connection], T]) -> T:
    """Write, however long the database is away: what ends a paid job must not be dropped."""
    return await _until_done(db.write, fn)


async def read_until_done(db: Database, fn: Callable[[Connection], T]) -> T:
    """Read, however long the database is away: an admitted job must not be forgotten."""
    return await _until_done(db.read, fn)


async def _until_done(
    call: Callable[[Callable[[Connection], T]], Awaitable[T]], fn: Callable[[Connection], T]
) -> T:
    while True:
        try:
            return await call(fn)
        except DatabaseUnavailable as error:
            log.warning("the database is away, trying again: %s", error)
            await asyncio.sleep(error.retry_after)


class Drive:
    """One job under way.

    Args:
        job: its stored state.
        tools: what it takes.
        live: where its progress shows.
        recovered: it was found at a start, so a provider may have lost it for no fault of its own.
    """

    def __init__(self, job: JobRow, tools: Tools, live: Live, *, recovered: bool) -> None:
        self.job = job
        self.tools = tools
        self.live = live
        self.recovered = recovered
        self.store_pauses = chain(tools.store_pauses_s, repeat(tools.store_pauses_s[-1]))
        self.attempt = job.attempts[-1]
        if job.cancel_requested:
            live.cancel.set()

    async def run(self) -> None:
        """Bring the job to its end, or to `unknown`."""
        while True:
            candidate = self.job.admitted.candidates[self.attempt.route_index]
            provider = self.tools.providers.get(candidate.route.provider)
            try:
                done = await self.follow_attempt(provider, candidate)
                await self.finish(candidate, done)
                return
            except SubmitUnknown as error:
                log.error("job %s: a submit to %s got no answer", self.job.id, self.attempt.provider)
                if await self.leave_unknown(error):
                    return
            except ProviderError as error:
                log.info(
                    "job %s: attempt %d: %s: %s",
                    self.job.id,
                    self.attempt.number,
                    error.code,
                    error.raw or error,
                )
                following = self.following(provider, error)
                if following is None:
                    await self.fail(error)
                    return
                await self.open_next(error, following)

    async def fail(self, error: ProviderError) -> None:
        """End the job without a picture; nothing is charged."""
        at = self.tools.ambient.now_ms()
        await self.write(lambda c: store.end_without_images(c, self.job.id, self.attempt.id, error, at))

    async def leave_unknown(self, error: SubmitUnknown) -> bool:
        """Leave the job to whoever finds out what became of its submit; the hold is kept.

        False: the provider itself has said so meanwhile, and the attempt has its handle.
        """
        if self.attempt.handle is not None:  # it was followed already, so there is nothing to find
            await self.write(lambda c: store.mark_unknown(c, self.job.id, self.attempt.id, error))
            return True
        handle = await self.write(lambda c: taken.leave_unknown(c, self.job.id, self.attempt.id, error))
        self.attempt = msgspec.structs.replace(self.attempt, handle=handle)
        return handle is None

    # -- one attempt --------------------------------------------------------------------

    async def follow_attempt(self, provider: Provider, candidate: Candidate) -> Succeeded:
        """Submit unless that was done, then poll to the end."""
        handle = self.attempt.handle
        if handle is None:
            if self.live.cancel.is_set() and self.attempt.status == "not_sent":
                raise JobCanceled("The job was canceled before it was sent.", provider=self.attempt.provider)
            if self.attempt.status == "sent" and not provider.idempotent_submit(candidate.route):
                raise SubmitUnknown(
                    "The gateway stopped while it was sending.", provider=self.attempt.provider
                )
            if self.seconds_left() <= 0:
                raise ProviderTimeout(
                    "The job was not sent before its deadline. Nothing was charged.",
                    provider=self.attempt.provider,
                )
            answer = await self.submit(provider, candidate)
            if isinstance(answer, Succeeded):
                return answer
            handle = answer
            await self.write(lambda c: store.accept_attempt(c, self.job.id, self.attempt.id, answer))
        return await self.poll(provider, handle)

    async def submit(self, provider: Provider, candidate: Candidate) -> Handle | Succeeded:
        """One submit; repeated on a lost answer only where the provider promises to know it again."""
        await self.write(lambda c: store.send_attempt(c, self.attempt.id))
        call = Call(
            id=self.attempt.id,
            route=candidate.route,
            payload=candidate.payload,
            num_images=candidate.num_images,
            timeout_s=max(1.0, self.seconds_left()),
            media=self.tools.media,
            webhook=self.tools.webhooks.address(provider.type, self.attempt.id),
        )
        unknown: SubmitUnknown | None = None
        for pause in (*self.tools.resend_pauses_s, None):
            try:
                return await provider.submit(call)
            except SubmitUnknown as error:
                unknown = error
            except ProviderError as error:
                # That a resend was not taken says nothing of the submit before it.
                if unknown is None or not (error.retry_same or error.try_next):
                    raise
            if not provider.idempotent_submit(call.route) or pause is None:
                raise unknown
            await asyncio.sleep(pause)
        raise AssertionError("the last pause is None")

    async def poll(self, provider: Provider, handle: Handle) -> Succeeded:
        """Look at the job until it ends; its deadline and a wish to cancel are kept here."""
        started = self.tools.ambient.monotonic()
        canceled_at: float | None = None
        while True:
            now = self.tools.ambient.monotonic()
            if self.live.cancel.is_set() and canceled_at is None and await self.ask_cancel(provider, handle):
                canceled_at = now
            if canceled_at is not None and now - canceled_at > CANCEL_PATIENCE_S:
                raise JobCanceled("The job was canceled.", provider=handle.provider)
            # A nudge from here on is worth another look, for this one may come too soon.
            self.live.nudges[self.attempt.id].clear()
            done = await self.look(provider, handle)
            if done is not None:
                if not self.recovered:
                    self.tools.cadence.ended(self.attempt.endpoint, now - started)
                return done
            # After the look: what ended while the gateway was down is still brought home.
            if self.seconds_left() <= 0:
                await self.ask_cancel(provider, handle)
                raise ProviderTimeout(
                    "The job did not end in time. Nothing was charged.", provider=handle.provider
                )
            await self.pause(self.tools.cadence.delay_s(self.attempt.endpoint, now - started))

    async def ask_cancel(self, provider: Provider, handle: Handle) -> bool:
        """Pass the wish to cancel on; False when the provider did not take it now."""
        try:
            await provider.cancel(handle)
        except ProviderError as error:
            log.warning("job %s: the cancel did not get through: %s", self.job.id, error)
            return False
        return True

    async def look(self, provider: Provider, handle: Handle) -> Succeeded | None:
        """One poll; None while the job goes on."""
        try:
            poll = await provider.poll(handle)
        except ProviderError as error:
            if not (error.retry_same or error.try_next):
                raise
            # Said of this look, not of the job: that may well go on there, and to run it again
            # would pay twice. Only its deadline ends the wait.
            log.warning("job %s cannot be asked about: %s", self.job.id, error)
            return None
        match poll:
            case Succeeded():
                return poll
            case Failed():
                raise poll.error
            case Waiting():
                self.live.progress = ProgressView(phase="queued", position=poll.position)
            case Running():
                self.live.progress = ProgressView(phase=poll.phase, step=poll.step, steps=poll.steps)
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

    async def finish(self, candidate: Candidate, done: Succeeded) -> None:
        """Store the pictures, then end the job and charge for them in one transaction."""
        self.live.status = "storing"
        images = await self.tools.collector.collect(
            self.job.id, done, provider=self.attempt.provider, wait=self.wait_for_store
        )
        sizes = [(image.width, image.height) for image in images]
        charged = charge(self.job.admitted.price, sizes, ceiling_micros=self.job.ceiling_micros)
        cost = provider_cost_micros(candidate, done, sizes)
        at = self.tools.ambient.now_ms()
        await self.write(
            lambda c: store.complete(
                c,
                self.job.id,
                self.attempt.id,
                images,
                charged,
                at,
                warnings=(*self.job.warnings, *_size_warnings(candidate, sizes)),
                run_seconds=done.run_seconds,
                load_seconds=done.load_seconds,
                provider_cost_micros=cost,
            )
        )

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

    def following(self, provider: Provider, error: ProviderError) -> int | None:
        """Which candidate to try next; None when the error ends the job."""
        here = self.attempt.route_index
        route = self.job.admitted.candidates[here].route
        again = error.retry_same or (
            # Lost with the process that had it, when we were stopped too: run it once more.
            isinstance(error, JobLost) and self.recovered and provider.idempotent_submit(route)
        )
        if again and self.attempt.number < MAX_TRIES:
            return here
        if error.try_next and here + 1 < len(self.job.admitted.candidates):
            return here + 1
        return None

    async def open_next(self, error: ProviderError, candidate: int) -> None:
        """Give this attempt up and open the next, after a pause if it is the same route."""
        route = self.job.admitted.candidates[candidate].route
        number = self.attempt.number + 1
        new = store.NewAttempt(
            id=self.tools.ambient.new_id("att"),
            number=number,
            candidate=candidate,
            provider=route.provider,
            endpoint=route.endpoint,
        )
        at = self.tools.ambient.now_ms()
        await self.write(lambda c: store.next_attempt(c, self.job.id, self.attempt.id, error, new, at))
        if candidate == self.attempt.route_index:
            wanted = float(number) if error.retry_after is None else error.retry_after
            await self.until_canceled(max(0.0, min(wanted, self.seconds_left())))
        self.attempt = AttemptRow(
            id=new.id,
            number=number,
            route_index=candidate,
            provider=new.provider,
            endpoint=new.endpoint,
            status="not_sent",
            handle=None,
            error_code=None,
            run_seconds=None,
            started_at=at,
            ended_at=None,
        )

    def seconds_left(self) -> float:
        """Seconds until the job's deadline."""
        return (self.job.deadline_at - self.tools.ambient.now_ms()) / 1000

    async def write(self, fn: Callable[[Connection], T]) -> T:
        """A write that waits for the database."""
        return await write_until_done(self.tools.db, fn)


def _size_warnings(candidate: Candidate, sizes: list[tuple[int, int]]) -> tuple[str, ...]:
    """What to say of pictures that are not of the size that was asked for."""
    asked = (candidate.width, candidate.height)
    if None in asked:
        return ()
    return tuple(
        f"picture {number} is {width}x{height}, not {asked[0]}x{asked[1]} as asked; it is charged as it is"
        for number, (width, height) in enumerate(sizes, start=1)
        if (width, height) != asked
    )
