"""`/api/admin/accounts`, `/topup`, `/keys`, `/invites`, `/audit`: the operator's side of accounts."""

from typing import Annotated, Any

from litestar import Request, Response, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter
from msgspec import UnsetType, structs

from gateway.access import ADMIN
from gateway.accounts.principals import Principal
from gateway.accounts.schemas import (
    AccountList,
    AccountRequest,
    AccountView,
    AuditList,
    ChangeRequest,
    InviteList,
    InviteRequest,
    KeyList,
    KeyRequest,
    KeyView,
    LoginRequest,
    NewInviteView,
    NewKeyView,
    TopUpRequest,
    account_view,
    audit_view,
    invite_view,
    key_view,
    new_key_view,
)
from gateway.accounts.service import Change, Funded
from gateway.answers import may, takes
from gateway.bodies import read_body
from gateway.core import Core
from gateway.problems import Problem
from gateway.schemas import json_response
from registry.errors import Fault

__all__ = [
    "account_keys",
    "audit_log",
    "change_account",
    "create_account",
    "create_invite",
    "create_key",
    "create_login",
    "list_accounts",
    "list_invites",
    "revoke_key",
    "top_up",
]

SECRET = {"Cache-Control": "no-store"}


@get("/api/admin/accounts", summary="The accounts", tags=["Operators"], opt=ADMIN)
async def list_accounts(core: NamedDependency[Core]) -> Response[AccountList]:
    """Every account, oldest first."""
    at = core.ambient.now_ms()
    found = await core.accounts.all()
    return json_response(AccountList(accounts=tuple(account_view(one, at) for one in found)))


@post(
    "/api/admin/accounts",
    status_code=201,
    summary="Make an account",
    tags=["Operators"],
    opt=ADMIN | takes(AccountRequest, {"name": "Ann", "tier": "premium", "balance": 10}),
)
async def create_account(
    request: Request[Any, Any, Any], core: NamedDependency[Core], principal: NamedDependency[Principal]
) -> Response[AccountView]:
    """Make an account. It pays from its balance, or afterwards with `postpaid`; give it a key next."""
    body = await read_body(request, AccountRequest)
    made = await core.accounts.create(
        body.name,
        tier=body.tier,
        admin=body.admin,
        postpaid=body.postpaid,
        balance=body.balance,
        by=principal.actor,
    )
    return _shown(core, made, 201)


@patch(
    "/api/admin/accounts/{account_id:str}",
    summary="Change an account",
    tags=["Operators"],
    opt=ADMIN | takes(ChangeRequest, {"tier": "premium", "tierDays": 30}),
)
async def change_account(
    account_id: FromPath[str],
    request: Request[Any, Any, Any],
    core: NamedDependency[Core],
    principal: NamedDependency[Principal],
) -> Response[AccountView]:
    """Grant a tier, for good or for so many days; make or unmake an admin; close or open an account; say
    within how long equal requests are one, and by which price list it pays.
    """
    body = await read_body(request, ChangeRequest)
    _check_price_list(core, body.price_list)
    change = Change(
        tier=body.tier,
        tier_days=body.tier_days,
        admin=body.admin,
        closed=body.closed,
        resend_window_s=body.resend_window_s,
        price_list=body.price_list,
    )
    return _shown(core, await core.accounts.change(account_id, change, principal.actor))


@post(
    "/api/admin/accounts/{account_id:str}/login",
    status_code=204,
    summary="Let a person sign in",
    tags=["Operators"],
    opt=ADMIN
    | takes(LoginRequest, {"email": "ann@example.com", "password": "correct-horse-battery-staple"})
    | may("email_used", "invalid_email", "weak_password", "too_busy"),
)
async def create_login(
    account_id: FromPath[str],
    request: Request[Any, Any, Any],
    core: NamedDependency[Core],
    principal: NamedDependency[Principal],
) -> None:
    """Give an account an address and a password, without a mail."""
    body = await read_body(request, LoginRequest)
    await core.office.signups.give_login(account_id, body.email, body.password, principal.actor)


@post(
    "/api/admin/topup",
    status_code=200,
    summary="Add money to an account",
    tags=["Operators"],
    opt=ADMIN
    | takes(TopUpRequest, {"accountId": "acc_...", "amount": 10, "reference": "payment 1"})
    | may("not_found", "reference_used", "reference_conflict"),
)
async def top_up(
    request: Request[Any, Any, Any], core: NamedDependency[Core], principal: NamedDependency[Principal]
) -> Response[AccountView]:
    """Enter a payment. With a `reference` it counts once, however often it is sent."""
    body = await read_body(request, TopUpRequest)
    found = await core.accounts.top_up(body.account_id, body.amount, body.reference, principal.actor)
    return _shown(core, found)


