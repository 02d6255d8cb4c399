"""Do budgets count what the jobs say? Read-only, in SQL."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    Subquery,
    and_,
    case,
    func,
    literal,
    or_,
    select,
    union_all,
)

from billing.budgets import EACH, month_of
from billing.findings import Check
from billing.tables import budget, spend
from gateway.db.tables import job

__all__ = ["CHECKS"]

KEY = ("account_id", "kind", "subject", "period")
ALL = "all"

_S, _B = spend.c, budget.c
_SUBJECTS: dict[str, ColumnElement[Any]] = {
    "account": literal(""),
    "key": job.c.key_id,
    "user": job.c.end_user,
}
"""Whose a job counts as, by the kind of the budget."""


def _wrong(conn: Connection, at: int) -> Select[Any] | None:
    """Rows that count something else than the ceilings and charges of their jobs."""
    found = conn.execute(select(_S.kind, _S.period).distinct()).all()
    if not found:
        return None
    # Put together and not joined: SQLite joins so many rows slowly without an index.
    rows = [
        select(
            *(_S[name] for name in KEY), _S.used_micros, literal(0).label("said"), literal(1).label("kept")
        )
    ]
    used = _used([(row.kind, row.period) for row in found])
    if used is not None:
        rows.append(select(*(used.c[name] for name in KEY), literal(0), used.c.used_micros, literal(0)))
    both = union_all(*rows).subquery()
    sums = {name: func.sum(both.c[name]) for name in ("used_micros", "said", "kept")}
    columns = [
        *(both.c[name] for name in KEY),
        sums["used_micros"].label("counted"),
        sums["said"].label("said"),
    ]
    query = select(*columns).group_by(*(both.c[name] for name in KEY))
    return query.having(sums["kept"] == 1, sums["used_micros"] != sums["said"])


def _missing(conn: Connection, at: int) -> Select[Any] | None:
    """What should be counted against a budget in force, and is not at all."""
    found = conn.execute(select(_B.kind, _B.period).distinct()).all()
    month = month_of(at)
    wanted = {(row.kind, ALL if row.period == ALL else month) for row in found}
    used = _used(sorted(wanted))
    if used is None:
        return None
    u = used.c
    of_row = select(_B.kind).where(
        _B.account_id == u.account_id,
        _B.kind == u.kind,
        _B.period == case((u.period == ALL, ALL), else_="month"),
        or_(_B.subject == u.subject, and_(_B.kind == "user", _B.subject == EACH)),
    )
    kept = select(_S.kind).where(*(_S[name] == u[name] for name in KEY))
    columns = [*(u[name] for name in KEY), u.used_micros.label("said")]
    return select(*columns).where(u.used_micros != 0, of_row.exists(), ~kept.exists())


def _used(wanted: Sequence[tuple[str, str]]) -> Subquery | None:
    """What jobs cost, or may cost, in all: by account, kind, subject and period."""
    parts = [part for kind, period in wanted for part in _part(kind, period)]
    return union_all(*parts).subquery() if parts else None


def _part(kind: str, period: str) -> Iterable[Select[Any]]:
    within = _within(period)
    if within is None or kind not in _SUBJECTS:
        return
    subject = _SUBJECTS[kind]
    columns = (
        job.c.account_id,
        literal(kind).label("kind"),
        subject.label("subject"),
        literal(period).label("period"),
        func.sum(func.coalesce(job.c.charge_micros, job.c.ceiling_micros)).label("used_micros"),
    )
    query = select(*columns).where(subject.is_not(None), *within)
    yield query.group_by(job.c.account_id) if kind == "account" else query.group_by(job.c.account_id, subject)


def _within(period: str) -> list[ColumnElement[bool]] | None:
    """Which jobs were let in in a period; None for what is none."""
    if period == ALL:
        return []
    try:
        begins = datetime.strptime(period, "%Y-%m").replace(tzinfo=UTC)
        ends = begins.replace(year=begins.year + begins.month // 12, month=begins.month % 12 + 1)
    except ValueError:
        return None
    first, after = (int(at.timestamp()) * 1000 for at in (begins, ends))
    return [job.c.created_at >= first, job.c.created_at < after]


CHECKS = (
    Check(
        code="spend",
        rule="what counts against a budget is what its jobs cost, or may cost while they run",
        query=_wrong,
        detail=lambda row: f"{row.counted} counted, the jobs say {row.said}",
        subject=KEY,
    ),
    Check(
        code="spend_missing",
        rule="jobs of an account, key or user with a budget are counted against it",
        query=_missing,
        detail=lambda row: f"nothing counted, the jobs say {row.said}",
        subject=KEY,
    ),
)
