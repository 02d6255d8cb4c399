"""An account's ledger as its owner reads it: movements, each of one or both sides of the account.

An entry on `available:<account>` and one on `held:<account>` of the same reference and kind are one movement.
What is on the other side (our revenue, the funding) is not told.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Literal, get_args

from msgspec import Struct
from sqlalchemy import ColumnElement, Connection, Row, Select, Subquery, func, select, tuple_, union_all

from billing.reports import date_of, month_span
from billing.tables import ledger_entry
from billing.usage import DAY_MS

__all__ = [
    "JOB_KINDS",
    "KINDS",
    "Cursor",
    "Moved",
    "Movement",
    "MovementFilter",
    "Sides",
    "Summed",
    "active_months",
    "balance_at",
    "list_movements",
    "sums_by_kind",
]

Moved = Literal["topup", "promotion", "refund", "payout", "adjustment", "hold", "capture", "release"]
KINDS: tuple[Moved, ...] = get_args(Moved)
"""What can happen to an account's money."""
JOB_KINDS = ("hold", "capture", "release")
"""Of those, what each job does."""

Cursor = tuple[int, str]
"""The time and the id of the last entry of a page."""


class MovementFilter(Struct, frozen=True, kw_only=True):
    """Which movements; what is not given does not matter."""

    kinds: tuple[str, ...] = ()
    """One of these; empty: any."""
    start: int | None = None
    """Then or later, in milliseconds UTC."""
    end: int | None = None
    """Before then."""
    job_id: str | None = None
    """Of this job: its own, and its refunds."""


class Sides(Struct, frozen=True, kw_only=True):
    """Money of an account, or what changed of it, in micro-dollars."""

    available_micros: int = 0
    held_micros: int = 0
    """Set aside for jobs under way."""

    @property
    def total_micros(self) -> int:
        """All of it."""
        return self.available_micros + self.held_micros

    def __add__(self, other: "Sides") -> "Sides":
        return Sides(
            available_micros=self.available_micros + other.available_micros,
            held_micros=self.held_micros + other.held_micros,
        )


class Movement(Struct, frozen=True, kw_only=True):
    """Something that happened to an account's money."""

    reference: str
    kind: str
    at: int
    """Milliseconds UTC."""
    job_id: str | None
    note: str | None
    moved: Sides
    cursor: Cursor
    """Where the page after it begins."""

    @property
    def id(self) -> str:
        """It alone has it."""
        return f"{self.reference}:{self.kind}"


class Summed(Struct, frozen=True, kw_only=True):
    """All movements of a kind in some time."""

    kind: str
    count: int
    moved: Sides


_ENTRY = tuple(
    ledger_entry.c[name]
    for name in ("id", "reference", "kind", "ledger_account", "amount_micros", "created_at", "job_id", "note")
)


def list_movements(
    conn: Connection,
    account_id: str,
    *,
    limit: int,
    only: MovementFilter | None = None,
    before: Cursor | None = None,
) -> list[Movement]:
    """An account's movements, newest first.

    Args:
        conn: the connection.
        account_id: whose.
        limit: at most so many.
        only: which of them.
        before: `cursor` of the last movement of the page before.
    """
    only = only or MovementFilter()
    available, held = _sides(account_id)
    conditions = _matching(only, before)
    if only.job_id is not None:
        # A job's entries are few, and found by it rather than by their account.
        mine = (ledger_entry.c.ledger_account.in_((available, held)), *conditions)
        places = (ledger_entry.c.reference, ledger_entry.c.job_id)
        found = union_all(*(select(*_ENTRY).where(place == only.job_id, *mine) for place in places))
    else:
        # Each side by its index, and no more of it than the page may need: a movement is once on each.
        found = union_all(*(select(_newest(side, conditions, limit)) for side in (available, held)))
    entries = found.subquery()
    order = (entries.c.created_at.desc(), entries.c.id.desc())
    return _movements(conn.execute(select(entries).order_by(*order)), account_id)[:limit]


def _sides(account_id: str) -> tuple[str, str]:
    return f"available:{account_id}", f"held:{account_id}"


