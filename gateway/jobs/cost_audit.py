"""Does the ledger have what providers bill for each attempt, and no more? Read-only, in SQL."""

from typing import Any

from sqlalchemy import Select, and_, func, or_, select

from billing.findings import Check
from billing.tables import ledger_entry
from gateway.db.tables import attempt

__all__ = ["CHECKS"]

_A, _E = attempt.c, ledger_entry.c


def _costs() -> Select[Any]:
    billed, entered = func.coalesce(_A.provider_cost_micros, 0), func.coalesce(_E.amount_micros, 0)
    its_own = and_(_E.reference == _A.id, _E.kind == "cost", _E.ledger_account == "cost:" + _A.provider)
    wrong = or_(billed != entered, _E.job_id != _A.job_id, and_(billed != 0, _A.status != "succeeded"))
    columns = (
        _A.id.label("subject"),
        _A.job_id,
        _A.status,
        _A.provider,
        billed.label("billed"),
        entered.label("entered"),
        _E.job_id.label("entered_of"),
    )
    return select(*columns).select_from(attempt.outerjoin(ledger_entry, its_own)).where(wrong)


def _lonely() -> Select[Any]:
    its_own = select(_A.id).where(_A.id == _E.reference).exists()
    return select(_E.reference.label("subject")).where(_E.kind == "cost", ~its_own).distinct()


CHECKS = (
    Check(
        code="attempt_cost",
        rule="what a provider bills for an attempt is in the ledger, and only what succeeded costs",
        query=_costs(),
        detail=lambda row: (
            f"{row.status}, {row.provider} bills {row.billed}, the ledger has {row.entered}"
            + ("" if row.entered_of in (None, row.job_id) else f" of another job, {row.entered_of}")
        ),
    ),
    Check(
        code="cost_without_attempt",
        rule="no cost is without its attempt",
        query=_lonely(),
        detail=lambda row: "a cost in the ledger, and no such attempt",
    ),
)
