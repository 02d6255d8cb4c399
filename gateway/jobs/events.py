"""A job's events as they come: its status, how far it is, its log, its pictures, its end.

There is no list of events that are kept. What a client needs that comes back is how the job stands
now, and the lines and pictures that it has not seen; its last event's id says which those are.
"""

import asyncio
import logging
import re
from collections import Counter
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from gateway.ambient import iso
from gateway.db.engine import DatabaseError
from gateway.event_views import ImageEvent, LogEvent, StatusEvent
from gateway.jobs import queries
from gateway.jobs.records import UNDER_WAY, Progress
from gateway.jobs.watch import State, Watch, Watches
from gateway.problems import Problem
from gateway.schemas import ProgressView
from gateway.views import image_view, shown_status

if TYPE_CHECKING:
    from gateway.core import Core

__all__ = ["HEARTBEAT_S", "MOST_STREAMS", "Event", "Events", "Seen"]

log = logging.getLogger(__name__)

HEARTBEAT_S = 15.0
"""A stream that says nothing for so long is taken for dead by what stands between."""
MOST_STREAMS = 100
"""Of an account, in one process."""

_ID = re.compile(r"(\d{1,9})\.([0-9a-f]{1,64})(\.done)?", re.ASCII)


class Seen(Struct, frozen=True, kw_only=True):
    """What a client has seen of a job: what an event's id says."""

    lines: int = 0
    """Of its log."""
    pictures: int = 0
    """A bit for each place among its pictures."""
    done: bool = False

    @classmethod
    def read(cls, last_event_id: str | None) -> "Seen":
        """As an id says; nothing, where that is none of ours."""
        found = _ID.fullmatch(last_event_id or "")
        if found is None:
            return cls()
        return cls(lines=int(found[1]), pictures=int(found[2], 16), done=found[3] is not None)

    @property
    def id(self) -> str:
        """The id of an event after which a client has seen this."""
        return f"{self.lines}.{self.pictures:x}" + (".done" if self.done else "")


class Event(Struct, frozen=True, kw_only=True):
    """One event of a stream."""

    name: str
    """status, progress, log, image or done"""
    data: Struct
    id: str


class Events:
    """The event streams of this process.

    Args:
        core: whose jobs.
        heartbeat_s: seconds of silence after which a stream says that it lives.
    """

    def __init__(self, core: "Core", *, heartbeat_s: float = HEARTBEAT_S) -> None:
        self._core = core
        self._heartbeat_s = heartbeat_s
        self._watches = Watches(core.db, lambda job_id: core.runner.live(job_id))
        self._open: Counter[str] = Counter()
        self._released = False

    @property
    def streams(self) -> int:
        """How many are open."""
        return self._open.total()

    def check(self, account_id: str) -> None:
        """See that an account may open another stream.

        Raises:
            Problem: `too_many_streams`.
        """
        if self._open[account_id] >= MOST_STREAMS:
            raise Problem(
                "too_many_streams",
                f"{MOST_STREAMS} event streams of this account are open here. Close one, or ask "
                "GET /api/jobs/{id} now and then",
                retryable=True,
            )

    def release(self) -> None:
        """End every stream, for the process is about to stop: who follows a job comes back elsewhere."""
        self._released = True
        self._watches.wake_all()

    async def aclose(self) -> None:
        """Stop looking at jobs."""
        self.release()
        await self._watches.aclose()

    async def follow(
        self, job_id: str, account_id: str, seen: Seen, seconds: float
    ) -> AsyncGenerator[Event | None, None]:
        """A job's events; None where a heartbeat is due. Close it when it is not read to its end.

        It ends after `done`, when the time is up, when the process stops, and when the database is away:
        who has not seen `done` comes back with the last id.

        Args:
            job_id: a job of the account's.
            account_id: whose.
            seen: what is not told again.
            seconds: at most so long; 0: how it stands, and no more.
        """
        wake = asyncio.Event()
        self._open[account_id] += 1
        watch: Watch | None = None
        try:
            watch = await self._watches.open(job_id, wake)
            telling = self._tell(job_id, _Teller(job_id, seen), watch, wake, seconds)
            async with aclosing(telling) as events:
                async for event in events:
                    yield event
        except DatabaseError as error:
            log.warning("an event stream of %s ends: %s", job_id, error)
        finally:
            self._open[account_id] -= 1
            self._open += Counter()  # forgets who has none
            if watch is not None:
                self._watches.close(job_id, wake)

    async def _tell(
        self, job_id: str, teller: "_Teller", watch: Watch, wake: asyncio.Event, seconds: float
    ) -> AsyncGenerator[Event | None, None]:
        core, ends_at = self._core, self._core.ambient.monotonic() + seconds
        while True:
            wake.clear()
            await self._watches.catch_up(job_id)
            state = watch.state
            for event in teller.news(state, watch.told()):
                yield event
            if state.images > teller.seen.pictures.bit_count():
                for row in await core.db.read(lambda c: queries.images_of(c, job_id)):
                    if teller.is_new(row.position):
                        picture = image_view(row, core.links.image(row.id))
                        yield teller.image(ImageEvent(index=row.position, image=picture))
            if state.ended:
                yield teller.done(core.view(await core.job(job_id, None)))
                return
            left = ends_at - core.ambient.monotonic()
            if self._released or left <= 0:
                return
            if not await _set_within(wake, min(left, self._heartbeat_s)) and left > self._heartbeat_s:
                yield None


class _Teller:
    """Makes the events of one stream, each but once."""

    def __init__(self, job_id: str, seen: Seen) -> None:
        self.job_id, self.seen = job_id, seen
        self._status: StatusEvent | None = None
        self._shown: ProgressView | None = None

    def news(self, state: State, told: Progress | None) -> Iterator[Event]:
        """What is new of its status, its progress and its log."""
        status = StatusEvent(
            job_id=self.job_id,
            status=shown_status(state.status, told),
            runs_at=iso(state.runs_at) if state.runs_at is not None and state.status == "scheduled" else None,
        )
        if status != self._status:
            self._status = status
            yield self._event("status", status)
        if told is None:
            return
        if state.status in UNDER_WAY and told.shown is not None and told.shown != self._shown:
            self._shown = told.shown
            yield self._event("progress", told.shown)
        new = told.logged - self.seen.lines
        if new > 0:
            lines = told.lines[-new:]
            self._see(lines=told.logged)
            yield self._event("log", LogEvent(first=told.logged - len(lines), lines=lines))

    def is_new(self, place: int) -> bool:
        """Whether the picture at a place was not told yet."""
        return not self.seen.pictures >> place & 1

    def image(self, event: ImageEvent) -> Event:
        """A picture."""
        self._see(pictures=self.seen.pictures | 1 << event.index)
        return self._event("image", event)

    def done(self, job: Struct) -> Event:
        """The end."""
        self._see(done=True)
        return self._event("done", job)

    def _see(self, **more: int) -> None:
        self.seen = msgspec.structs.replace(self.seen, **more)

    def _event(self, name: str, data: Struct) -> Event:
        return Event(name=name, data=data, id=self.seen.id)


async def _set_within(event: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True