@get("/api/admin/accounts/{account_id:str}/keys", summary="An account's keys", tags=["Operators"], opt=ADMIN)
async def account_keys(account_id: FromPath[str], core: NamedDependency[Core]) -> Response[KeyList]:
    """An account's API keys, oldest first; without their secrets, which nobody has."""
    rows = await core.accounts.keys(account_id)
    limits = await core.office.budgets.of_keys(rows)
    return json_response(KeyList(keys=tuple(key_view(row, limits) for row in rows)))


@post(
    "/api/admin/accounts/{account_id:str}/keys",
    status_code=201,
    summary="Make an API key",
    tags=["Operators"],
    opt=ADMIN | takes(KeyRequest, {"name": "laptop", "expiresInDays": 90}),
)
async def create_key(
    account_id: FromPath[str],
    request: Request[Any, Any, Any],
    core: NamedDependency[Core],
    principal: NamedDependency[Principal],
) -> Response[NewKeyView]:
    """Make an API key. `key` is in this answer and never shown again."""
    body = await read_body(request, KeyRequest)
    row, key = await core.accounts.create_key(
        account_id,
        body.name,
        expires_in_days=body.expires_in_days,
        scopes=frozenset(body.scopes),
        budget=body.budget,
        monthly_budget=body.monthly_budget,
        by=principal.actor,
    )
    limits = await core.office.budgets.of_keys([row])
    return json_response(new_key_view(row, key, limits), 201, SECRET)


@delete(
    "/api/admin/keys/{key_id:str}",
    status_code=200,
    summary="Revoke an API key",
    tags=["Operators"],
    opt=ADMIN,
)
async def revoke_key(
    key_id: FromPath[str], core: NamedDependency[Core], principal: NamedDependency[Principal]
) -> Response[KeyView]:
    """Take an API key back, at once and for good."""
    row = await core.accounts.revoke(key_id, principal.actor)
    return json_response(key_view(row, await core.office.budgets.of_keys([row])))


@get("/api/admin/invites", summary="The invitations", tags=["Operators"], opt=ADMIN)
async def list_invites(core: NamedDependency[Core]) -> Response[InviteList]:
    """Every invitation, oldest first, without its code."""
    rows = await core.office.invites.all()
    return json_response(InviteList(invites=tuple(invite_view(row) for row in rows)))


@post(
    "/api/admin/invites",
    status_code=201,
    summary="Invite somebody",
    tags=["Operators"],
    opt=ADMIN | takes(InviteRequest, {"email": "ann@example.com"}) | may("invalid_email"),
)
async def create_invite(
    request: Request[Any, Any, Any], core: NamedDependency[Core], principal: NamedDependency[Principal]
) -> Response[NewInviteView]:
    """Make an invitation, good once. `invite` is what its holder sends with the sign-up."""
    body = await read_body(request, InviteRequest)
    made = await core.office.invites.create(
        body.email, tier=body.tier, days=body.expires_in_days, by=principal.actor
    )
    view = NewInviteView(**structs.asdict(invite_view(made.row)), invite=made.code)
    return json_response(view, 201, SECRET)


@get("/api/admin/audit", summary="Who did what", tags=["Operators"], opt=ADMIN)
async def audit_log(
    core: NamedDependency[Core],
    limit: Annotated[int, QueryParameter(ge=1, le=100)] = 50,
    cursor: Annotated[str | None, QueryParameter(description="`nextCursor` of the page before")] = None,
    subject: Annotated[str | None, QueryParameter(description="Of this account alone")] = None,
) -> Response[AuditList]:
    """Sign-ins, passwords, keys, money and rights: who changed what, newest first."""
    rows = await core.accounts.audit_log(subject, cursor, limit)
    more = rows[-1].id if len(rows) == limit else None
    return json_response(AuditList(entries=tuple(audit_view(row) for row in rows), next_cursor=more))


def _check_price_list(core: Core, name: str | UnsetType | None) -> None:
    lists = core.catalog.data.price_lists
    if isinstance(name, str) and name not in lists:
        allowed = ", ".join(lists) or "none: the registry has no price_lists"
        message = f"the registry has no price list {name!r}"
        fault = Fault(pointer="/priceList", code="not_allowed", message=message, allowed=allowed)
        raise Problem("invalid_body", f"/priceList: {message}. Allowed: {allowed}", errors=[fault])


def _shown(core: Core, funded: Funded, status: int = 200) -> Response[AccountView]:
    return json_response(account_view(funded, core.ambient.now_ms()), status)
