"""402: what is missing for a job to be let in, and what to do about it."""

from billing.budgets import BudgetExhausted, Standing
from billing.ledger import InsufficientFunds
from billing.money import json_number, usd
from gateway.accounts.budget_rows import month_end
from gateway.accounts.budget_schemas import BudgetView, budget_view
from gateway.ambient import iso
from gateway.problems import Problem

__all__ = ["refusal"]

CURRENCY = "USD"
ASK_FOR_LESS = "`options.allow_downgrade: true` asks for the nearest settings that can be paid"
WHO_RAISES = {
    "account": "An admin of the gateway may raise it",
    "key": "Whoever manages the account may raise it (PUT /api/billing/budgets)",
    "user": "Whoever manages the account may raise it (PUT /api/billing/budgets)",
}


def refusal(
    error: InsufficientFunds | BudgetExhausted,
    at: int,
    *,
    lowered: bool = False,
    asked: int | None = None,
    less: str = ASK_FOR_LESS,
) -> Problem:
    """The problem of a job whose hold was refused.

    Args:
        error: why.
        at: milliseconds UTC.
        lowered: the request may be made smaller, so that the plan is the least that it could cost.
        asked: micro-dollars that it may cost as it was asked for, where it was made smaller.
        less: how to ask for less.
    """
    broke = isinstance(error, InsufficientFunds)
    available, needed = error.available if isinstance(error, InsufficientFunds) else error.left, error.needed
    parts = [f"{str(error)[:1].upper()}{str(error)[1:]}", "Nothing was charged"]
    if lowered:
        than = "" if asked is None else f", in place of {usd(asked)} USD"
        parts.append(f"It is the least that the job may cost{than}")
    if isinstance(error, InsufficientFunds):
        parts.append(f"Add {usd(needed - available)} USD or more to the balance")
    else:
        parts.append(_when_it_goes_on(error.standing, at))
    if not lowered:
        parts.append(f"Or ask for less: {less}")
    return Problem(
        "insufficient_funds" if broke else "budget_exhausted",
        ". ".join(parts),
        needed=json_number(needed),
        needed_micros=needed,
        available=json_number(available),
        available_micros=available,
        missing=json_number(needed - available),
        missing_micros=needed - available,
        asked=None if asked is None else json_number(asked),
        asked_micros=asked,
        currency=CURRENCY,
        budget=None if isinstance(error, InsufficientFunds) else _budget(error.standing, at),
    )


def _when_it_goes_on(one: Standing, at: int) -> str:
    anew = "" if one.budget.period == "all" else f"; it starts anew at {iso(month_end(at))}"
    return f"{WHO_RAISES[one.budget.kind]}{anew}"


def _budget(one: Standing, at: int) -> BudgetView:
    return budget_view(one, iso(month_end(at)))
