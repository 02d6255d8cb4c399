"""Who may call which route: every route has a row here, and each row is asked as everybody."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from litestar import Litestar
from litestar.routes import HTTPRoute

from gateway.access import access_of
from gateway.app import create_app
from gateway.core import Core
from gateway.guard import Guard
from gateway.lifespan import running
from gateway.settings import load_settings

# method, path -> who may call
ROUTES = {
    ("GET", "/health/live"): "public",
    ("GET", "/health/ready"): "public",
    ("GET", "/schema"): "public",
    ("GET", "/schema/openapi.json"): "public",
    ("GET", "/schema/assets/{name}"): "public",
    ("GET", "/schema/{path}"): "public",
    ("POST", "/api/images/generate"): "account",
    ("POST", "/api/images/estimate"): "account",
    ("GET", "/images/{image_id}"): "account",
    ("POST", "/api/uploads"): "account",
    ("GET", "/api/jobs"): "account",
    ("GET", "/api/jobs/{job_id}"): "account",
    ("DELETE", "/api/jobs/{job_id}"): "account",
    ("GET", "/api/models"): "account",
    ("GET", "/api/models/{model_id}"): "account",
    ("GET", "/api/intents"): "account",
    ("POST", "/diffusers/generate"): "account",
    ("GET", "/diffusers/models"): "account",
    ("GET", "/api/templates"): "account",
    ("POST", "/api/templates/{name}"): "account",
    ("GET", "/api/account"): "account",
    ("GET", "/api/admin/jobs"): "admin",
    ("GET", "/api/admin/jobs/{job_id}"): "admin",
    ("POST", "/api/admin/jobs/{job_id}/adopt"): "admin",
    ("POST", "/api/admin/jobs/{job_id}/fail"): "admin",
    ("GET", "/api/admin/accounts"): "admin",
    ("POST", "/api/admin/accounts"): "admin",
    ("GET", "/api/admin/accounts/{account_id}/keys"): "admin",
    ("POST", "/api/admin/accounts/{account_id}/keys"): "admin",
    ("DELETE", "/api/admin/keys/{key_id}"): "admin",
    ("POST", "/api/admin/topup"): "admin",
}


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[Guard]:
    """A gateway that asks for API keys."""
    app = create_app(load_settings({"GATEWAY_DATA_DIR": str(tmp_path), "GATEWAY_AUTH": "required"}))
    assert isinstance(app, Guard)
    async with running(app):
        yield app


def litestar(app: Guard) -> Litestar:
    assert isinstance(app.app, Litestar)
    return app.app


async def key_of(core: Core, *, admin: bool = False) -> tuple[str, str]:
    """A new account's id, and a key of it."""
    made = await core.accounts.create("x", tier="normal", admin=admin, postpaid=True, balance=None)
    _, key = await core.accounts.create_key(made.account.id, "x", expires_in_days=None)
    return made.account.id, key.text


def client(app: Guard, key: str | None) -> httpx.AsyncClient:
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    transport = httpx.ASGITransport(app=app)  # type: ignore[arg-type]  # Litestar types scopes itself
    return httpx.AsyncClient(transport=transport, base_url="http://gateway.test", headers=headers)


async def ask(http: httpx.AsyncClient, method: str, path: str) -> httpx.Response:
    """Ask with a body that no route takes, so that nothing is done."""
    plain = path.replace("{", "").replace("}", "")
    body = {"content": b"[", "headers": {"Content-Type": "application/json"}} if method == "POST" else {}
    return await http.request(method, plain, **body)


def code(response: httpx.Response) -> str:
    return str(response.json()["code"])


async def test_every_route_has_a_row_and_the_handler_says_the_same(app) -> None:
    found = {
        (method, route.path_format): access_of(handler)
        for route in litestar(app).routes
        if isinstance(route, HTTPRoute)
        for method, (handler, _) in route.route_handler_map.items()
        if method not in ("OPTIONS", "HEAD")
    }
    assert found == ROUTES


@pytest.mark.parametrize(("method", "path"), ROUTES, ids=" ".join)
async def test_a_route_as_everybody(app, method, path) -> None:
    core = litestar(app).state.core
    access = ROUTES[method, path]
    revoked_id, revoked = await key_of(core, admin=True)
    await core.accounts.revoke((await core.accounts.keys(revoked_id))[0].id)
    for key, expected in ((None, "authentication_required"), (revoked, "invalid_api_key")):
        async with client(app, key) as http:
            answer = await ask(http, method, path)
        assert (answer.status_code == 401) == (access != "public"), answer.text
        if access != "public":
            assert code(answer) == expected
            assert answer.headers["www-authenticate"].startswith("Bearer")
    async with client(app, (await key_of(core))[1]) as http:
        answer = await ask(http, method, path)
    assert answer.status_code != 401
    assert (answer.status_code == 403) == (access == "admin"), answer.text
    if access == "admin":
        assert code(answer) == "admin_required"
        assert "Use an admin's key, or the command line" in answer.json()["detail"]
    async with client(app, (await key_of(core, admin=True))[1]) as http:
        answer = await ask(http, method, path)
    assert answer.status_code not in (401, 403, 500), answer.text


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
        (method.upper(), path): "account" if operation["security"] else "public"
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    }
    for place, access in needed.items():
        assert (access == "public") == (ROUTES[place] == "public"), place
    assert len(needed) > 20
