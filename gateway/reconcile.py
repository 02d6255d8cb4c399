"""What a provider says that it billed, beside what the books have: where each side comes from."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, and_, or_, select

from billing.money import to_micros
from billing.reconcile import Attempt, Charge, Comparison, Sum
from billing.recosts import KIND, base_of
from billing.tables import ledger_entry
from gateway.ambient import DAY_MS, HOUR_MS
from gateway.db.engine import Database
from gateway.db.tables import attempt
from providers.diffusers_modal.deployment import APP_NAME
from providers.diffusers_modal.usage import read_report
from providers.exports import Billed, BilledSum, Record, number, read_records
from providers.fal.usage import read_usage

__all__ = ["MARGIN", "Source", "add_ours", "add_theirs", "days_of", "read_files", "source_of"]

PAGE = 5000
LATE_MS = 3 * DAY_MS
"""The longest that a job waits at a provider before it is billed."""
MARGIN = timedelta(hours=1)
"""A bill just before or after the days that are asked about may be of an attempt within them."""
MODAL_CALL = "fc-"

Rows = Iterator[Billed | BilledSum]


class Source(Struct, frozen=True, kw_only=True):
    """How the exports of a type of provider are read and compared."""

    read: Callable[[Iterable[Record]], Rows]
    name: str | None = None
    """Of what all its sums are; None: each is of an endpoint."""
    idles: bool = False
    """Its sums hold more than attempts."""
    by_request: bool = True
    """It says what each request cost: sums are a check of that, and are not corrected."""
    ids: str = ""
    """What the ids of requests begin with that it bills."""

    def bills(self, request_id: str | None) -> bool:
        """Whether an attempt with this id, or with none yet, may be in its exports."""
        return self.by_request if request_id is None else request_id.startswith(self.ids)


class _Handle(Struct, frozen=True):
    remote_id: str


class _Mark(NamedTuple):
    """Where a page of corrections ended."""

    at: int
    id: str


_handle = msgspec.json.Decoder(_Handle)


def source_of(provider_type: str, env: Mapping[str, str]) -> Source | None:
    """How a type's exports are read; None: they are not.

    Args:
        provider_type: the `type` of a row of the registry's `providers`.
        env: the process's environment.
    """
    if provider_type == "fal":
        return Source(read=read_usage)
    if provider_type == "diffusers_modal":
        read: Callable[[Iterable[Record]], Rows] = partial(
            read_report, environment=env.get("MODAL_ENVIRONMENT") or None
        )
        return Source(read=read, name=APP_NAME, idles=True, by_request=False, ids=MODAL_CALL)
    return None


def days_of(first: date | None, last: date | None) -> tuple[datetime | None, datetime | None]:
    """The first moment of a day (UTC), and the first after another."""

    def start(day: date) -> datetime:
        return datetime(day.year, day.month, day.day, tzinfo=UTC)

    return (
        None if first is None else start(first),
        None if last is None else start(last) + timedelta(days=1),
    )


def read_files(source: Source, paths: Sequence[Path]) -> Rows:
    """The rows of exports.

    Raises:
        ExportError, OSError: one cannot be read.
    """
    return source.read(record for path in paths for record in read_records(path))


def add_theirs(comparison: Comparison, rows: Rows) -> None:
    """Add what a provider says to a comparison."""
    while page := list(islice(rows, PAGE)):
        comparison.add_charges(
            Charge(
                request_id=row.request_id,
                endpoint=row.endpoint,
                at=row.at,
                micros=None if row.dollars is None else to_micros(row.dollars),
                units=row.units,
            )
            for row in page
            if isinstance(row, Billed)
        )
        comparison.add_sums(
            Sum(name=row.name, start=row.start, micros=to_micros(row.dollars), identity=row.identity)
            for row in page
            if isinstance(row, BilledSum)
        )


async def add_ours(comparison: Comparison, db: Database, provider: str, source: Source) -> None:
    """Add what the books have of a provider and of that time to a comparison.

    Raises:
        DatabaseError: they cannot be read.
    """
    span = comparison.span()
    if span is None:
        return
    start, end = span[0] - LATE_MS, span[1] + HOUR_MS
    read = partial(_attempts, provider=provider, start=start, end=end)
    last = ""
    while page := await db.read(partial(read, after=last)):
        comparison.add_attempts(one for one in page if source.bills(one.request_id))
        last = page[-1].id
    mark = _Mark(start, "")
    while rows := await db.read(partial(_corrections, provider=provider, after=mark)):
        comparison.add_corrections((base_of(reference), micros) for reference, micros, _ in rows)
        mark = rows[-1][2]


def _attempts(conn: Connection, *, provider: str, start: int, end: int, after: str) -> list[Attempt]:
    """A page of a provider's attempts that were made in a time, in the order of their ids."""
    a = attempt.c
    query = (
        select(
            a.id, a.job_id, a.endpoint, a.status, a.handle, a.started_at, a.ended_at,
            a.provider_cost_micros, a.listed_cost_micros, a.billable_units,
        )
        .where(a.id > after, a.provider == provider, a.started_at >= start, a.started_at < end)
        .order_by(a.id)
        .limit(PAGE)
    )  # fmt: skip
    return [
        Attempt(
            id=row.id,
            job_id=row.job_id,
            endpoint=row.endpoint,
            status=row.status,
            request_id=None if row.handle is None else _handle.decode(row.handle).remote_id,
            started_at=row.started_at,
            ended_at=row.ended_at,
            micros=row.provider_cost_micros,
            listed_micros=row.listed_cost_micros,
            units=number(Record(row.id, {"units": row.billable_units}), "units"),
        )
        for row in conn.execute(query)
    ]


def _corrections(conn: Connection, *, provider: str, after: _Mark) -> list[tuple[str, int, _Mark]]:
    """A page of the corrections of what a provider bills, with the place of each."""
    e = ledger_entry.c
    query = (
        select(e.reference, e.amount_micros, e.created_at, e.id)
        .where(e.ledger_account == f"cost:{provider}", e.kind == KIND)
        .where(or_(e.created_at > after.at, and_(e.created_at == after.at, e.id > after.id)))
        .order_by(e.created_at, e.id)
        .limit(PAGE)
    )
    return [
        (row.reference, int(row.amount_micros), _Mark(row.created_at, row.id)) for row in conn.execute(query)
    ]
