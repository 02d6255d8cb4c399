"""Who may call which route: every route has a row here, and each row is asked as everybody."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from litestar.routes import HTTPRoute
from msgspec.structs import replace
from sqlalchemy import update
from support.closed_app import client, closed_app, litestar
from support.people import BY

from gateway.access import access_of
from gateway.accounts.logins import insert_session
from gateway.accounts.scopes import SCOPES, Scope
from gateway.accounts.service import Change
from gateway.accounts.sessions import new_session
from gateway.bodies import BODY_METHODS
from gateway.core import Core
from gateway.db.tables import api_key
from gateway.guard import Guard

# method, path -> who may call
ROUTES = {
    ("GET", "/health/live"): "public",
    ("GET", "/health/ready"): "public",
    ("GET", "/metrics"): "metrics",
    ("GET", "/schema"): "public",
    ("GET", "/schema/openapi.json"): "public",
    ("GET", "/schema/assets/{name}"): "public",
    ("GET", "/schema/{path}"): "public",
    ("POST", "/api/images/generate"): "generate",
    ("POST", "/api/images/estimate"): "read",
    ("GET", "/images/{image_id}"): "link",
    ("POST", "/api/uploads"): "generate",
    ("GET", "/api/jobs"): "read",
    ("GET", "/api/jobs/counts"): "read",
    ("GET", "/api/jobs/{job_id}"): "read",
    ("DELETE", "/api/jobs/{job_id}"): "generate",
    ("GET", "/api/jobs/{job_id}/events"): "read",
    ("GET", "/api/models"): "read",
    ("GET", "/api/models/{model_id}"): "read",
    ("GET", "/api/intents"): "read",
    ("POST", "/api/admin/registry/reload"): "admin",
    ("POST", "/diffusers/generate"): "generate",
    ("GET", "/diffusers/models"): "read",
    ("GET", "/api/templates"): "read",
    ("GET", "/api/templates/{name}"): "read",
    ("GET", "/api/templates/{name}/thumbnail"): "read",
    ("POST", "/api/templates"): "generate",
    ("POST", "/api/templates/{name}"): "generate",
    ("POST", "/api/templates/{name}/estimate"): "read",
    ("POST", "/api/templates/{name}/preview"): "read",
    ("GET", "/api/account"): "read",
    ("POST", "/api/auth/signup"): "public",
    ("POST", "/api/auth/verify"): "public",
    ("POST", "/api/auth/signin"): "public",
    ("POST", "/api/auth/reset"): "public",
    ("POST", "/api/auth/reset/confirm"): "public",
    ("POST", "/api/auth/signout"): "session",
    ("POST", "/api/auth/password"): "session",
    ("GET", "/auth/verify"): "public",
    ("GET", "/auth/reset"): "public",
    ("GET", "/auth/assets/{name}"): "public",
    ("GET", "/api/keys"): "manage",
    ("POST", "/api/keys"): "manage",
    ("DELETE", "/api/keys/{key_id}"): "manage",
    ("GET", "/api/billing/budgets"): "read",
    ("PUT", "/api/billing/budgets"): "manage",
    ("DELETE", "/api/billing/budgets"): "manage",
    ("GET", "/api/admin/accounts/{account_id}/budgets"): "admin",
    ("PUT", "/api/admin/accounts/{account_id}/budgets"): "admin",
    ("DELETE", "/api/admin/accounts/{account_id}/budgets"): "admin",
    ("PATCH", "/api/admin/accounts/{account_id}"): "admin",
    ("POST", "/api/admin/accounts/{account_id}/login"): "admin",
    ("GET", "/api/admin/invites"): "admin",
    ("POST", "/api/admin/invites"): "admin",
    ("GET", "/api/admin/audit"): "admin",
    ("GET", "/api/admin/jobs"): "admin",
    ("GET", "/api/admin/jobs/counts"): "admin",
    ("GET", "/api/admin/jobs/{job_id}"): "admin",
    ("POST", "/api/admin/jobs/{job_id}/adopt"): "admin",
    ("POST", "/api/admin/jobs/{job_id}/fail"): "admin",
    ("GET", "/api/admin/accounts"): "admin",
    ("POST", "/api/admin/accounts"): "admin",
    ("GET", "/api/admin/accounts/{account_id}/keys"): "admin",
    ("POST", "/api/admin/accounts/{account_id}/keys"): "admin",
    ("DELETE", "/api/admin/keys/{key_id}"): "admin",
    ("POST", "/api/admin/topup"): "admin",
    ("POST", "/api/admin/refund"): "admin",
    ("POST", "/api/admin/credit"): "admin",
    ("POST", "/api/admin/payout"): "admin",
    ("POST", "/api/admin/adjust"): "admin",
    ("GET", "/api/admin/billing/verify"): "admin",
    ("GET", "/api/billing/balance"): "read",
    ("GET", "/api/billing/ledger"): "read",
    ("GET", "/api/billing/usage"): "read",
    ("GET", "/api/billing/statements"): "read",
    ("GET", "/api/billing/statements/{month}"): "read",
    ("GET", "/api/admin/billing/usage"): "admin",
    ("GET", "/api/admin/accounts/{account_id}/ledger"): "admin",
    ("GET", "/api/admin/accounts/{account_id}/statements/{month}"): "admin",
    ("GET", "/api/admin/billing/variance"): "admin",
    ("POST", "/api/admin/billing/corrections"): "admin",
    ("POST", "/webhooks/fal/{secret}"): "public",
    ("GET", "/api/webhooks"): "manage",
    ("POST", "/api/webhooks"): "manage",
    ("GET", "/api/webhooks/{webhook_id}/secret"): "manage",
    ("POST", "/api/webhooks/{webhook_id}/test"): "manage",
    ("POST", "/api/webhooks/{webhook_id}/enable"): "manage",
    ("DELETE", "/api/webhooks/{webhook_id}"): "manage",
    ("GET", "/api/deliveries"): "read",
    ("POST", "/api/deliveries/{delivery_id}/redeliver"): "generate",
    ("GET", "/api/admin/outbox"): "admin",
    ("POST", "/api/admin/outbox/{delivery_id}/redeliver"): "admin",
}


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[Guard]:
    """A gateway that asks for API keys."""
    async with closed_app(tmp_path) as app:
        yield app


EVERY = frozenset(SCOPES)


async def key_of(
    core: Core, *, admin: bool = False, scopes: frozenset[Scope] = EVERY, days: int | None = None
) -> tuple[str, str]:
    """A new account's id, and a key of it."""
    made = await core.accounts.create("x", tier="premium", admin=admin, postpaid=True, balance=None, by=BY)
    account_id = made.account.id
    _, key = await core.accounts.create_key(account_id, "x", expires_in_days=days, scopes=scopes, by=BY)
    return account_id, key.text


