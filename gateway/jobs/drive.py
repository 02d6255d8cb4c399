"""Drives one job from its stored state to its end: the calls of one candidate side by side, then, where the
error allows it and nothing came, those of the next.
"""

import asyncio
import itertools
import logging
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import TypeVar

import msgspec
from msgspec import Struct
from sqlalchemy import Connection

from billing.pricing import charge
from gateway.faults import point
from gateway.jobs import store, taken
from gateway.jobs.leases import fenced
from gateway.jobs.line import Line
from gateway.jobs.live import Live
from gateway.jobs.records import AttemptRow, JobRow, NewAttempt
from gateway.jobs.tools import Tools, write_until_done
from gateway.observe import spans
from gateway.planning import Candidate
from gateway.pricing import actual_cost, charged_seconds, ran_seconds
from providers.base import Handle, Succeeded
from providers.errors import ProviderError, SubmitUnknown, by_code

__all__ = ["SIDE_BY_SIDE", "Drive"]

log = logging.getLogger(__name__)
T = TypeVar("T")

MOST_PROMPT = 4000
SIDE_BY_SIDE = 4
"""Calls of one job that run at once."""


class _End(Struct, frozen=True, kw_only=True):
    """How one call of a candidate ended."""

    sizes: tuple[tuple[int, int], ...] = ()
    """Width and height in pixels of the pictures that it gave."""
    share: store.Share | None = None
    """Its pictures, where no transaction has kept them yet."""
    seconds: Decimal | None = None
    """What its pictures took, for a price by the second; None when nobody knows."""
    lost: store.Lost | None = None
    """Its last attempt and why that gave nothing."""
    attempt: AttemptRow | None = None
    """The one that is lost."""


