"""Counts requests, and how long it takes until their answers begin."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from litestar.datastructures import State
from litestar.types import Message, Scope, Send

if TYPE_CHECKING:
    from gateway.core import Core

__all__ = ["HttpMetrics"]


class HttpMetrics:
    """Listens to the answers of an application.

    Args:
        state: the application's, which has its `core` once it has started.
        monotonic: seconds.
    """

    def __init__(self, state: State, monotonic: Callable[[], float]) -> None:
        self._state = state
        self._monotonic = monotonic

    def __call__(self, scope: Scope, send: Send) -> Send:
        """What a request's answer is to be sent through.

        The end of an answer says how quickly a client reads, and that of a stream when its job ended; so
        its beginning is what is timed.
        """
        begun = self._monotonic()

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._count(scope, message["status"], self._monotonic() - begun)
            await send(message)

        return counted

    def _count(self, scope: Scope, status: int, seconds: float) -> None:
        core: Core | None = self._state.get("core")
        if core is not None:
            # The router puts the template there when it has found a route.
            route = scope.get("path_template") or ""
            core.metrics.request(str(scope.get("method", "")), str(route), status, seconds)
