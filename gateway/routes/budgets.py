"""`/api/billing/budgets`, `/api/admin/accounts/{id}/budgets`: the most that may be spent."""

from typing import Annotated, Any

from litestar import Request, Response, delete, get, put
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter

from billing.budgets import Kind, Period
from gateway.access import ADMIN, MANAGE
from gateway.accounts.budget_schemas import BudgetList, BudgetRequest, BudgetView
from gateway.accounts.principals import Principal
from gateway.answers import may, takes
from gateway.bodies import read_body
from gateway.core import Core
from gateway.schemas import MOST_USER_ID, json_response

__all__ = [
    "account_budgets",
    "own_budgets",
    "remove_account_budget",
    "remove_own_budget",
    "set_account_budget",
    "set_own_budget",
]

EXAMPLE = {"kind": "user", "subject": "*", "period": "month", "limit": 5}
UserQuery = Annotated[
    str | None,
    QueryParameter(
        name="userId", max_length=MOST_USER_ID, description="Of users, what holds for this one alone"
    ),
]
KindQuery = Annotated[Kind, QueryParameter(description="account, key or user")]
SubjectQuery = Annotated[
    str | None,
    QueryParameter(
        min_length=1, max_length=200, description="The key's id; the user's, or `*`; nothing for the account"
    ),
]
PeriodQuery = Annotated[Period, QueryParameter(description="month or all")]


@get("/api/billing/budgets", summary="Your budgets", tags=["Billing"])
async def own_budgets(
    core: NamedDependency[Core], principal: NamedDependency[Principal], user_id: UserQuery = None
) -> Response[BudgetList]:
    """The budgets of your account, its API keys and its users, with what is used and left of each."""
    found = await core.office.budgets.all(principal.account_id, user_id)
    return json_response(BudgetList(budgets=tuple(found)))


@put(
    "/api/billing/budgets",
    summary="Set a budget",
    tags=["Billing"],
    opt=MANAGE | takes(BudgetRequest, EXAMPLE) | may("not_found", "admin_required"),
)
async def set_own_budget(
    request: Request[Any, Any, Any], core: NamedDependency[Core], principal: NamedDependency[Principal]
) -> Response[BudgetView]:
    """Set the most that an API key or a user of yours may spend, in place of what there is; what was used
    counts.

    An API key that has a budget changes no key's budget. The account's own is an admin's to set.
    """
    body = await read_body(request, BudgetRequest)
    await core.office.budgets.check_may_set(principal, body.kind)
    found = await core.office.budgets.set(
        principal.account_id, body.kind, body.subject, body.period, body.limit, principal.actor
    )
    return json_response(found)


@delete(
    "/api/billing/budgets",
    status_code=204,
    summary="Remove a budget",
    tags=["Billing"],
    opt=MANAGE | may("not_found", "admin_required", "invalid_body"),
)
async def remove_own_budget(
    core: NamedDependency[Core],
    principal: NamedDependency[Principal],
    kind: KindQuery,
    subject: SubjectQuery = None,
    period: PeriodQuery = "month",
) -> None:
    """Remove the budget of an API key or a user of yours. Who may set it may remove it."""
    await core.office.budgets.check_may_set(principal, kind)
    await core.office.budgets.remove(principal.account_id, kind, subject, period, principal.actor)


@get(
    "/api/admin/accounts/{account_id:str}/budgets",
    summary="An account's budgets",
    tags=["Operators"],
    opt=ADMIN,
)
async def account_budgets(
    account_id: FromPath[str], core: NamedDependency[Core], user_id: UserQuery = None
) -> Response[BudgetList]:
    """The budgets of an account, its API keys and its users, with what is used and left of each."""
    found = await core.office.budgets.all(account_id, user_id)
    return json_response(BudgetList(budgets=tuple(found)))


@put(
    "/api/admin/accounts/{account_id:str}/budgets",
    summary="Set a budget of an account",
    tags=["Operators"],
    opt=ADMIN | takes(BudgetRequest, {"kind": "account", "period": "month", "limit": 100}),
)
async def set_account_budget(
    account_id: FromPath[str],
    request: Request[Any, Any, Any],
    core: NamedDependency[Core],
    principal: NamedDependency[Principal],
) -> Response[BudgetView]:
    """Set the most that an account, an API key or a user of it may spend, in place of what there is."""
    body = await read_body(request, BudgetRequest)
    found = await core.office.budgets.set(
        account_id, body.kind, body.subject, body.period, body.limit, principal.actor
    )
    return json_response(found)


@delete(
    "/api/admin/accounts/{account_id:str}/budgets",
    status_code=204,
    summary="Remove a budget of an account",
    tags=["Operators"],
    opt=ADMIN | may("invalid_body"),
)
async def remove_account_budget(
    account_id: FromPath[str],
    core: NamedDependency[Core],
    principal: NamedDependency[Principal],
    kind: KindQuery,
    subject: SubjectQuery = None,
    period: PeriodQuery = "month",
) -> None:
    """Remove a budget of an account, of an API key or of a user of it."""
    await core.office.budgets.remove(account_id, kind, subject, period, principal.actor)
