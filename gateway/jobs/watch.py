"""Jobs that somebody watches: told at once of what runs here, within half a second of what runs elsewhere.

One task looks for all of them in one query, however many streams there are. A job that moves from one
process to another is followed: where to look is decided at each look.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, func, select

from gateway.db.engine import Database, DatabaseClosed, DatabaseError
from gateway.db.tables import image, job, progress
from gateway.jobs.live import Live
from gateway.jobs.records import TERMINAL, Progress

__all__ = ["State", "Watch", "Watches", "states"]

log = logging.getLogger(__name__)

EVERY_S = 0.5
CHUNK = 500
"""Jobs in one query."""


class State(Struct, frozen=True, kw_only=True):
    """What the database says of a watched job."""

    status: str
    runs_at: int | None
    """When the batch window is that it waits for; milliseconds UTC."""
    images: int
    """Pictures that it has."""
    version: int
    """Of its progress; 0: none is stored."""
    progress: Progress | None

    @property
    def ended(self) -> bool:
        """Nothing more comes of it."""
        return self.status in TERMINAL


def states(conn: Connection, known: Mapping[str, State | None]) -> dict[str, State]:
    """How jobs stand.

    Args:
        conn: the connection.
        known: by job, what was found last: a progress that did not change since is not read again.
    """
    found: dict[str, State] = {}
    ids = list(known)
    for start in range(0, len(ids), CHUNK):
        chunk = ids[start : start + CHUNK]
        pictures = select(func.count()).where(image.c.job_id == job.c.id).scalar_subquery()
        query = (
            select(job.c.id, job.c.status, job.c.runs_at, pictures.label("images"), progress.c.version)
            .outerjoin_from(job, progress, progress.c.job_id == job.c.id)
            .where(job.c.id.in_(chunk))
        )
        rows = conn.execute(query).all()
        new = [row.id for row in rows if row.version and row.version != _version(known[row.id])]
        bodies = select(progress.c.job_id, progress.c.body).where(progress.c.job_id.in_(new))
        read = {row.job_id: row.body for row in conn.execute(bodies)} if new else {}
        for row in rows:
            before = known[row.id]
            told = before.progress if before is not None and row.version else None
            if row.id in read:
                told = msgspec.json.decode(read[row.id], type=Progress)
            found[row.id] = State(
                status=row.status,
                runs_at=row.runs_at,
                images=row.images,
                version=row.version or 0,
                progress=told,
            )
    return found


def _version(state: State | None) -> int:
    return 0 if state is None else state.version


class Watch:
    """One job that is watched, by one stream or more."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.wakes: set[asyncio.Event] = set()
        """Set on each change: who watches clears its own before it looks."""
        self.live: Live | None = None
        """Of a job that runs in this process, or ran until it ended."""
        self.behind = False
        """This process knows of something that `state` does not have yet."""
        self._images: int | None = None

    def told(self) -> Progress | None:
        """How far the job is."""
        return (None if self.live is None else self.live.told()) or self.state.progress

    def follow(self, live: Live | None) -> None:
        """Look from now on where the job runs: here, or elsewhere."""
        if live is self.live or (live is None and self.state.ended):
            return  # what it said last is said still
        self.leave()
        self.live = live
        if live is not None:
            live.listeners.add(self._hear)
            self._hear()

    def leave(self) -> None:
        """Listen no more."""
        if self.live is not None:
            self.live.listeners.discard(self._hear)

    def learn(self, state: State) -> None:
        """Take what the database says now."""
        if state != self.state:
            self.state = state
            self.wake()

    def wake(self) -> None:
        """Have everybody who watches look."""
        for event in self.wakes:
            event.set()

    def _hear(self) -> None:
        live = self.live
        if live is not None and (live.done.is_set() or live.images != self._images):
            self._images, self.behind = live.images, True
        self.wake()


class Watches:
    """All jobs that are watched in this process.

    Args:
        db: the database.
        live: what is known of a job that runs here.
    """

    def __init__(self, db: Database, live: Callable[[str], Live | None]) -> None:
        self._db, self._live = db, live
        self._watches: dict[str, Watch] = {}
        self._task: asyncio.Task[None] | None = None
        self._looking = asyncio.Lock()
        """One look at a time: an older answer must not come after a newer one."""

    def __len__(self) -> int:
        return len(self._watches)

    async def open(self, job_id: str, wake: asyncio.Event) -> Watch:
        """Watch a job.

        Args:
            job_id: of a job that there is.
            wake: is set on each change, until `close`.

        Raises:
            DatabaseError: it cannot be looked at.
        """
        watch = self._watches.get(job_id)
        if watch is None:
            state = (await self._db.read(lambda c: states(c, {job_id: None})))[job_id]
            watch = self._watches.setdefault(job_id, Watch(state))  # another may have been faster
        watch.wakes.add(wake)
        watch.follow(self._live(job_id))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="watches")
        return watch

    def close(self, job_id: str, wake: asyncio.Event) -> None:
        """Watch it no more."""
        watch = self._watches[job_id]
        watch.wakes.discard(wake)
        if not watch.wakes:
            watch.leave()
            del self._watches[job_id]

    async def catch_up(self, job_id: str) -> None:
        """Look now at a job of which this process knows more than was found last.

        Raises:
            DatabaseError: it cannot be looked at.
        """
        watch = self._watches[job_id]
        if watch.behind:
            watch.behind = False
            await self._look([job_id])

    def wake_all(self) -> None:
        """Have everybody look."""
        for watch in self._watches.values():
            watch.wake()

    async def aclose(self) -> None:
        """Stop looking."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _look(self, job_ids: list[str]) -> None:
        async with self._looking:
            known = {job_id: self._watches[job_id].state for job_id in job_ids if job_id in self._watches}
            found = await self._db.read(lambda c: states(c, known))
            for job_id, state in found.items():
                watch = self._watches.get(job_id)
                if watch is not None:  # else nobody watches any more
                    watch.learn(state)
                    watch.follow(self._live(job_id))

    async def _run(self) -> None:
        while self._watches:
            await asyncio.sleep(EVERY_S)
            try:
                await self._look(list(self._watches))
            except DatabaseClosed:
                return
            except DatabaseError as error:
                log.warning("jobs that are watched cannot be looked at: %s", error)