async def session_of(core: Core, account_id: str, expires_in_ms: int = 60_000) -> str:
    """The token of an account's session."""
    at = core.ambient.now_ms()
    made, row = new_session(core.ambient, account_id, "-", "tests", at)
    await core.db.write(lambda c: insert_session(c, replace(row, expires_at=at + expires_in_ms)))
    return made.token


async def ask(http: httpx.AsyncClient, method: str, path: str) -> httpx.Response:
    """Ask with a body that no route takes, so that nothing is done."""
    plain = path.replace("{", "").replace("}", "")
    body = (
        {"content": b"[", "headers": {"Content-Type": "application/json"}} if method in BODY_METHODS else {}
    )
    return await http.request(method, plain, **body)


def code(response: httpx.Response) -> str:
    return str(response.json()["code"])


async def test_every_route_has_a_row_and_the_handler_says_the_same(app) -> None:
    found = {
        (method, route.path_format): access_of(handler, method)
        for route in litestar(app).routes
        if isinstance(route, HTTPRoute)
        for method, (handler, _) in route.route_handler_map.items()
        if method not in ("OPTIONS", "HEAD")
    }
    assert found == ROUTES


class Callers:
    """One of each kind, on one gateway."""

    def __init__(self, core: Core) -> None:
        self.core = core

    async def make(self) -> dict[str, str | None]:
        """Credentials, by who has them."""
        core = self.core
        revoked_id, revoked = await key_of(core, admin=True)
        await core.accounts.revoke((await core.accounts.keys(revoked_id))[0].id, by=BY)
        _, expired = await key_of(core, admin=True, days=1)
        await core.db.write(
            lambda c: c.execute(update(api_key).values(expires_at=1).where(api_key.c.expires_at > 1))
        )
        closed_id, closed = await key_of(core)
        await core.accounts.change(closed_id, Change(closed=True), BY)
        user_id, user = await key_of(core)
        admin_id, admin = await key_of(core, admin=True)
        scopes = {f"key:{scope}": (await key_of(core, scopes=frozenset((scope,))))[1] for scope in SCOPES}
        return {
            "nobody": None,
            "revoked": revoked,
            "expired": expired,
            "closed": closed,
            "user": user,
            "admin": admin,
            "session": await session_of(core, user_id),
            "admin's session": await session_of(core, admin_id),
            "ended session": await session_of(core, admin_id, expires_in_ms=-1),
            **scopes,
        }


