"""Runs an ASGI application's lifespan around a block, for a program that calls it in process."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from litestar.types import ASGIApp

__all__ = ["running"]

FAILURE_S = 5.0
"""What an application that reported a failure has to raise it."""


@asynccontextmanager
async def running(app: ASGIApp) -> AsyncIterator[None]:
    """Start the application, run the block, stop the application (ASGI lifespan protocol 2.0).

    Raises:
        Exception: what the application raised when it could not start.
        RuntimeError: it could not start, and raised nothing.
    """
    inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    outbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    scope: Any = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": {}}
    task = asyncio.ensure_future(app(scope, inbox.get, outbox.put))  # type: ignore[arg-type]  # plain queues

    async def step(name: str) -> None:
        await inbox.put({"type": f"lifespan.{name}"})
        answer = asyncio.ensure_future(outbox.get())
        await asyncio.wait({answer, task}, return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            answer.cancel()
            await _outcome(task)
            raise RuntimeError(f"the application ended during {name}")
        if answer.result()["type"].endswith("failed"):
            await asyncio.wait({task}, timeout=FAILURE_S)
            if task.done():
                await _outcome(task)
            task.cancel()
            raise RuntimeError(answer.result().get("message") or f"the application failed at {name}")

    await step("startup")
    try:
        yield
    finally:
        await step("shutdown")
        await _outcome(task)


async def _outcome(task: asyncio.Future[None]) -> None:
    """Raise what the application raised, out of the groups that task groups wrap it in."""
    try:
        await task
    except BaseExceptionGroup as group:
        alone: BaseException = group
        while isinstance(alone, BaseExceptionGroup) and len(alone.exceptions) == 1:
            alone = alone.exceptions[0]
        raise alone from None
