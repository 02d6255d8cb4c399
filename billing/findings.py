"""How the books are checked: each check is one query, and what it fetches are the rows that are wrong."""

from collections.abc import Callable, Iterable
from typing import Any

from msgspec import Struct
from sqlalchemy import Connection, Row, Select

__all__ = ["MOST", "Check", "Finding", "run"]

MOST = 1000
"""Rows that one check tells of: what is wrong with a million rows is known by then."""


class Finding(Struct, frozen=True, kw_only=True):
    """One thing that is wrong."""

    code: str
    """What kind of thing: of a `Check`."""
    subject: str
    """The row that it is about: a job, an account, an entry, a day of one's usage."""
    detail: str


Query = Select[Any] | Callable[[Connection, int], Select[Any] | None]


class Check(Struct, frozen=True, kw_only=True):
    """A rule that rows must keep."""

    code: str
    """Its findings'."""
    rule: str
    """What must hold, for people."""
    query: Query
    """Selects the rows that break it. Or makes that query, from the time in milliseconds UTC; None: there is
    nothing to look at.
    """
    detail: Callable[[Row[Any]], str]
    """What is wrong with a row."""
    subject: tuple[str, ...] = ("subject",)
    """The columns that say which row it is."""


def run(conn: Connection, checks: Iterable[Check], at: int) -> list[Finding]:
    """What breaks the rules, at most `MOST` rows of each. Read-only.

    Args:
        conn: one snapshot: in one `Database.read`.
        checks: the rules.
        at: milliseconds UTC.
    """
    return [
        Finding(code=check.code, subject=_name(row, check.subject), detail=check.detail(row))
        for check in checks
        for row in _rows(conn, check.query, at)
    ]


def _rows(conn: Connection, query: Query, at: int) -> Iterable[Row[Any]]:
    wrong = query if isinstance(query, Select) else query(conn, at)
    return () if wrong is None else conn.execute(wrong.limit(MOST)).all()


def _name(row: Row[Any], columns: tuple[str, ...]) -> str:
    return " ".join(str(row._mapping[column]) or "-" for column in columns)
