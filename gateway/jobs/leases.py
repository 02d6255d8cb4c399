"""The SQL of who drives a job: one process at a time, by a lease, and each new one by a higher fence.

Several processes share a PostgreSQL database. A lease runs out by the database's clock, which is the same
for all of them; then any of them may adopt the job. Whoever had it before may be slow and not dead: each of
its writes looks at the fence first, finds another, and changes nothing.

A SQLite file has one process (the data folder's lock sees to that), so another owner than it is dead, and no
clock decides.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from sqlalchemy import BigInteger, ColumnElement, Connection, cast, func, or_, select, update

from gateway.db.tables import job
from gateway.jobs.records import UNDER_WAY

__all__ = [
    "LEASE_MS",
    "LeaseLost",
    "adopt",
    "canceled",
    "claim",
    "fenced",
    "is_lost",
    "lease",
    "let_go",
    "renew",
    "taken_by",
]

T = TypeVar("T")

LEASE_MS = 15_000
_CHUNK = 500


class LeaseLost(Exception):
    """Another process drives the job by now: nothing was changed."""

    def __init__(self, job_id: str) -> None:
        super().__init__(f"another process drives {job_id}")
        self.job_id = job_id

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.job_id,)


def is_lost(error: BaseException) -> bool:
    """Whether an error, or one in the group that it is, says that the lease is lost."""
    if isinstance(error, BaseExceptionGroup):
        return any(is_lost(one) for one in error.exceptions)
    return isinstance(error, LeaseLost)


def lease(conn: Connection) -> ColumnElement[int] | None:
    """Until when a lease that begins now is good; null where no clock decides."""
    return _clock() + LEASE_MS if _is_shared(conn) else None


def claim(conn: Connection, job_id: str, owner: str) -> int | None:
    """Take a job on; its fence, or None when another process drives it, or nobody should."""
    mine = (job.c.id == job_id, job.c.status.in_(UNDER_WAY), or_(_is_free(conn, owner), job.c.owner == owner))
    found: int | None = conn.execute(
        update(job).where(*mine).values(**taken_by(conn, owner)).returning(job.c.fence)
    ).scalar()
    return found


def adopt(conn: Connection, owner: str, limit: int) -> list[tuple[str, int]]:
    """Take on jobs that nobody drives (any more), oldest first.

    Returns:
        Their ids and fences. What another process is just looking at is left to it.
    """
    free = (
        select(job.c.id)
        .where(job.c.status.in_(UNDER_WAY), _is_free(conn, owner))
        .order_by(job.c.created_at, job.c.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    ids = conn.execute(free).scalars().all()
    if not ids:
        return []
    taken = update(job).where(job.c.id.in_(ids)).values(**taken_by(conn, owner))
    fences = {row.id: row.fence for row in conn.execute(taken.returning(job.c.id, job.c.fence))}
    return [(found, fences[found]) for found in ids]


def renew(conn: Connection, owner: str, job_ids: Sequence[str]) -> None:
    """Keep jobs for another lease; those that were adopted meanwhile are not touched."""
    for start in range(0, len(job_ids), _CHUNK):
        mine = (job.c.id.in_(job_ids[start : start + _CHUNK]), job.c.owner == owner)
        conn.execute(update(job).where(*mine).values(lease_until=lease(conn)))


def canceled(conn: Connection, owner: str) -> list[str]:
    """Jobs of a process whose end somebody wants."""
    mine = (job.c.owner == owner, job.c.status.in_(UNDER_WAY), job.c.cancel_requested)
    return list(conn.execute(select(job.c.id).where(*mine)).scalars())


def let_go(conn: Connection, owner: str) -> None:
    """Hand a process's jobs over: whoever comes next adopts them at once."""
    mine = (job.c.owner == owner, job.c.status.in_(UNDER_WAY))
    conn.execute(update(job).where(*mine).values(owner=None, lease_until=None))


def fenced(conn: Connection, job_id: str, fence: int, fn: Callable[[Connection], T]) -> T:
    """What `fn` returns, if the job is still driven under this fence; nobody can take it on meanwhile.

    Raises:
        LeaseLost: it is not; nothing was changed.
    """
    held = conn.execute(select(job.c.fence).where(job.c.id == job_id).with_for_update()).scalar()
    if held != fence:
        raise LeaseLost(job_id)
    return fn(conn)


def taken_by(conn: Connection, owner: str) -> dict[str, Any]:
    """The columns of a job that a process takes on in this very statement."""
    return {"owner": owner, "fence": job.c.fence + 1, "lease_until": lease(conn)}


def _is_free(conn: Connection, owner: str) -> ColumnElement[bool]:
    if _is_shared(conn):
        return or_(job.c.owner.is_(None), job.c.lease_until < _clock())
    return or_(job.c.owner.is_(None), job.c.owner != owner)


def _is_shared(conn: Connection) -> bool:
    return conn.dialect.name != "sqlite"


def _clock() -> ColumnElement[int]:
    """The database's clock, in milliseconds, as of this very moment and not of the transaction's start."""
    return cast(func.extract("epoch", func.clock_timestamp()) * 1000, BigInteger)