def _matching(only: MovementFilter, before: Cursor | None) -> list[ColumnElement[bool]]:
    e = ledger_entry.c
    conditions: list[ColumnElement[bool]] = []
    if only.kinds:
        conditions.append(e.kind.in_(only.kinds))
    if only.start is not None:
        conditions.append(e.created_at >= only.start)
    if only.end is not None:
        conditions.append(e.created_at < only.end)
    if before is not None:
        conditions.append(tuple_(e.created_at, e.id) < tuple_(*before))
    return conditions


def _newest(side: str, conditions: Sequence[ColumnElement[bool]], limit: int) -> Subquery:
    query: Select[Any] = select(*_ENTRY).where(ledger_entry.c.ledger_account == side, *conditions)
    return query.order_by(ledger_entry.c.created_at.desc(), ledger_entry.c.id.desc()).limit(limit).subquery()


def _movements(rows: Iterable[Row[Any]], account_id: str) -> list[Movement]:
    """Entries, newest first, as movements; both of one follow one another."""
    available, _ = _sides(account_id)
    found: list[Movement] = []
    for row in rows:
        on_available = row.ledger_account == available
        moved = Sides(
            available_micros=row.amount_micros if on_available else 0,
            held_micros=0 if on_available else row.amount_micros,
        )
        if found and (found[-1].reference, found[-1].kind) == (row.reference, row.kind):
            moved += found.pop().moved
        found.append(
            Movement(
                reference=row.reference,
                kind=row.kind,
                at=row.created_at,
                job_id=row.job_id or (row.reference if row.kind in JOB_KINDS else None),
                note=row.note,
                moved=moved,
                cursor=(row.created_at, row.id),
            )
        )
    return found


def sums_by_kind(conn: Connection, account_id: str, start: int, end: int) -> list[Summed]:
    """What moved in some time, by kind, in the order of `KINDS`.

    Args:
        conn: the connection.
        account_id: whose.
        start: milliseconds UTC.
        end: before then.
    """
    e = ledger_entry.c
    available, held = _sides(account_id)
    query = (
        select(e.kind, e.ledger_account, func.count().label("count"), func.sum(e.amount_micros).label("sum"))
        .where(e.ledger_account.in_((available, held)), e.created_at >= start, e.created_at < end)
        .group_by(e.kind, e.ledger_account)
    )
    found: dict[str, Summed] = {}
    for row in conn.execute(query):
        before = found.get(row.kind, Summed(kind=row.kind, count=0, moved=Sides()))
        # A sum is a Decimal to PostgreSQL.
        sums = {"available_micros" if row.ledger_account == available else "held_micros": int(row.sum)}
        found[row.kind] = Summed(
            # Each movement has one entry on each side that it has.
            kind=row.kind,
            count=max(before.count, int(row._mapping["count"])),
            moved=before.moved + Sides(**sums),
        )
    known = {kind: place for place, kind in enumerate(KINDS)}
    return sorted(found.values(), key=lambda one: (known.get(one.kind, len(known)), one.kind))  # type: ignore[call-overload]


def balance_at(conn: Connection, account_id: str, at: int) -> Sides:
    """What an account had just before a time in milliseconds UTC, from its entries."""
    e = ledger_entry.c
    available, held = _sides(account_id)
    query = (
        select(e.ledger_account, func.sum(e.amount_micros).label("sum"))
        .where(e.ledger_account.in_((available, held)), e.created_at < at)
        .group_by(e.ledger_account)
    )
    sums = {row.ledger_account: int(row.sum) for row in conn.execute(query)}
    return Sides(available_micros=sums.get(available, 0), held_micros=sums.get(held, 0))


def active_months(conn: Connection, account_id: str) -> list[str]:
    """The months (`2026-11`, UTC) in which anything moved, newest first."""
    e = ledger_entry.c
    found: set[str] = set()
    for side in _sides(account_id):
        after = 0
        # From one month to the next that has anything: a look at the index for each.
        while True:
            first = conn.execute(
                select(func.min(e.created_at)).where(e.ledger_account == side, e.created_at >= after)
            ).scalar()
            if first is None:
                break
            month = date_of(first // DAY_MS)[:7]
            found.add(month)
            _, after = month_span(month)
    return sorted(found, reverse=True)
