"""Who may call which route: decided by the matched handler, before a body is read.

A handler needs an account unless it says otherwise with `opt=PUBLIC` or `opt=ADMIN`, so that a
new route that says nothing is closed. `tests/gateway/test_access.py` holds the table.
"""

from typing import Any

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from gateway.accounts.principals import Principal
from gateway.core import Core
from gateway.problems import Problem

__all__ = ["ADMIN", "PUBLIC", "access_of", "authorise", "principal"]

OPT = "access"
PUBLIC = {OPT: "public"}
"""For anybody."""
ADMIN = {OPT: "admin"}
"""For accounts with the admin's right, and for the local operator."""


def access_of(handler: BaseRouteHandler) -> str:
    """`public`, `account` or `admin`."""
    return str(handler.opt.get(OPT, "account"))


async def authorise(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Litestar's guard of every route: find out who calls, and whether they may.

    Raises:
        Problem: `authentication_required`, `invalid_api_key`, `admin_required`.
        DatabaseUnavailable: the keys cannot be read.
    """
    access = access_of(handler)
    if access == "public":
        return
    core: Core = connection.app.state.core
    found = await core.gatekeeper.principal(connection.headers.getall("authorization", []))
    if access == "admin" and not found.admin:
        raise Problem(
            "admin_required",
            "This route is for admins, and the account of this API key is none. Use an admin's key, "
            "or the command line on the gateway's machine",
        )
    connection.state.principal = found


def principal(request: Request[Any, Any, Any]) -> Principal:
    """Who calls, for handlers that ask for a `principal`."""
    found: Principal = request.state.principal
    return found
