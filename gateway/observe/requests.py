"""Each request: what is said beside every line that is logged for it, a line at its end, and its span."""

import logging
import re
from collections.abc import Awaitable, Callable

from litestar.types import HTTPScope, Message, Receive, Send
from structlog.contextvars import bind_contextvars, clear_contextvars

from gateway.ambient import Ambient
from gateway.observe import genai
from gateway.observe.logs import request_log
from gateway.observe.redact import Redactor
from gateway.observe.tracing import OFF, Span, Tracing

__all__ = ["Requests"]

UNMATCHED = "unmatched"
"""The route of a request that no handler takes. Its path may be anything, and is not told."""
QUIET = ("/health/", "/metrics")
"""Machines ask these every few seconds."""
SECRET_PATHS = ("/webhooks/",)
OTHER = "_OTHER"
"""A method that there is not."""
METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
TRACEPARENT = re.compile(rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}.{0,200}")
GONE = 499
"""In place of a status, where the client went away before there was one."""


Answer = Callable[[HTTPScope, Receive, Send], Awaitable[None]]


class Requests:
    """Watches requests.

    Args:
        ambient: time and ids.
    """

    def __init__(self, ambient: Ambient) -> None:
        self.ambient = ambient
        self.tracing: Tracing = OFF
        """Set when the application has started."""
        self._redactor = Redactor()

    async def watch(self, answer: Answer, scope: HTTPScope, receive: Receive, send: Send) -> None:
        """Have a request answered, under an id of its own, and note how.

        Args:
            answer: the application that does.
            scope: ASGI's, as the next two.
            receive: the request's body.
            send: takes the answer.
        """
        clear_contextvars()
        request_id = self.ambient.new_id("req")
        scope.setdefault("state", {})["request_id"] = request_id
        bind_contextvars(request_id=request_id)
        started, status = self.ambient.monotonic(), GONE

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        with self._span(scope, request_id) as span:
            if span.trace_id is not None:
                bind_contextvars(trace_id=span.trace_id)
            try:
                await answer(scope, receive, noted)
            finally:
                seconds = self.ambient.monotonic() - started
                self._end(scope, span, status, seconds)
        clear_contextvars()

    def _span(self, scope: HTTPScope, request_id: str) -> Span:
        if not self.tracing.on:
            return self.tracing.span("")
        method = scope["method"] if scope["method"] in METHODS else OTHER
        attributes: genai.Attributes = {
            genai.METHOD: method,
            genai.SCHEME: scope["scheme"],
            genai.REQUEST_ID: request_id,
        }
        given = [value for name, value in scope["headers"] if name.lower() == b"traceparent"]
        parent = given[0].decode() if len(given) == 1 and TRACEPARENT.fullmatch(given[0]) else None
        return self.tracing.span(method, attributes, kind="server", parent=parent)

    def _end(self, scope: HTTPScope, span: Span, status: int, seconds: float) -> None:
        method = scope["method"] if scope["method"] in METHODS else OTHER
        route, code = scope.get("path_template") or UNMATCHED, scope["state"].get("problem")
        more = {"method": method, "route": route, "status": status, "ms": round(seconds * 1000, 1)}
        if code is not None:
            more["code"] = code
        level = logging.DEBUG if route.startswith(QUIET) else logging.INFO
        request_log.log(level, "%s %s %d", method, route, status, extra=more)
        if not self.tracing.on:
            return
        span.set(genai.STATUS, status)
        if route != UNMATCHED:
            span.rename(f"{method} {route}")
            span.set(genai.ROUTE, route)
            secret = route.startswith(SECRET_PATHS)
            span.set(genai.PATH, route if secret else self._redactor.cleaned(scope["path"]))
        found = scope["state"].get("principal")
        if found is not None:
            span.set(genai.ACCOUNT, found.account_id)
        if status >= 500:
            span.fail(code or str(status))