class Drive:
    """One job under way.

    Args:
        job: its stored state.
        tools: what it takes.
        live: where its progress shows.
        fence: of the lease that this process has on it.
        recovered: another process had it, so a provider may have lost it for no fault of its own.
    """

    def __init__(self, job: JobRow, tools: Tools, live: Live, *, fence: int, recovered: bool) -> None:
        self.job = job
        self.tools = tools
        self.live = live
        self.fence = fence
        self.recovered = recovered
        self.attempts = list(job.attempts)
        self.numbers = itertools.count(job.attempts[-1].number + 1)
        self.index = max(attempt.route_index for attempt in job.attempts)
        self.ends: dict[int, _End] = {}
        """Of the candidate's calls that have ended, by their place."""
        self.gate = asyncio.Semaphore(SIDE_BY_SIDE)
        live.restore(job.progress)
        if job.cancel_requested:
            live.cancel.set()

    @property
    def candidate(self) -> Candidate:
        """The one that serves now."""
        return self.job.admitted.candidates[self.index]

    async def run(self) -> None:
        """Bring the job to its end, or to `unknown`."""
        while True:
            ends = await self.run_calls()
            lost = [end.lost for end in ends if end.lost is not None]
            asked = [end.attempt for end in ends if end.attempt is not None and _is_asked(end)]
            if any(end.sizes for end in ends):
                if asked and await self.found(asked):
                    continue
                await self.complete(ends)
                return
            if any(isinstance(error, SubmitUnknown) for _, error in lost):
                if await self.leave_unknown(lost, asked):
                    return
                continue
            following = self.following([error for _, error in lost])
            if following is None:
                await self.fail(lost[0][1], lost)
                return
            await self.open_candidate(following, lost)

    async def fail(self, error: ProviderError, lost: Sequence[store.Lost] | None = None) -> None:
        """End the job without a picture; nothing is charged."""
        at = self.tools.ambient.now_ms()
        ended = [(self.attempts[-1].id, error)] if lost is None else lost
        with spans.failed(self.tools.tracing, error):
            ended_here = await self.write(
                lambda c: store.end_without_images(c, self.job.id, ended, error, at)
            )
        if ended_here:
            self.note("canceled" if error.code == "canceled" else "failed", at)
        point("fail.committed")
        log.info("job %s ended without a picture: %s", self.job.id, error.code)

    async def leave_unknown(self, lost: Sequence[store.Lost], asked: Sequence[AttemptRow]) -> bool:
        """Leave the job to whoever finds out what became of its submits; the hold is kept.

        False: a provider itself has said so meanwhile, and the attempt has its handle.
        """
        ids, at = [one.id for one in asked], self.tools.ambient.now_ms()
        with spans.settle(self.tools.tracing, "unknown"):
            handles = await self.write(lambda c: taken.leave_unknown(c, self.job.id, lost, ids, at))
        return not self.go_on_with(asked, handles)

    async def found(self, asked: Sequence[AttemptRow]) -> bool:
        """Whether a provider has said meanwhile that it took a submit without an answer."""
        ids = [one.id for one in asked]
        return self.go_on_with(asked, await self.write(lambda c: taken.handles_of(c, ids)))

    def go_on_with(self, asked: Sequence[AttemptRow], handles: Mapping[str, Handle]) -> bool:
        """Follow attempts from handles that were found; False when there are none."""
        for one in asked:
            if one.id in handles:
                taken_now = msgspec.structs.replace(one, status="accepted", handle=handles[one.id])
                self.attempts.append(taken_now)
                del self.ends[one.call_index]
        return bool(handles)

    # -- the calls of a candidate -------------------------------------------------------

    async def run_calls(self) -> list[_End]:
        """Bring every call of the candidate to its end."""
        count = len(self.candidate.calls)
        if count == 1:
            self.ends[0] = await self.run_call(0)
            return [self.ends[0]]
        if self.live.images is None:
            self.live.images = len(self.job.images)
        async with asyncio.TaskGroup() as group:
            for index in range(count):
                if index not in self.ends:
                    group.create_task(self.run_in_turn(index))
        return [self.ends[index] for index in range(count)]

    async def run_in_turn(self, index: int) -> None:
        """One of several calls, and its pictures kept as soon as they are there."""
        async with self.gate:
            end = await self.run_call(index)
        if end.share is not None:
            share, at = end.share, self.tools.ambient.now_ms()
            await self.write(lambda c: store.keep_share(c, self.job.id, share, at))
            point("share.kept")
            self.live.images = (self.live.images or 0) + len(share.images)
        self.ends[index] = msgspec.structs.replace(end, share=None)

    async def run_call(self, index: int) -> _End:
        """One call: what a former process knew of it counts."""
        mine = [one for one in self.attempts if (one.route_index, one.call_index) == (self.index, index)]
        last = mine[-1] if mine else await self.open_call(index)
        if last.status == "succeeded":
            return _End(sizes=self.kept(index), seconds=self.ran(last))
        if last.status in ("failed", "unknown"):
            known = by_code(last.error_code or "")(last.error_message or "", provider=last.provider)
            return _End(lost=(last.id, known), attempt=last)
        line = Line(
            self.job,
            last,
            self.tools,
            self.live,
            write=self.write,
            recovered=self.recovered,
            tries=max(1, len(mine)),
            next_number=self.numbers.__next__,
        )
        try:
            done, images = await line.run()
        except ProviderError as error:
            return _End(lost=(line.attempt.id, error), attempt=line.attempt)
        sizes = tuple((image.width, image.height) for image in images)
        cost = actual_cost(self.candidate, done, sizes)
        share = store.Share(
            attempt_id=line.attempt.id,
            images=images,
            run_seconds=done.run_seconds,
            load_seconds=done.load_seconds,
            provider_cost_micros=cost.cost_micros,
            listed_cost_micros=cost.listed_micros,
            billable_units=cost.billable_units,
            revised_prompt=_revised(done, line.call.payload),
        )
        return _End(sizes=sizes, share=share, seconds=self.ran(share))

    def ran(self, call: AttemptRow | store.Share) -> Decimal | None:
        """The seconds that a call is charged for, by a price by the second."""
        return ran_seconds(
            self.candidate,
            run_seconds=call.run_seconds,
            load_seconds=call.load_seconds,
            billable_units=call.billable_units,
        )

    def kept(self, index: int) -> tuple[tuple[int, int], ...]:
        """The sizes of the pictures that a former process kept of a call."""
        calls = self.candidate.calls
        first = sum(call.num_images for call in calls[:index])
        places = range(first, first + calls[index].num_images)
        return tuple((image.width, image.height) for image in self.job.images if image.position in places)

    async def open_call(self, index: int) -> AttemptRow:
        """The first attempt at a further call."""
        new, at = self.new_attempt(self.index, index), self.tools.ambient.now_ms()
        await self.write(lambda c: store.insert_attempt(c, self.job.id, new, at))
        return AttemptRow.opened(new, at)

    def new_attempt(self, candidate: int, call: int) -> NewAttempt:
        """A further attempt of the job."""
        route = self.job.admitted.candidates[candidate].route
        return NewAttempt(
            id=self.tools.ambient.new_id("att"),
            number=next(self.numbers),
            candidate=candidate,
            call=call,
            provider=route.provider,
            endpoint=route.endpoint,
        )

    # -- what follows -------------------------------------------------------------------

    async def complete(self, ends: Sequence[_End]) -> None:
        """End the job and charge for its pictures in one transaction."""
        sizes = [size for end in ends for size in end.sizes]
        lost = [end.lost for end in ends if end.lost is not None]
        candidate = self.candidate
        # A step of a run costs its run what is due, and nothing by itself.
        of_run = self.job.parent_id is not None
        ceiling = candidate.ceiling_micros
        due = charge(
            candidate.price,
            sizes,
            ceiling_micros=ceiling if of_run else min(ceiling, self.job.ceiling_micros),
            inputs=candidate.inputs,
            seconds=charged_seconds(candidate.price, [(len(end.sizes), end.seconds) for end in ends]),
        )
        warnings = (
            *self.job.warnings,
            *self.of_candidate(),
            *_size_warnings(candidate, sizes),
            *_loss_warnings(candidate, lost),
        )
        at = self.tools.ambient.now_ms()
        shares = [end.share for end in ends if end.share is not None]
        point("complete.begun")
        charged, told = (0, due) if of_run else (due, None)
        with spans.settle(self.tools.tracing, "completed", cost_micros=due, images=len(sizes)):
            ended_here = await self.write(
                lambda c: store.complete(
                    c, self.job.id, shares, charged, at, lost=lost, warnings=warnings, due_micros=told
                )
            )
        if ended_here:
            self.note("completed", at)
        point("complete.committed")
        log.info("job %s is completed: %d pictures, %d micro-dollars", self.job.id, len(sizes), due)

    def note(self, outcome: str, at: int) -> None:
        """Count the job, which ended."""
        route, seconds = self.candidate.route, (at - self.job.created_at) / 1000
        self.tools.metrics.job(route.model, route.provider, outcome, seconds)

    def of_candidate(self) -> tuple[str, ...]:
        """What to say when it was not the first candidate that served."""
        first = self.job.admitted.candidates[0]
        if self.index == 0:
            return ()
        own = tuple(warning for warning in self.candidate.warnings if warning not in first.warnings)
        if self.candidate.route.model == first.route.model:
            return own
        return (f"{first.route.model} failed and {self.candidate.route.model} served", *own)

    def following(self, errors: Sequence[ProviderError]) -> int | None:
        """Which candidate to try next; None when an error ends the job. One that is left alone at present is
        taken when there is no other.
        """
        if not all(error.try_next for error in errors):
            return None
        candidates = self.job.admitted.candidates
        rest = range(self.index + 1, len(candidates))
        open_ones = (index for index in rest if self.tools.outliers.shut(candidates[index].route) is None)
        return next(open_ones, next(iter(rest), None))

    async def open_candidate(self, index: int, lost: Sequence[store.Lost]) -> None:
        """Give the candidate up and open the first call of another."""
        self.index = index
        self.ends.clear()
        new, at = self.new_attempt(index, 0), self.tools.ambient.now_ms()
        await self.write(lambda c: store.next_candidate(c, self.job.id, lost, new, self.candidate, at))
        self.attempts.append(AttemptRow.opened(new, at))

    async def write(self, fn: Callable[[Connection], T]) -> T:
        """A write that waits for the database.

        Raises:
            LeaseLost: another process drives the job; nothing was written.
        """
        return await write_until_done(self.tools.db, lambda c: fenced(c, self.job.id, self.fence, fn))


