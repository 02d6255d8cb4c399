"""`GET /api/account`; `/api/admin/accounts`, `/api/admin/topup`, `/api/admin/keys`: the operator's."""

from typing import Any

from litestar import Request, Response, delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from gateway.access import ADMIN
from gateway.accounts.principals import Principal
from gateway.accounts.schemas import (
    AccountList,
    AccountRequest,
    AccountView,
    KeyList,
    KeyRequest,
    KeyView,
    NewKeyView,
    TopUpRequest,
    account_view,
    key_view,
    new_key_view,
)
from gateway.bodies import read_body
from gateway.core import Core
from gateway.schemas import json_response

__all__ = [
    "account_keys",
    "create_account",
    "create_key",
    "list_accounts",
    "revoke_key",
    "top_up",
    "your_account",
]


@get("/api/account", summary="Your account", tags=["Account"])
async def your_account(
    core: NamedDependency[Core], principal: NamedDependency[Principal]
) -> Response[AccountView]:
    """Who you are to the gateway, and what you have."""
    return json_response(account_view(await core.accounts.find(principal.account_id)))


@get("/api/admin/accounts", summary="The accounts", tags=["Operators"], opt=ADMIN)
async def list_accounts(core: NamedDependency[Core]) -> Response[AccountList]:
    """Every account, oldest first."""
    return json_response(AccountList(accounts=tuple(account_view(a) for a in await core.accounts.all())))


@post("/api/admin/accounts", status_code=201, summary="Make an account", tags=["Operators"], opt=ADMIN)
async def create_account(
    request: Request[Any, Any, Any], core: NamedDependency[Core]
) -> Response[AccountView]:
    """Make an account. It pays from its balance, or afterwards with `postpaid`; give it a key next."""
    body = await read_body(request, AccountRequest)
    made = await core.accounts.create(
        body.name, tier=body.tier, admin=body.admin, postpaid=body.postpaid, balance=body.balance
    )
    return json_response(account_view(made), 201)


@post("/api/admin/topup", status_code=200, summary="Add money to an account", tags=["Operators"], opt=ADMIN)
async def top_up(request: Request[Any, Any, Any], core: NamedDependency[Core]) -> Response[AccountView]:
    """Enter a payment. With a `reference` it counts once, however often it is sent."""
    body = await read_body(request, TopUpRequest)
    return json_response(
        account_view(await core.accounts.top_up(body.account_id, body.amount, body.reference))
    )


@get("/api/admin/accounts/{account_id:str}/keys", summary="An account's keys", tags=["Operators"], opt=ADMIN)
async def account_keys(account_id: FromPath[str], core: NamedDependency[Core]) -> Response[KeyList]:
    """An account's API keys, oldest first; without their secrets, which nobody has."""
    return json_response(KeyList(keys=tuple(key_view(k) for k in await core.accounts.keys(account_id))))


@post(
    "/api/admin/accounts/{account_id:str}/keys",
    status_code=201,
    summary="Make an API key",
    tags=["Operators"],
    opt=ADMIN,
)
async def create_key(
    account_id: FromPath[str], request: Request[Any, Any, Any], core: NamedDependency[Core]
) -> Response[NewKeyView]:
    """Make an API key. `key` is in this answer and never shown again."""
    body = await read_body(request, KeyRequest)
    row, key = await core.accounts.create_key(account_id, body.name, expires_in_days=body.expires_in_days)
    return json_response(new_key_view(row, key), 201, {"Cache-Control": "no-store"})


@delete(
    "/api/admin/keys/{key_id:str}",
    status_code=200,
    summary="Revoke an API key",
    tags=["Operators"],
    opt=ADMIN,
)
async def revoke_key(key_id: FromPath[str], core: NamedDependency[Core]) -> Response[KeyView]:
    """Take an API key back, at once and for good."""
    return json_response(key_view(await core.accounts.revoke(key_id)))
