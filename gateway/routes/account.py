"""`GET /api/account`, `/api/keys`: what one has, and one's own keys."""

from typing import Any

from litestar import Request, Response, delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from gateway.access import MANAGE
from gateway.accounts.principals import Principal
from gateway.accounts.schemas import (
    AccountView,
    KeyList,
    KeyRequest,
    KeyView,
    NewKeyView,
    account_view,
    key_view,
    new_key_view,
)
from gateway.answers import takes
from gateway.bodies import read_body
from gateway.core import Core
from gateway.problems import Problem
from gateway.schemas import json_response

__all__ = ["create_own_key", "own_keys", "revoke_own_key", "your_account"]


@get("/api/account", summary="Your account", tags=["Account"])
async def your_account(
    core: NamedDependency[Core], principal: NamedDependency[Principal]
) -> Response[AccountView]:
    """Who you are to the gateway, and what you have."""
    found = await core.accounts.find(principal.account_id)
    return json_response(account_view(found, core.ambient.now_ms()))


@get("/api/keys", summary="Your API keys", tags=["Account"], opt=MANAGE)
async def own_keys(core: NamedDependency[Core], principal: NamedDependency[Principal]) -> Response[KeyList]:
    """Your API keys, oldest first; without their secrets, which nobody has."""
    rows = await core.accounts.keys(principal.account_id)
    limits = await core.office.budgets.of_keys(rows)
    return json_response(KeyList(keys=tuple(key_view(row, limits) for row in rows)))


@post(
    "/api/keys",
    status_code=201,
    summary="Make an API key",
    tags=["Account"],
    opt=MANAGE | takes(KeyRequest, {"name": "laptop", "expiresInDays": 90}),
)
async def create_own_key(
    request: Request[Any, Any, Any], core: NamedDependency[Core], principal: NamedDependency[Principal]
) -> Response[NewKeyView]:
    """Make an API key. `key` is in this answer and never shown again.

    A key makes no key that is good for more than itself, and none at all if it has a budget.
    """
    body = await read_body(request, KeyRequest)
    await core.office.budgets.check_unbounded(principal)
    scopes = frozenset(body.scopes)
    beyond = scopes - principal.scopes
    if beyond:
        missing = ", ".join(sorted(beyond))
        raise Problem("missing_scope", f"This API key is not good for {missing}, and gives nobody that")
    row, key = await core.accounts.create_key(
        principal.account_id,
        body.name,
        expires_in_days=body.expires_in_days,
        scopes=scopes,
        budget=body.budget,
        monthly_budget=body.monthly_budget,
        by=principal.actor,
    )
    limits = await core.office.budgets.of_keys([row])
    return json_response(new_key_view(row, key, limits), 201, {"Cache-Control": "no-store"})


@delete("/api/keys/{key_id:str}", status_code=200, summary="Revoke an API key", tags=["Account"], opt=MANAGE)
async def revoke_own_key(
    key_id: FromPath[str], core: NamedDependency[Core], principal: NamedDependency[Principal]
) -> Response[KeyView]:
    """Take an API key of yours back, at once and for good."""
    row = await core.accounts.revoke(key_id, principal.actor, principal.account_id)
    return json_response(key_view(row, await core.office.budgets.of_keys([row])))
