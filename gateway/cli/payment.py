"""What to do about a 402, in the words of the command line."""

import shlex
from typing import Any

from billing.budgets import EACH
from billing.money import usd

__all__ = ["payment_steps"]

LESS = "or ask for less: --allow-downgrade takes what can be paid; --max-cost USD refuses what costs more"


def payment_steps(problem: dict[str, Any]) -> list[str]:
    """The next steps of a problem that says what is missing; none of another one."""
    missing = problem.get("missingMicros")
    if missing is None:
        return []
    budget = problem.get("budget")
    if budget is None:
        return [f"an admin enters a payment by `gateway account topup ACCOUNT {usd(missing)}`", LESS]
    anew = f"it starts anew at {budget['startsAnew']}; " if budget["startsAnew"] else ""
    limit = usd(budget["limitMicros"] + missing)
    raised = f"`gateway account set-budget ACCOUNT {limit}{_flags(budget)}`"
    owner = "" if budget["kind"] == "account" else ", or its owner by PUT /api/billing/budgets"
    return [f"{anew}an admin raises it by {raised}{owner}", LESS]


def _flags(budget: dict[str, Any]) -> str:
    whose = (
        "" if budget["subject"] in (None, EACH) else f" --{budget['kind']} {shlex.quote(budget['subject'])}"
    )
    return whose + ("" if budget["period"] == "month" else f" --period {budget['period']}")
