"""A gateway together with the Modal that it calls and the hub that Modal's containers ask."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from support.gateway_process import GatewayProcess
from support.modal_control_plane import ControlPlane
from support.modal_hub import Hub

__all__ = ["World", "serving"]


@dataclass
class World:
    """A gateway, the Modal that it calls, and the hub that Modal's containers ask."""

    gateway: GatewayProcess
    plane: ControlPlane
    hub: Hub

    def raw(self, model: str, inputs: str = "a fox", **parameters: Any) -> httpx.Response:
        body = {"model_id": model, "inputs": inputs, "parameters": parameters}
        return self.gateway.http.post("/diffusers/generate", json=body)

    def command(self, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "gateway", *arguments]
        return subprocess.run(
            command, env={**self.gateway.env, **env}, capture_output=True, text=True, timeout=120
        )

    def deploy(self, **env: str) -> None:
        ended = self.command("backend", "deploy", **env)
        assert ended.returncode == 0, ended.stdout + ended.stderr


@contextmanager
def serving(hub: Hub) -> Iterator[str]:
    """The hub's address, for as long as the block runs; it is served on a thread of its own."""
    loop, found, over = asyncio.new_event_loop(), Future[str](), asyncio.Event()

    async def serve() -> None:
        async with hub.serve() as url:
            found.set_result(url)
            await over.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), name="hub")
    thread.start()
    try:
        yield found.result(30)
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(10)
        loop.close()
