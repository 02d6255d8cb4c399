"""Who may call which route: decided by the matched handler, before a body is read.

A handler needs an account unless it says otherwise with `opt=PUBLIC` or `opt=ADMIN`, so that a
new route that says nothing is closed. What an API key must be good for follows from the method,
unless the handler says that too. `tests/gateway/test_access.py` holds the table.
"""

import hmac
from typing import Any

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from structlog.contextvars import bind_contextvars

from gateway.accounts.audit import Actor
from gateway.accounts.principals import Caller, Principal
from gateway.accounts.scopes import Scope
from gateway.core import Core
from gateway.network import client_address, origin_of
from gateway.problems import Problem

__all__ = [
    "ADMIN",
    "LINK",
    "MANAGE",
    "METRICS",
    "PUBLIC",
    "READ",
    "SESSION",
    "access_of",
    "authorise",
    "cookie_name",
    "principal",
    "visitor",
]

Connection = ASGIConnection[Any, Any, Any, Any]

OPT = "access"
PUBLIC = {OPT: "public"}
"""For anybody."""
ADMIN = {OPT: "admin"}
"""For accounts with the admin's right, and for the local operator."""
READ = {OPT: "read"}
"""Although its method changes things, this route changes nothing."""
MANAGE = {OPT: "manage"}
"""For sessions, and for keys that may manage keys."""
LINK = {OPT: "link"}
"""For whoever has a signed link, which the handler checks; without one as `READ`."""
METRICS = {OPT: "metrics"}
"""For whoever has the token of `GATEWAY_METRICS_TOKEN`, also while the database is away; else as `ADMIN`."""
SESSION = {OPT: "session"}
"""For who is signed in with a password: an API key does not do."""

SAFE = ("GET", "HEAD", "OPTIONS")


def access_of(handler: BaseRouteHandler, method: str) -> str:
    """`public`, `session`, `link`, or the scope that a key needs: read, generate, manage, admin."""
    return str(handler.opt.get(OPT, "read" if method in SAFE else "generate"))


async def authorise(connection: Connection, handler: BaseRouteHandler) -> None:
    """Litestar's guard of every route: find out who calls, and whether they may.

    Raises:
        Problem: `authentication_required`, `invalid_api_key`, `invalid_session`, `account_closed`,
            `cross_site_request`, `admin_required`, `missing_scope`, `session_required`.
        DatabaseUnavailable: the keys cannot be read.
    """
    access = access_of(handler, connection.scope["method"])  # type: ignore[typeddict-item]  # HTTP has one
    if access == "link":
        access = "public" if "signature" in connection.query_params else "read"
    if access == "public":
        return
    core: Core = connection.app.state.core
    if access == "metrics":
        if _has_metrics_token(connection, core):
            return
        access = "admin"
    with core.tracing.span("access"):
        found = await core.gatekeeper.principal(_caller(connection, core))
    bind_contextvars(account_id=found.account_id)
    if access == "admin" and not found.admin:
        raise Problem(
            "admin_required",
            "This route is for admins, and the account of this API key is none. Use an admin's key, "
            "or the command line on the gateway's machine",
        )
    if access == "session":
        if found.session is None:
            raise Problem(
                "session_required", "Sign in for this: POST /api/auth/signin; an API key will not do"
            )
    elif access not in found.scopes:
        raise _missing(access, found.scopes)
    connection.state.principal = found


def _has_metrics_token(connection: Connection, core: Core) -> bool:
    token = core.settings.metrics_token
    if token is None:
        return False
    for one in connection.headers.getall("authorization", []):
        scheme, _, sent = one.partition(" ")
        if scheme.lower() == "bearer" and hmac.compare_digest(sent.strip().encode(), token.encode()):
            return True
    return False


def _missing(access: str, scopes: frozenset[Scope]) -> Problem:
    said = ", ".join(sorted(scopes)) or "nothing"
    return Problem(
        "missing_scope",
        f"This API key is good for {said}, and the route needs {access!r}. Make a key with that scope: "
        "POST /api/keys",
    )


def principal(request: Request[Any, Any, Any]) -> Principal:
    """Who calls, for handlers that ask for a `principal`."""
    found: Principal = request.state.principal
    return found


def visitor(request: Request[Any, Any, Any], core: Core) -> Actor:
    """Somebody who is not signed in, for the audit log and the limits."""
    return Actor(account_id="-", credential="-", address=_address(request, core))


def cookie_name(core: Core) -> str:
    """The session cookie's name. Over HTTPS a browser takes it from this very host alone (`__Host-`)."""
    return "__Host-igw_session" if core.settings.public_url.startswith("https://") else "igw_session"


def _address(connection: Connection, core: Core) -> str:
    peer = connection.client.host if connection.client else None
    forwarded = connection.headers.getall("x-forwarded-for", [])
    return client_address(peer, forwarded, core.settings.trusted_proxies)


def _caller(connection: Connection, core: Core) -> Caller:
    return Caller(
        authorization=connection.headers.getall("authorization", []),
        cookie=connection.cookies.get(cookie_name(core)),
        address=_address(connection, core),
        changes=connection.scope["method"] not in SAFE,  # type: ignore[typeddict-item]  # HTTP has one
        own_page=_is_own_page(connection, core),
    )


def _is_own_page(connection: Connection, core: Core) -> bool:
    """Whether a browser says that a page of this gateway sends the request.

    Browsers write these fields, and pages cannot: Sec-Fetch-Site since 2023 in all of them, Origin with
    every request that changes something.
    """
    site = connection.headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    return connection.headers.get("origin", "").lower() == origin_of(core.settings.public_url)
