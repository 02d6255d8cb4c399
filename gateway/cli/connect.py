"""How a command reaches a gateway: the one that runs here, or one inside its own process."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from rich.console import Console

from gateway.client import GatewayClient
from gateway.settings import Settings

__all__ = ["MESSAGES", "open_gateway", "running_gateway"]

MESSAGES = Console(stderr=True)


@asynccontextmanager
async def open_gateway(settings: Settings) -> AsyncIterator[GatewayClient]:
    """The gateway that runs here, or one inside this process for as long as the command takes."""
    async with running_gateway(settings) as client:
        if client is not None:
            yield client
            return
    async with _own_gateway(settings) as own:
        yield own


@asynccontextmanager
async def running_gateway(settings: Settings) -> AsyncIterator[GatewayClient | None]:
    """The gateway that runs here; None when none answers."""
    async with httpx.AsyncClient(base_url=settings.public_url, timeout=30, trust_env=False) as http:
        yield GatewayClient(http) if await _answers(http) else None


async def _answers(http: httpx.AsyncClient) -> bool:
    try:
        return (await http.get("/health/live", timeout=2)).is_success
    except httpx.TransportError:
        return False


@asynccontextmanager
async def _own_gateway(settings: Settings) -> AsyncIterator[GatewayClient]:
    from gateway.app import create_app
    from gateway.lifespan import running
    from gateway.locks import hold_folder
    from gateway.server import engine_supervisor

    MESSAGES.print("no gateway runs here: starting one for this command", style="dim")
    with hold_folder(settings.data_dir):
        supervisor = engine_supervisor(settings)
        if supervisor is not None:
            await asyncio.to_thread(supervisor.start)
            await asyncio.to_thread(supervisor.wait_ready, 60.0)
        try:
            app = create_app(settings)
            async with (
                running(app),
                httpx.AsyncClient(
                    transport=httpx.ASGITransport(app=app),  # type: ignore[arg-type]  # Litestar types scopes itself
                    base_url=settings.public_url,
                ) as http,
            ):
                yield GatewayClient(http)
        finally:
            if supervisor is not None:
                await asyncio.to_thread(supervisor.stop)
