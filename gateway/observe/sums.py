"""What the database says for `/metrics`: plain reads, each of which looks at few rows however many jobs there
are.

What has been counted of days that are over is in `Past`, and is read whole now and then only.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct
from sqlalchemy import ColumnElement, Connection, Row, Select, and_, case, func, or_, select, text

from billing.tables import hold, usage_day, wallet
from billing.usage import day_of
from gateway.ambient import DAY_MS
from gateway.db.tables import account, job, outbox
from gateway.delivery.outbox import OPEN
from gateway.jobs.records import UNDER_WAY

__all__ = ["COUNTED", "FAILED_MS", "LATE_DAYS", "Past", "Sums", "past", "sums"]

COUNTED = (
    "completed",
    "failed",
    "canceled",
    "images",
    "charge_micros",
    "refund_micros",
    "cost_micros",
)
"""Columns of `usage_day` that are counters."""
FAILED_MS = 30 * DAY_MS
"""Deliveries that were given up count for so long."""
LATE_DAYS = 2
"""The end of a job is counted on the day on which it came, and written when the database takes it."""

# As the partial index has it, and not as values: SQLite would not know that it is the same.
IS_OPEN = text("job.status not in ('completed', 'failed', 'canceled')")

Place = tuple[str, ...]
"""The values of labels: a model and a provider, as jobs have them; before them a status."""


class Past(Struct, frozen=True, kw_only=True):
    """What changes seldom, or takes longer to read."""

    before: int
    """Days (UTC, since 1970) before this one are in `usage`."""
    usage: Mapping[Place, tuple[int, ...]]
    """In the order of `COUNTED`."""
    given_up: Mapping[str, int]
    """Deliveries, by kind."""


class Sums(Struct, frozen=True, kw_only=True):
    """All of it, as of one moment. Ages are seconds."""

    jobs: Mapping[Place, int]
    """That have not ended, by status, model and provider."""
    depth: Mapping[str, int]
    """Jobs that nobody drives, by queue: `now` or `window`."""
    oldest_s: Mapping[str, float]
    waiting: Mapping[str, int]
    """Deliveries, by kind."""
    overdue_s: Mapping[str, float]
    given_up: Mapping[str, int]
    held_micros: int
    holds: int
    usage: Mapping[Place, tuple[int, ...]]
    """Of all time, in the order of `COUNTED`."""


def past(conn: Connection, at: int) -> Past:
    """What changes seldom.

    Args:
        conn: on a snapshot.
        at: now, in milliseconds UTC.
    """
    before = day_of(at) - LATE_DAYS
    query = select(*_USAGE).where(usage_day.c.day < before).group_by(usage_day.c.model, usage_day.c.provider)
    failed = and_(outbox.c.sent_at.is_(None), outbox.c.failed_at >= at - FAILED_MS)
    given_up = select(outbox.c.kind, func.count()).where(failed).group_by(outbox.c.kind)
    return Past(
        before=before,
        usage=_added({}, conn.execute(query)),
        given_up={str(kind): int(count) for kind, count in conn.execute(given_up)},
    )


def sums(conn: Connection, at: int, known: Past) -> Sums:
    """Everything, of which what is `known` is not read again.

    Args:
        conn: on a snapshot, of which `known` may be older.
        at: now, in milliseconds UTC.
        known: of `past`.
    """
    jobs: dict[Place, int] = {}
    depth, oldest = {"now": 0, "window": 0}, dict[str, float]()
    for row in conn.execute(_open_jobs(at)):
        jobs[row.status, row.model, row.provider] = row.jobs
        queue = "window" if row.status == "scheduled" else "now"
        depth[queue] += int(row.free or 0)
        if row.since is not None:
            oldest[queue] = max(oldest.get(queue, 0.0), (at - row.since) / 1000)
    waiting = conn.execute(
        select(outbox.c.kind, func.count().label("number"), func.min(outbox.c.due_at).label("due_at"))
        .where(OPEN)
        .group_by(outbox.c.kind)
    ).all()
    held = conn.execute(select(func.coalesce(func.sum(wallet.c.held_micros), 0))).scalar_one()
    # A look at the hold of each open job, which are few. Any join of the two may be done from all the holds.
    its_hold = select(hold.c.status).where(hold.c.job_id == job.c.id).scalar_subquery()
    holds = conn.execute(
        select(func.count()).select_from(job).where(IS_OPEN, its_hold == "open")
    ).scalar_one()
    return Sums(
        jobs=jobs,
        depth=depth,
        oldest_s={queue: oldest.get(queue, 0.0) for queue in depth},
        waiting={str(row.kind): int(row.number) for row in waiting},
        overdue_s={str(row.kind): max(0.0, (at - row.due_at) / 1000) for row in waiting},
        given_up=known.given_up,
        held_micros=int(held),
        holds=int(holds),
        usage=_added(known.usage, conn.execute(_recent(known.before))),
    )


_USAGE = (
    usage_day.c.model,
    usage_day.c.provider,
    *(func.sum(usage_day.c[name]).label(name) for name in COUNTED),
)


def _recent(since: int) -> Select[Any]:
    """Usage from a day on. By account, for the key has the days of one together."""
    lately = and_(usage_day.c.account_id.in_(select(account.c.id)), usage_day.c.day >= since)
    return select(*_USAGE).where(lately).group_by(usage_day.c.model, usage_day.c.provider)


def _open_jobs(at: int) -> Select[Any]:
    """Jobs that have not ended; of those that nobody drives how many, and since when they should be."""
    waits = job.c.status == "scheduled"
    under_way = and_(job.c.status.in_(sorted(UNDER_WAY)), or_(job.c.owner.is_(None), job.c.lease_until < at))
    since: ColumnElement[Any] = case(
        (waits, func.coalesce(job.c.runs_at, job.c.created_at)), (under_way, job.c.created_at)
    )
    place = (job.c.status, job.c.model, job.c.provider)
    return (
        select(
            *place,
            func.count().label("jobs"),
            func.sum(case((or_(waits, under_way), 1), else_=0)).label("free"),
            func.min(since).label("since"),
        )
        .where(IS_OPEN)
        .group_by(*place)
    )


def _added(known: Mapping[Place, tuple[int, ...]], rows: Iterable[Row[Any]]) -> dict[Place, tuple[int, ...]]:
    """Counts, and those of more rows with them."""
    total: defaultdict[Place, list[int]] = defaultdict(lambda: [0] * len(COUNTED))
    for place, counts in known.items():
        total[place] = list(counts)
    for row in rows:
        place = (row.model, row.provider)
        # PostgreSQL's sums of integers are decimals.
        more = (int(row._mapping[name]) for name in COUNTED)
        total[place] = [a + b for a, b in zip(total[place], more, strict=True)]
    return {place: tuple(counts) for place, counts in total.items()}
