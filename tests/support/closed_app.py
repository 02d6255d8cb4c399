"""A gateway that asks for API keys, in this process."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
from litestar import Litestar
from support.people import BY

from gateway.ambient import Ambient
from gateway.app import create_app
from gateway.guard import Guard
from gateway.lifespan import running
from gateway.settings import load_settings

__all__ = ["admin_and_ann", "client", "closed_app", "litestar"]


@asynccontextmanager
async def closed_app(data_dir: Path, ambient: Ambient | None = None, **env: str) -> AsyncIterator[Guard]:
    """The whole application, started, with more settings, or a time of its own."""
    settings = load_settings({"GATEWAY_DATA_DIR": str(data_dir), "GATEWAY_AUTH": "required", **env})
    app = create_app(settings, ambient)
    assert isinstance(app, Guard)
    async with running(app):
        yield app


def litestar(app: Guard) -> Litestar:
    """What the guard guards."""
    assert isinstance(app.app, Litestar)
    return app.app


def client(app: Guard, credential: str | None = None) -> httpx.AsyncClient:
    """Calls it, with a credential or as nobody."""
    headers = {} if credential is None else {"Authorization": f"Bearer {credential}"}
    transport = httpx.ASGITransport(app=app)  # type: ignore[arg-type]  # Litestar types scopes itself
    return httpx.AsyncClient(transport=transport, base_url="http://gateway.test", headers=headers)


@asynccontextmanager
async def admin_and_ann(
    app: Guard, *, tier: str
) -> AsyncIterator[tuple[httpx.AsyncClient, httpx.AsyncClient, str]]:
    """An admin's client, Ann's, and the id of her account, which pays afterwards and is of that tier."""
    accounts = litestar(app).state.core.accounts
    keys, ids = [], []
    for admin in (True, False):
        made = await accounts.create("x", tier=tier, admin=admin, postpaid=True, balance=None, by=BY)
        scopes = frozenset(("admin", "read") if admin else ("generate", "read"))
        _, key = await accounts.create_key(made.account.id, "x", expires_in_days=None, scopes=scopes, by=BY)
        keys.append(key.text)
        ids.append(made.account.id)
    async with client(app, keys[0]) as admins, client(app, keys[1]) as anns:
        yield admins, anns, ids[1]
