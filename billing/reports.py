"""Usage as reports have it: sums of what is counted by day. The jobs themselves are not read."""

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from itertools import pairwise
from typing import Any, Literal, get_args

from msgspec import Struct
from sqlalchemy import ColumnElement, Connection, Table, case, func, select

from billing.tables import COUNTS, usage_day, usage_user
from billing.usage import DAY_MS

__all__ = [
    "DIMENSIONS",
    "Counts",
    "Dimension",
    "Group",
    "TooManyGroups",
    "Usage",
    "UsageFilter",
    "date_of",
    "day_number",
    "month_span",
    "usage_report",
]

Dimension = Literal["account", "day", "month", "model", "provider", "key", "user"]
DIMENSIONS: tuple[Dimension, ...] = get_args(Dimension)

EPOCH = date(1970, 1, 1).toordinal()


class TooManyGroups(Exception):
    """A report would have more rows than it may."""

    def __init__(self, most: int) -> None:
        super().__init__(f"the report has more than {most} rows")
        self.most = most

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.most,)


class UsageFilter(Struct, frozen=True, kw_only=True):
    """Which usage; what is not given does not matter, of what is given one must hold."""

    account_id: str | None = None
    """None: everybody's."""
    first_day: int | None = None
    """Days since 1970 UTC, like the last; both are within."""
    last_day: int | None = None
    models: tuple[str, ...] = ()
    providers: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    """Ids; an empty one: jobs without a key."""
    users: tuple[str, ...] = ()


class Counts(Struct, frozen=True, kw_only=True):
    """What usage counts, summed. Money is micro-dollars."""

    jobs: int = 0
    completed: int = 0
    failed: int = 0
    canceled: int = 0
    images: int = 0
    quote_micros: int = 0
    charge_micros: int = 0
    refund_micros: int = 0
    cost_micros: int = 0
    """What providers bill."""
    listed_micros: int = 0
    """What they should bill by our list of their prices."""


class Group(Struct, frozen=True, kw_only=True):
    """A row of a report."""

    of: tuple[str | None, ...]
    """A value for each of the report's dimensions; None: jobs without a key, or without a user."""
    counts: Counts


class Usage(Struct, frozen=True, kw_only=True):
    """A report: its rows, in the order of their dimensions, and what they sum to."""

    total: Counts
    rows: tuple[Group, ...]


def usage_report(
    conn: Connection, by: Sequence[Dimension], only: UsageFilter, *, most: int | None = None
) -> Usage:
    """What was used, and what it cost.

    Args:
        conn: the connection.
        by: dimensions; none: one row.
        only: of which jobs.
        most: rows.

    Raises:
        TooManyGroups: there are more.
    """
    rows = _groups(conn, usage_user if _needs_users(by, only) else usage_day, by, only, most)
    if "user" in by and not only.users:
        rows += _without_user(conn, by, only, rows)
    if most is not None and len(rows) > most:
        raise TooManyGroups(most)
    rows.sort(key=lambda row: [(value is None, value or "") for value in row.of])
    return Usage(total=_sum(row.counts for row in rows), rows=tuple(rows))


def _needs_users(by: Sequence[Dimension], only: UsageFilter) -> bool:
    return "user" in by or bool(only.users)


def _groups(
    conn: Connection, table: Table, by: Sequence[Dimension], only: UsageFilter, most: int | None
) -> list[Group]:
    within = _within(table, only)
    places = [_place(conn, table, one, only) for one in by]
    query = select(*places, *(func.sum(table.c[name]) for name in COUNTS)).where(*within).group_by(*places)
    if most is not None:
        query = query.limit(most + 1)
    return [
        Group(
            of=tuple(_named(one, value) for one, value in zip(by, row, strict=False)),
            # A sum is a Decimal to PostgreSQL, and of no row nothing.
            counts=Counts(**{n: int(v or 0) for n, v in zip(COUNTS, row[len(by) :], strict=True)}),
        )
        for row in conn.execute(query)
    ]


