"""What goes over the wire about budgets. camelCase outside."""

from decimal import Decimal
from typing import Annotated

from msgspec import Meta, Struct

from billing.budgets import EACH, Kind, Period, Standing
from billing.money import json_number

__all__ = ["BudgetList", "BudgetRequest", "BudgetView", "budget_view"]

MOST_LIMIT_USD = 1_000_000
LIMITS = f"US dollars, 0 to {MOST_LIMIT_USD}, six decimals"
"""What may be one is decided by `gateway.accounts.budgets`, which says why not."""
_LIMIT = {
    "type": ["number", "string"],
    "description": LIMITS,
    "minimum": 0,
    "maximum": MOST_LIMIT_USD,
    "pattern": r"^[0-9]{1,7}([.][0-9]{1,6})?$",
}


class BudgetRequest(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """The body of `PUT /api/billing/budgets` and of `PUT /api/admin/accounts/{id}/budgets`."""

    kind: Kind
    """Whose: the whole account's, an API key's, or an end user's (`userId`)."""
    subject: Annotated[str, Meta(min_length=1, max_length=200)] | None = None
    """The key's id; the user's, or `*` for each user that has none of its own; of the account nothing."""
    period: Period = "month"
    """`month`: each calendar month (UTC) anew; `all`: once and for all."""
    limit: Annotated[Decimal, Meta(extra_json_schema=_LIMIT)]
    """US dollars that jobs may cost in it; 0: nothing."""


class BudgetView(Struct, frozen=True, kw_only=True, rename="camel"):
    """A budget, and how it stands."""

    kind: Kind
    subject: str | None
    """The key's id; the user's, or `*` for each user that has none of its own; null for the account."""
    period: Period
    limit: Decimal
    """US dollars."""
    limit_micros: int
    used: Decimal | None
    """What the period's jobs were charged, or may cost while they are under way. Null for `*`: each user has
    used something else."""
    used_micros: int | None
    left: Decimal | None
    """US dollars that new jobs may cost; never below zero."""
    left_micros: int | None
    starts_anew: str | None
    """When nothing is used again; null: never."""


class BudgetList(Struct, frozen=True, kw_only=True, rename="camel"):
    """The budgets of an account."""

    budgets: tuple[BudgetView, ...]


def budget_view(one: Standing, starts_anew: str) -> BudgetView:
    """A budget as its owner sees it.

    Args:
        one: how it stands.
        starts_anew: when the next month begins.
    """
    limit = one.budget.limit_micros
    each = one.budget.kind == "user" and one.subject == EACH
    return BudgetView(
        kind=one.budget.kind,
        subject=one.subject or None,
        period=one.budget.period,
        limit=json_number(limit),
        limit_micros=limit,
        used=None if each else json_number(one.used_micros),
        used_micros=None if each else one.used_micros,
        left=None if each else json_number(one.left_micros),
        left_micros=None if each else one.left_micros,
        starts_anew=None if one.budget.period == "all" else starts_anew,
    )