REFUSED = {
    "nobody": "authentication_required",
    "revoked": "invalid_api_key",
    "expired": "invalid_api_key",
    "ended session": "invalid_session",
    "closed": "account_closed",
}


def expected(access: str, who: str) -> str | None:
    """The code that refuses somebody a route; None when they are let in."""
    if access == "public":
        return None
    if who in REFUSED:
        return REFUSED[who]
    if access in ("admin", "metrics"):
        return None if who.startswith("admin") else "admin_required"
    if access == "session":
        return None if "session" in who else "session_required"
    if who.startswith("key:"):
        needed = "read" if access == "link" else access
        return None if who == f"key:{needed}" else "missing_scope"
    return None


def test_a_body_comes_by_a_method_that_the_guard_looks_at() -> None:
    assert {method for method, _ in ROUTES} == {"GET", "DELETE", *BODY_METHODS}


async def test_every_route_as_everybody(app) -> None:
    callers = await Callers(litestar(app).state.core).make()
    wrong = []
    for (method, path), access in ROUTES.items():
        for who, credential in callers.items():
            if access == "session" and who == "session":
                continue  # it would sign itself out; the stories do that
            async with client(app, credential) as http:
                answer = await ask(http, method, path)
            refusal = expected(access, who)
            if refusal is None:
                good = answer.status_code not in (401, 403) and answer.status_code < 500
            else:
                good = answer.status_code in (401, 403) and code(answer) == refusal
            if answer.status_code == 401:
                good = good and answer.headers["www-authenticate"].startswith("Bearer")
            if not good:
                wrong.append((who, method, path, answer.status_code, answer.text[:200]))
    assert wrong == []


async def test_what_is_anothers_is_not_there(app) -> None:
    """Every route that names a thing of an account: not there for another, whatever it is."""
    core = litestar(app).state.core
    ann, _ = await key_of(core)
    keys = await core.accounts.keys(ann)
    async with client(app, (await key_of(core))[1]) as http:
        for method, path in (
            ("DELETE", f"/api/keys/{keys[0].id}"),
            ("GET", "/api/jobs/job_of_ann"),
            ("DELETE", "/api/jobs/job_of_ann"),
            ("GET", "/api/jobs/job_of_ann/events"),
            ("GET", "/images/img_of_ann"),
        ):
            answer = await http.request(method, path)
            assert (answer.status_code, code(answer)) == (404, "not_found"), path
    assert (await core.accounts.keys(ann))[0].revoked_at is None


async def test_who_calls_is_found_out_before_the_body_is_read(app) -> None:
    async def receive():
        raise AssertionError("the body was read")

    sent = []

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http", "method": "POST", "path": "/api/uploads", "raw_path": b"/api/uploads",
        "scheme": "http", "query_string": b"", "root_path": "", "http_version": "1.1",
        "headers": [(b"host", b"x"), (b"content-type", b"image/png")],
        "server": ("127.0.0.1", 80), "client": ("127.0.0.1", 5), "app": None,
    }  # fmt: skip
    await app(scope, receive, send)
    assert sent[0]["status"] == 401


async def test_a_bad_query_of_nobody_is_first_of_all_nobodys(app) -> None:
    async with client(app, None) as http:
        assert code(await http.get("/api/jobs?limit=1000")) == "authentication_required"


async def test_names_and_origins_say_nothing_where_keys_are_required(app) -> None:
    _, key = await key_of(litestar(app).state.core)
    async with client(app, key) as http:
        answer = await http.get("/api/models", headers={"Origin": "https://app.example.org"})
    assert answer.status_code == 200


async def test_the_document_says_where_a_key_is_needed(app) -> None:
    async with client(app, None) as http:
        document = (await http.get("/schema/openapi.json")).json()
    (scheme,) = document["components"]["securitySchemes"].values()
    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")
    needed = {
        (method.upper(), path): "generate" if operation["security"] else "public"
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    }
    for place, access in needed.items():
        assert (access == "public") == (ROUTES[place] == "public"), place
    assert len(needed) > 20