def _is_asked(end: _End) -> bool:
    """Whether a call ended with a submit without an answer, of which its provider may still tell."""
    if end.lost is None or end.attempt is None or not isinstance(end.lost[1], SubmitUnknown):
        return False
    return end.attempt.handle is None and end.attempt.status != "unknown"


def _revised(done: Succeeded, payload: Mapping[str, object]) -> str | None:
    """The prompt that the provider says that it drew, where it was not sent that one."""
    said = (done.revised_prompt or "").strip()[:MOST_PROMPT]
    return said if said and said not in payload.values() else None


def _size_warnings(candidate: Candidate, sizes: Sequence[tuple[int, int]]) -> tuple[str, ...]:
    """What to say of pictures that are not of the size that was asked for."""
    asked = (candidate.width, candidate.height)
    if None in asked:
        return ()
    return tuple(
        f"picture {number} is {width}x{height}, not {asked[0]}x{asked[1]} as asked; it is charged as it is"
        for number, (width, height) in enumerate(sizes, start=1)
        if (width, height) != asked
    )


def _loss_warnings(candidate: Candidate, lost: Sequence[store.Lost]) -> tuple[str, ...]:
    """What to say of calls that gave nothing, of a job that has some of its pictures."""
    if not lost:
        return ()
    why = ", ".join(dict.fromkeys(error.code for _, error in lost))
    return (f"{len(lost)} of {len(candidate.calls)} calls gave no picture and are not charged: {why}",)
