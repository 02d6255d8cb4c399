"""A month of an account: what it had, what moved, what it was charged for, what it has.

The sums are the ledger's. Usage says alone which models and keys the charges were for.
"""

from msgspec import Struct
from sqlalchemy import Connection

from billing.movements import (
    JOB_KINDS,
    KINDS,
    Movement,
    MovementFilter,
    Sides,
    Summed,
    balance_at,
    list_movements,
    sums_by_kind,
)
from billing.reports import Group, UsageFilter, month_span, usage_report
from billing.usage import DAY_MS

__all__ = ["MOST_LISTED", "Statement", "statement"]

MOST_LISTED = 500
"""Payments and corrections that a statement shows one by one; its sums have all of them."""


class Statement(Struct, frozen=True, kw_only=True):
    """A month of an account."""

    month: str
    """`2026-11`, UTC"""
    start: int
    """Milliseconds UTC."""
    end: int
    """When the next month begins."""
    opening: Sides
    movements: tuple[Summed, ...]
    """By kind; opening and these are closing."""
    closing: Sides
    models: tuple[Group, ...]
    keys: tuple[Group, ...]
    others: tuple[Movement, ...]
    """What no job did: payments, credits, refunds and corrections, oldest first."""
    others_left_off: int
    """Of those, how many are not in `others`."""


def statement(conn: Connection, account_id: str, month: str) -> Statement:
    """A month of an account, on one snapshot.

    Args:
        conn: inside one transaction that reads.
        account_id: whose.
        month: `2026-11`.

    Raises:
        ValueError: it is no month.
    """
    start, end = month_span(month)
    opening = balance_at(conn, account_id, start)
    movements = sums_by_kind(conn, account_id, start, end)
    closing = opening
    for one in movements:
        closing += one.moved
    kinds = tuple(kind for kind in KINDS if kind not in JOB_KINDS)
    count = sum(one.count for one in movements if one.kind in kinds)
    shown: list[Movement] = []
    if count:
        only = MovementFilter(kinds=kinds, start=start, end=end)
        shown = list_movements(conn, account_id, limit=MOST_LISTED, only=only)
    jobs = UsageFilter(account_id=account_id, first_day=start // DAY_MS, last_day=end // DAY_MS - 1)
    return Statement(
        month=month,
        start=start,
        end=end,
        opening=opening,
        movements=tuple(movements),
        closing=closing,
        models=usage_report(conn, ("model",), jobs).rows,
        keys=usage_report(conn, ("key",), jobs).rows,
        others=tuple(reversed(shown)),
        others_left_off=count - len(shown),
    )
