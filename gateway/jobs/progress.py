"""Progress that other processes see: stored now and then by the process that runs a job.

A job that ends soon costs no write; of one that runs on, what changed is stored at most once a second,
that of all jobs in one transaction. Nothing hangs on it: a job is resumed without.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct
from sqlalchemy import BigInteger, ColumnElement, Connection, delete, exists, insert, literal, select, update
from sqlalchemy.exc import IntegrityError

from gateway.ambient import Ambient
from gateway.db.engine import Database, DatabaseClosed, DatabaseError
from gateway.db.tables import job, progress
from gateway.jobs.live import Live
from gateway.jobs.records import TERMINAL, Progress
from gateway.jobs.store import as_text

__all__ = ["ProgressWriter", "forget_ended", "save"]

log = logging.getLogger(__name__)

TICK_S = 0.5
"""How often it is looked for changes; a job's first write comes after as long."""
EVERY_S = 1.0
"""A job's progress is stored at most this often."""


def save(
    conn: Connection, told: Sequence[tuple[str, Progress]], at: int, *, owner: str | None = None
) -> None:
    """Store the progress of jobs; nothing of one that has ended.

    Args:
        conn: inside a transaction.
        told: jobs' ids, and what is told of them.
        at: now, in milliseconds UTC.
        owner: of these jobs; nothing is stored of one that another process owns now.
    """
    for job_id, body in told:
        mine = [job.c.id == job_id, job.c.status.not_in(TERMINAL)]
        if owner is not None:
            mine.append(job.c.owner == owner)
        text = as_text(body)
        changed = conn.execute(
            update(progress)
            .where(progress.c.job_id == job_id, exists().where(*mine))
            .values(version=progress.c.version + 1, body=text, at=at)
        )
        if changed.rowcount == 0:
            _insert(conn, mine, text, at)


def _insert(conn: Connection, mine: Sequence[ColumnElement[bool]], text: str, at: int) -> None:
    """A job's first row, if there is such a job."""
    known = exists().where(progress.c.job_id == job.c.id)
    row = select(job.c.id, literal(1), literal(text), literal(at, BigInteger)).where(*mine, ~known)
    try:
        with conn.begin_nested():
            conn.execute(insert(progress).from_select(["job_id", "version", "body", "at"], row))
    except IntegrityError:
        log.debug("another process was first to tell of a job")


def forget_ended(conn: Connection) -> int:
    """Remove the progress of jobs that have ended; of how many."""
    ended = select(job.c.id).where(job.c.id == progress.c.job_id, job.c.status.in_(TERMINAL))
    return conn.execute(delete(progress).where(ended.exists())).rowcount


class _Kept(Struct):
    """What the database has of a running job."""

    live: Live
    next_at: float
    """When it may be stored (again); seconds of this process."""
    version: int = 0


class ProgressWriter:
    """Stores the progress of the jobs that run here.

    Args:
        db: the database.
        ambient: time.
        lives: gives what is known of each of them.
        owner: gives what `save` takes.
    """

    def __init__(
        self,
        db: Database,
        ambient: Ambient,
        lives: Callable[[], Mapping[str, Live]],
        *,
        owner: Callable[[], str] | None = None,
    ) -> None:
        self._db, self._ambient, self._lives, self._owner = db, ambient, lives, owner
        self._kept: dict[str, _Kept] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._run(), name="progress")

    async def aclose(self) -> None:
        """Stop."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def write_due(self) -> int:
        """Store what has changed and may be stored now; of how many jobs.

        Raises:
            DatabaseUnavailable: nothing was stored; it is due still.
        """
        now, at = self._ambient.monotonic(), self._ambient.now_ms()
        found = [(kept, kept.live.version, job_id) for job_id, kept in self._due(now)]
        told = [(job_id, body) for kept, _, job_id in found if (body := kept.live.told()) is not None]
        if not told:
            return 0
        owner = None if self._owner is None else self._owner()
        await self._db.write(lambda c: save(c, told, at, owner=owner))
        for kept, version, _ in found:
            kept.version, kept.next_at = version, now + EVERY_S
        return len(told)

    def _due(self, now: float) -> list[tuple[str, _Kept]]:
        lives = self._lives()
        for gone in self._kept.keys() - lives.keys():
            del self._kept[gone]
        for job_id, live in lives.items():
            known = self._kept.get(job_id)
            if known is None or known.live is not live:
                self._kept[job_id] = _Kept(live=live, next_at=now + TICK_S)
        return [
            (job_id, kept)
            for job_id, kept in self._kept.items()
            if kept.live.version != kept.version and now >= kept.next_at
        ]

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            try:
                await self.write_due()
            except DatabaseClosed:
                return
            except DatabaseError as error:
                log.warning("progress is not stored: %s", error)
