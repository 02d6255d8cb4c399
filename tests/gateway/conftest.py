"""The whole application in this process, over ASGI, with the shipped registry."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from gateway.app import create_app
from gateway.lifespan import running
from gateway.settings import load_settings


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a gateway that listens nowhere. Problems of its own are raised in the test."""
    app = create_app(load_settings({"GATEWAY_DATA_DIR": str(tmp_path / "data")}))
    transport = httpx.ASGITransport(app=app)  # type: ignore[arg-type]  # Litestar types scopes itself
    async with running(app), httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as http:
        yield http