def _within(table: Table, only: UsageFilter) -> list[ColumnElement[bool]]:
    c = table.c
    found: list[ColumnElement[bool]] = []
    if only.account_id is not None:
        found.append(c.account_id == only.account_id)
    if only.first_day is not None:
        found.append(c.day >= only.first_day)
    if only.last_day is not None:
        found.append(c.day <= only.last_day)
    for column, values in ((c.model, only.models), (c.provider, only.providers), (c.key_id, only.keys)):
        if values:
            found.append(column.in_(values))
    if only.users:
        found.append(c.end_user.in_(only.users))
    return found


def _place(conn: Connection, table: Table, one: Dimension, only: UsageFilter) -> ColumnElement[Any]:
    """What rows of a dimension are grouped by."""
    if one == "month":
        return _month(conn, table, only)
    column = {"account": "account_id", "key": "key_id", "user": "end_user"}.get(one, one)
    return table.c[column]


def _month(conn: Connection, table: Table, only: UsageFilter) -> ColumnElement[Any]:
    """The first day of a row's month. Neither database's own dates: they differ."""
    within = _within(table, only)
    first, last = conn.execute(
        select(
            select(func.min(table.c.day)).where(*within).scalar_subquery(),
            select(func.max(table.c.day)).where(*within).scalar_subquery(),
        )
    ).one()
    begins = _months(first or 0, last or 0)
    return case(*((table.c.day < after, begin) for begin, after in pairwise(begins))).label("month")


def _months(first: int, last: int) -> list[int]:
    """The first day of each month from one day's to another's, and of the month after."""
    begins = [month_span(date_of(first)[:7])[0] // DAY_MS]
    while begins[-1] <= last:
        begins.append(month_span(date_of(begins[-1])[:7])[1] // DAY_MS)
    return begins


def _named(one: Dimension, value: Any) -> str | None:
    if one in ("day", "month"):
        text = date_of(value)
        return text if one == "day" else text[:7]
    return str(value) or None


def _without_user(
    conn: Connection, by: Sequence[Dimension], only: UsageFilter, named: Sequence[Group]
) -> list[Group]:
    """What there is beside that of users, so that the sum is of all jobs."""
    place = by.index("user")
    others = [one for one in by if one != "user"]
    left = {row.of: row.counts for row in _groups(conn, usage_day, others, only, None)}
    for row in named:
        rest = row.of[:place] + row.of[place + 1 :]
        left[rest] = _add(left.get(rest, Counts()), row.counts, -1)
    return [
        Group(of=(*rest[:place], None, *rest[place:]), counts=counts)
        for rest, counts in left.items()
        if counts != Counts()
    ]


def _sum(counts: Iterable[Counts]) -> Counts:
    total = dict.fromkeys(COUNTS, 0)
    for one in counts:
        for name in COUNTS:
            total[name] += getattr(one, name)
    return Counts(**total)


def _add(one: Counts, other: Counts, times: int) -> Counts:
    return Counts(**{name: getattr(one, name) + times * getattr(other, name) for name in COUNTS})


def date_of(day: int) -> str:
    """A day, in days since 1970, as a date: `2026-11-27`."""
    return date.fromordinal(day + EPOCH).isoformat()


def day_number(on: date) -> int:
    """A date as a day, in days since 1970."""
    return on.toordinal() - EPOCH


def month_span(month: str) -> tuple[int, int]:
    """When a month (`2026-11`) begins, and when the next one does, in milliseconds UTC.

    Raises:
        ValueError: it is none.
    """
    begin = datetime.strptime(month, "%Y-%m").replace(tzinfo=UTC).date()
    after = date(begin.year + begin.month // 12, begin.month % 12 + 1, 1)
    return day_number(begin) * DAY_MS, day_number(after) * DAY_MS
