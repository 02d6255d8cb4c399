"""How a command reaches a gateway: the one that runs here, or one inside its own process."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from rich.console import Console

from gateway.accounts.operator import operator_key, read_operator_key
from gateway.ambient import Ambient
from gateway.client import GatewayClient
from gateway.settings import Settings

__all__ = ["MESSAGES", "open_gateway", "running_gateway"]

MESSAGES = Console(stderr=True)


@asynccontextmanager
async def open_gateway(settings: Settings, *, run_jobs: bool = True) -> AsyncIterator[GatewayClient]:
    """The gateway that runs here, or one inside this process for as long as the command takes.

    Args:
        settings: the settings.
        run_jobs: whether one inside this process has an engine, and resumes jobs of the last run.
    """
    async with running_gateway(settings) as client:
        if client is not None:
            yield client
            return
    async with _own_gateway(settings, run_jobs) as own:
        yield own


@asynccontextmanager
async def running_gateway(settings: Settings) -> AsyncIterator[GatewayClient | None]:
    """The gateway that runs; None when none answers.

    With GATEWAY_API_KEY it is the one at GATEWAY_PUBLIC_URL, wherever that is. Without, it is the
    one of this machine, called as its operator: with the key in its data folder, which is never
    sent anywhere else.
    """
    url, key = _where(settings)
    async with httpx.AsyncClient(base_url=url, timeout=30, trust_env=False, headers=_bearer(key)) as http:
        yield (
            GatewayClient(http, streams=True)
            if await _answers(http, needed=settings.api_key is not None)
            else None
        )


def _where(settings: Settings) -> tuple[str, str | None]:
    """The URL of the gateway to call, and the key to call it with."""
    if settings.api_key is not None:
        return settings.public_url, settings.api_key
    operator = read_operator_key(settings.data_dir)
    return (settings.local_url, None) if operator is None else (operator.url, operator.key)


def _bearer(key: str | None) -> dict[str, str]:
    return {} if key is None else {"Authorization": f"Bearer {key}"}


async def _answers(http: httpx.AsyncClient, *, needed: bool) -> bool:
    """Whether a gateway answers; a gateway that somebody named must, or the command fails."""
    try:
        answer = await http.get("/health/live", timeout=2)
        # A worker has no API.
        return answer.is_success and b'"worker"' not in answer.content
    except httpx.TransportError:
        if needed:
            raise
        return False


@asynccontextmanager
async def _own_gateway(settings: Settings, run_jobs: bool) -> AsyncIterator[GatewayClient]:
    from gateway.app import create_app
    from gateway.lifespan import running
    from gateway.locks import hold_folder
    from gateway.server import engine_supervisor

    ambient = Ambient()
    with (
        hold_folder(settings.data_dir),
        operator_key(settings.data_dir, settings.local_url, ambient) as operator,
    ):
        supervisor = engine_supervisor(settings) if run_jobs and settings.run_jobs else None
        if supervisor is not None:
            MESSAGES.print("no gateway runs here: starting one for this command", style="dim")
            await asyncio.to_thread(supervisor.start)
            await asyncio.to_thread(supervisor.wait_ready, 60.0)
        try:
            app = create_app(settings, ambient, run_jobs=run_jobs)
            async with (
                running(app),
                httpx.AsyncClient(
                    transport=httpx.ASGITransport(app=app),  # type: ignore[arg-type]  # Litestar types scopes itself
                    base_url=settings.local_url,
                    headers=_bearer(operator.key),
                ) as http,
            ):
                yield GatewayClient(http)
        finally:
            if supervisor is not None:
                await asyncio.to_thread(supervisor.stop)
