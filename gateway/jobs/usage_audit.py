"""Is the usage by day what the jobs themselves say? Read-only, in SQL."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, Table, case, func, literal, or_, select, union_all

from billing.findings import Check
from billing.tables import COUNTS, ledger_entry, usage_day, usage_user
from billing.usage import DAY_MS
from billing.usage_audit import DAY
from gateway.db.tables import attempt, image, job
from gateway.jobs.expiry import REMOVED
from gateway.jobs.records import TERMINAL

__all__ = ["CHECKS"]

USER = ("account_id", "day", "end_user", "model", "provider", "key_id")
_E = ledger_entry.c


def _differences(usage: Table, key: tuple[str, ...]) -> Select[Any]:
    """Rows of usage with what they count beyond what the jobs say, below zero where it is less."""
    of_all = union_all(_counted(usage, key), _of_jobs(key), _of_refunds(key)).subquery()
    sums = {name: func.sum(of_all.c[name]) for name in COUNTS}
    removed = func.sum(of_all.c.removed)
    wrong = [
        # Of jobs whose pictures were removed nobody knows any more how many there were.
        or_(total < 0, (total > 0) & (removed == 0)) if name == "images" else total != 0
        for name, total in sums.items()
    ]
    columns = [of_all.c[name] for name in key]
    labels = [total.label(name) for name, total in sums.items()]
    return select(*columns, *labels, removed.label("removed")).group_by(*columns).having(or_(*wrong))


def _counted(usage: Table, key: tuple[str, ...]) -> Select[Any]:
    columns = [usage.c[name] for name in (*key, *COUNTS)]
    return select(*columns, literal(0).label("removed"))


def _of_jobs(key: tuple[str, ...]) -> Select[Any]:
    """Each job that ended, taken off what was counted."""
    pictures = select(image.c.job_id, func.count().label("number")).group_by(image.c.job_id).subquery()
    billed = func.coalesce(attempt.c.provider_cost_micros, 0)
    costs = (
        select(
            attempt.c.job_id,
            func.sum(billed).label("billed"),
            func.sum(func.coalesce(attempt.c.listed_cost_micros, billed)).label("listed"),
        )
        .group_by(attempt.c.job_id)
        .subquery()
    )
    ends: dict[str, ColumnElement[Any]] = {
        status: case((job.c.status == status, 1), else_=0) for status in sorted(TERMINAL)
    }
    values = ends | {
        "jobs": literal(1),
        "images": func.coalesce(pictures.c.number, 0),
        "quote_micros": job.c.quote_micros,
        "charge_micros": func.coalesce(job.c.charge_micros, 0),
        "cost_micros": func.coalesce(costs.c.billed, 0),
        "listed_micros": func.coalesce(costs.c.listed, 0),
    }
    removed = case((job.c.warnings.contains(REMOVED), 1), else_=0)
    joined = job.outerjoin(pictures, pictures.c.job_id == job.c.id)
    joined = joined.outerjoin(costs, costs.c.job_id == job.c.id)
    columns = _row(key, job.c.completed_at // DAY_MS, values, removed)
    return select(*columns).select_from(joined).where(job.c.status.in_(TERMINAL), *_of_users(key))


def _of_refunds(key: tuple[str, ...]) -> Select[Any]:
    """Each refund, taken off the day on which it was given."""
    columns = _row(key, _E.created_at // DAY_MS, {"refund_micros": _E.amount_micros}, literal(0))
    query = select(*columns).select_from(ledger_entry.join(job, job.c.id == _E.job_id))
    return query.where(_E.kind == "refund", _E.ledger_account != "revenue", *_of_users(key))


def _row(
    key: tuple[str, ...],
    day: ColumnElement[Any],
    values: Mapping[str, ColumnElement[Any]],
    removed: ColumnElement[Any],
) -> list[ColumnElement[Any]]:
    own: dict[str, ColumnElement[Any]] = {"day": day, "key_id": func.coalesce(job.c.key_id, "")}
    names = [(own[name] if name in own else job.c[name]).label(name) for name in key]
    return [
        *names,
        *((-values.get(name, literal(0))).label(name) for name in COUNTS),
        removed.label("removed"),
    ]


def _of_users(key: tuple[str, ...]) -> list[ColumnElement[bool]]:
    return [job.c.end_user.is_not(None)] if "end_user" in key else []


def _detail(row: Row[Any]) -> str:
    more = {name: row._mapping[name] for name in COUNTS if row._mapping[name]}
    return "beyond what the jobs say: " + ", ".join(f"{name} {number:+}" for name, number in more.items())


CHECKS = (
    Check(
        code="usage_day",
        rule="usage by day counts each job on the day on which it ended, and each refund on its own day",
        query=_differences(usage_day, DAY),
        detail=_detail,
        subject=DAY,
    ),
    Check(
        code="usage_user",
        rule="usage by user counts each job of a user, likewise",
        query=_differences(usage_user, USER),
        detail=_detail,
        subject=USER,
    ),
)
