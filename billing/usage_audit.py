"""Does the usage by day say what the ledger says? Read-only, in SQL."""

from typing import Any

from sqlalchemy import Connection, Row, Select, and_, func, literal, or_, select, union_all

from billing.findings import Check, Finding, run
from billing.tables import COUNTS, ledger_entry, usage_day, usage_user
from billing.usage import DAY_MS

__all__ = ["CHECKS", "DAY", "verify"]

_E, _D, _U = ledger_entry.c, usage_day.c, usage_user.c
DAY = ("account_id", "day", "model", "provider", "key_id")
"""What says which row of usage."""


def verify(conn: Connection) -> list[Finding]:
    """Everything in which usage and the ledger differ (`CHECKS`). Run it on one snapshot."""
    return run(conn, CHECKS, 0)


def _against_ledger(column: str, kind: str, side: str, sign: int) -> Select[Any]:
    """Accounts and days on which a count is not what was moved on a side of the ledger."""
    owner = func.substr(_E.ledger_account, len(side) + 1)
    of_side = and_(_E.kind == kind, func.substr(_E.ledger_account, 1, len(side)) == side)
    counted = select(_D.account_id, _D.day, _D[column].label("counted"), literal(0).label("moved"))
    moved = select(owner, _E.created_at // DAY_MS, literal(0), sign * _E.amount_micros).where(of_side)
    both = union_all(counted, moved).subquery()
    b = both.c
    sums = [func.sum(one) for one in (b.counted, b.moved)]
    columns = (
        b.account_id,
        b.day,
        sums[0].label("counted"),
        sums[1].label("moved"),
    )
    return select(*columns).group_by(b.account_id, b.day).having(sums[0] != sums[1])


def _users() -> Select[Any]:
    """Rows of usage that have less than their users' rows sum to."""
    sums = [func.sum(_U[name]).label(name) for name in COUNTS]
    of_users = select(*(_U[name] for name in DAY), *sums).group_by(*(_U[name] for name in DAY)).subquery()
    same = and_(*(_D[name] == of_users.c[name] for name in DAY))
    more = or_(_D.account_id.is_(None), *(of_users.c[name] > _D[name] for name in COUNTS))
    columns = [of_users.c[name] for name in DAY]
    columns += [of_users.c[name].label(f"users_{name}") for name in COUNTS]
    columns += [func.coalesce(_D[name], 0).label(name) for name in COUNTS]
    return select(*columns).select_from(of_users.outerjoin(usage_day, same)).where(more)


def _user_detail(row: Row[Any]) -> str:
    found = row._mapping
    more = [name for name in COUNTS if found[f"users_{name}"] > found[name]]
    return ", ".join(f"{name} {found[name]}, of users {found[f'users_{name}']}" for name in more)


def _count_detail(row: Row[Any]) -> str:
    return f"{row.counted} counted, {row.moved} in the ledger"


CHECKS = (
    Check(
        code="usage_charge",
        rule="the charges of an account's day are what was captured on it",
        query=_against_ledger("charge_micros", "capture", "held:", -1),
        detail=_count_detail,
        subject=("account_id", "day"),
    ),
    Check(
        code="usage_refund",
        rule="the refunds of an account's day are what was refunded on it",
        query=_against_ledger("refund_micros", "refund", "available:", 1),
        detail=_count_detail,
        subject=("account_id", "day"),
    ),
    Check(
        code="usage_of_users",
        rule="usage by user is a part of the usage by day",
        query=_users(),
        detail=_user_detail,
        subject=DAY,
    ),
)
