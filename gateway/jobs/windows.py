"""The SQL of batch windows: which jobs are due, in which order, and taking them out.

The order is fair and ages. The oldest window comes first; within it each account has its first job served
before anybody's second. A job that is served takes along those of its window that one call of a warm
pipeline can serve with it.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from msgspec import Struct
from sqlalchemy import ColumnElement, Connection, exists, func, insert, select, update

from gateway.db.tables import batch, job
from gateway.jobs.leases import taken_by
from gateway.jobs.records import TERMINAL
from providers.base import Group

__all__ = [
    "Batch",
    "Due",
    "arrange",
    "due",
    "end_batch",
    "groups_of",
    "next_window",
    "not_noted",
    "places_of",
    "take",
    "window_after",
]

MOST_READ = 10_000
"""Due jobs that are looked at at once, the oldest."""


class Due(Struct, frozen=True, kw_only=True):
    """A job whose window has come."""

    id: str
    account_id: str
    window_at: int
    """Milliseconds UTC; 0 for one that has waited since before there were windows."""
    group_key: str
    created_at: int


class Batch(Struct, frozen=True, kw_only=True):
    """Jobs of one window that are served together: a row of `batch`."""

    id: str
    window_at: int
    group_key: str
    model: str


def window_after(at: int, every_s: float) -> int:
    """The next window after a time, both in milliseconds UTC: a multiple of `every_s` seconds since 1970, so
    that every replica, and every start, has the same ones. 0 seconds: now.
    """
    every = round(every_s * 1000)
    return at if every == 0 else (at // every + 1) * every


_WINDOW = func.coalesce(job.c.runs_at, 0)
_WAITS = job.c.status == "scheduled"


def due(conn: Connection, at: int) -> list[Due]:
    """The jobs whose window has come, those of a missed one included."""
    query = (
        select(job.c.id, job.c.account_id, _WINDOW.label("window_at"), job.c.group_key, job.c.created_at)
        .where(_WAITS, (job.c.runs_at <= at) | job.c.runs_at.is_(None))
        .order_by(_WINDOW, job.c.created_at, job.c.id)
        .limit(MOST_READ)
    )
    return [
        Due(
            id=row.id,
            account_id=row.account_id,
            window_at=row.window_at,
            # Nothing is known of one that has none: it shares with nobody.
            group_key=row.group_key or row.id,
            created_at=row.created_at,
        )
        for row in conn.execute(query)
    ]


def next_window(conn: Connection) -> int | None:
    """When the next job is due, in milliseconds UTC; None when none waits."""
    found = conn.execute(select(func.min(_WINDOW)).where(_WAITS)).scalar_one()
    return None if found is None else int(found)


def arrange(waiting: Sequence[Due], most: int) -> Iterator[list[Due]]:
    """Due jobs in the order in which they are served, those of a group together.

    Args:
        waiting: of `due`.
        most: jobs of a group; the rest of them have their turn later.
    """
    turns: defaultdict[tuple[int, str], int] = defaultdict(int)
    keyed = []
    for one in sorted(waiting, key=lambda w: (w.window_at, w.created_at, w.id)):
        mine = (one.window_at, one.account_id)
        keyed.append(((one.window_at, turns[mine], one.created_at, one.id), one))
        turns[mine] += 1
    in_order = [one for _, one in sorted(keyed, key=lambda pair: pair[0])]
    alike: defaultdict[tuple[int, str], list[Due]] = defaultdict(list)
    for one in in_order:
        alike[one.window_at, one.group_key].append(one)
    served: set[str] = set()
    for one in in_order:
        if one.id in served:
            continue
        rest = alike[one.window_at, one.group_key]
        group, rest[:most] = rest[:most], []
        served.update(member.id for member in group)
        yield group


def take(conn: Connection, new: Batch, ids: Sequence[str], at: int, owner: str) -> dict[str, int]:
    """Let jobs run that wait, as parts of a batch.

    Args:
        conn: inside a transaction that writes.
        new: the batch; jobs may be added to one that is there.
        ids: the jobs.
        at: now, in milliseconds UTC: each has the time from here on that it was let in with.
        owner: the process that drives them from here on.

    Returns:
        The fences of those that nobody else took or canceled, in their order.
    """
    # On PostgreSQL another replica may be at it; SQLite has one writer, and leaves the lock out.
    free = select(job.c.id).where(job.c.id.in_(ids), _WAITS).with_for_update(skip_locked=True)
    found = set(conn.execute(free).scalars())
    taken = [job_id for job_id in ids if job_id in found]
    if not taken:
        return {}
    more = {"jobs": batch.c.jobs + len(taken), "ended_at": None}
    if conn.execute(update(batch).where(batch.c.id == new.id).values(**more)).rowcount == 0:
        conn.execute(
            insert(batch).values(
                id=new.id,
                window_at=new.window_at,
                group_key=new.group_key,
                model=new.model,
                jobs=len(taken),
                started_at=at,
            )
        )
    deadline_at = at + job.c.deadline_at - job.c.created_at
    values = {"status": "queued", "batch_id": new.id, "deadline_at": deadline_at, **taken_by(conn, owner)}
    mine = update(job).where(job.c.id.in_(taken)).values(**values).returning(job.c.id, job.c.fence)
    fences = {row.id: row.fence for row in conn.execute(mine)}
    return {job_id: fences[job_id] for job_id in taken}


def end_batch(conn: Connection, batch_id: str, at: int) -> None:
    """Note that a batch has ended, if every job of it has."""
    conn.execute(update(batch).where(batch.c.id == batch_id, *_ended()).values(ended_at=at))


def not_noted(conn: Connection) -> list[str]:
    """Batches that have ended, although nobody noted it: their process did not live to do so."""
    return [str(found) for found in conn.execute(select(batch.c.id).where(*_ended())).scalars()]


def _ended() -> tuple[ColumnElement[bool], ...]:
    under_way = exists().where(job.c.batch_id == batch.c.id, job.c.status.not_in(TERMINAL))
    return batch.c.ended_at.is_(None), ~under_way


# -- what a job says of its window ---------------------------------------------------


def places_of(conn: Connection, ids: Sequence[str]) -> dict[str, int]:
    """The places of jobs that wait, each in its window, from 1."""
    if not ids:
        return {}
    windows = conn.execute(select(job.c.runs_at).where(job.c.id.in_(ids)).distinct()).scalars().all()
    mine = (job.c.runs_at, job.c.account_id)
    order = (job.c.created_at, job.c.id)
    turns = (
        select(
            job.c.id,
            job.c.runs_at,
            job.c.created_at,
            func.row_number().over(partition_by=mine, order_by=order).label("turn"),
        )
        .where(_WAITS, job.c.runs_at.in_(windows))
        .subquery()
    )
    place = func.row_number().over(
        partition_by=turns.c.runs_at, order_by=(turns.c.turn, turns.c.created_at, turns.c.id)
    )
    placed = select(turns.c.id, place.label("place")).subquery()
    query = select(placed.c.id, placed.c.place).where(placed.c.id.in_(ids))
    return {str(row.id): int(row.place) for row in conn.execute(query)}


def groups_of(conn: Connection, ids: Sequence[str]) -> dict[str, Group]:
    """Batches as what a provider is told of them, by their ids."""
    if not ids:
        return {}
    query = select(batch.c.id, batch.c.jobs).where(batch.c.id.in_(set(ids)))
    return {str(row.id): Group(id=row.id, size=row.jobs) for row in conn.execute(query)}
