"""What is refused whoever calls, before a body is read.

In open mode whoever reaches the loopback address is the operator. So a web page that the
operator has open must not be able to call: a request must be addressed to a loopback name
(else DNS rebinding turns any name into this machine), carry no foreign Origin, and a body must
be JSON, or on one path a picture or plain bytes (none of which a form of another page can send
without asking first). Where API keys are required, a page has none to send, and a session's cookie
counts from our own pages alone (`gateway.access`): the origins of callers are not looked at here, and
their Host only where the gateway was told its names.
Also drops who sends a body too slowly, has each request watched (`gateway.observe.requests`), and gives
each response the headers that every one has.
"""

import asyncio
import re
from collections.abc import Callable
from typing import Any

from litestar import Request
from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send

from gateway.ambient import Ambient
from gateway.bodies import BODY_METHODS
from gateway.network import origin_of
from gateway.observe.requests import Requests
from gateway.problems import Problem, problem_response
from gateway.routes.schema_page import CONTENT_SECURITY_POLICY

__all__ = ["Body", "Guard"]

UPLOADS = "/api/uploads"
UPLOAD_TYPES = frozenset({b"application/octet-stream", b"image/png", b"image/jpeg", b"image/webp"})
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
# Every answer has these; a picture and the API page add their own policy.
HEADERS = (
    (b"content-security-policy", CONTENT_SECURITY_POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
HSTS = (b"strict-transport-security", b"max-age=31536000")
WATCHED = frozenset({"/metrics", "/health/live", "/health/ready"})
"""Whoever watches a process calls it by its address, not by its name."""
BODY_IDLE_S = 30.0
"""A body of which nothing comes for so long is given up."""


class Body:
    """Whether nothing of a request's body is left on its connection."""

    def __init__(self, scope: HTTPScope) -> None:
        headers = {name.lower(): value for name, value in scope["headers"]}
        length = headers.get(b"content-length", b"0").strip()
        self.read = b"transfer-encoding" not in headers and length == b"0"


class Guard:
    """ASGI middleware around the whole application.

    Args:
        app: what to guard.
        allowed_hosts: Host names to answer to beside the loopback ones; None: to every name.
        ambient: time, and the ids of requests.
        public_url: how clients reach the gateway where a proxy stands before it; pages of that
            origin are ours.
        open_to_all: whoever reaches it is the operator: pages of other origins are refused.
        body_idle_s: seconds that a body may pause.
        watch: gives what a request's answer is sent through.
    """

    def __init__(
        self,
        app: ASGIApp,
        allowed_hosts: tuple[str, ...] | None,
        ambient: Ambient,
        public_url: str = "",
        *,
        open_to_all: bool = True,
        body_idle_s: float = BODY_IDLE_S,
        watch: Callable[[Scope, Send], Send] = lambda _, send: send,
    ) -> None:
        self.app = app
        self.public_origin = origin_of(public_url)
        self.hosts = None if allowed_hosts is None else LOOPBACK | {host.lower() for host in allowed_hosts}
        self.requests = Requests(ambient)
        self.open_to_all = open_to_all
        self.body_idle_s = body_idle_s
        self.watch = watch
        self.headers = (*HEADERS, HSTS) if (self.public_origin or "").startswith("https://") else HEADERS

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it with a problem."""
        if scope["type"] != ScopeType.HTTP:
            await self.app(scope, receive, send)
            return
        await self.requests.watch(self._answer, scope, receive, self.watch(scope, send))

    async def _answer(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        request_id = scope["state"]["request_id"]

        body = Body(scope)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [*message.get("headers", []), (b"x-request-id", request_id.encode())]
                present = {name.lower() for name, _ in headers}
                headers += [(name, value) for name, value in self.headers if name not in present]
                if not body.read and b"connection" not in present:
                    # The server closes a connection with a body left on it. Who is not told sends the
                    # next request into that (RFC 9112, section 9.6).
                    headers.append((b"connection", b"close"))
                message["headers"] = headers
            await send(message)

        problem = self.refusal(scope)
        if problem is None:
            await self.app(scope, self.patient(receive, body), send_with_headers)
            return
        request: Request[Any, Any, Any] = Request(scope)
        response = problem_response(request, problem).to_asgi_response(None, request)
        await response(scope, receive, send_with_headers)

    def patient(self, receive: Receive, body: Body) -> Receive:
        """Receives a request's body, and gives up on one that pauses for too long."""
        whole = False

        async def receive_in_time() -> Any:
            nonlocal whole
            if whole:
                return await receive()  # the client's hanging up: it may take as long as the answer does
            try:
                async with asyncio.timeout(self.body_idle_s):
                    message = await receive()
            except TimeoutError as error:
                raise Problem(
                    "slow_request",
                    f"Nothing of the body came for {self.body_idle_s:g} seconds; send it again",
                ) from error
            whole = not message.get("more_body", False)
            body.read = body.read or whole
            return message

        return receive_in_time

    def refusal(self, scope: HTTPScope) -> Problem | None:
        """Why a request is not let through; None when it is."""
        headers = {name.lower(): value for name, value in scope["headers"]}
        by_address = not self.open_to_all and scope["path"] in WATCHED
        page = None if self.hosts is None or by_address else self.page_refusal(scope, headers, self.hosts)
        return page or self.body_refusal(scope, headers)

    def page_refusal(
        self, scope: HTTPScope, headers: dict[bytes, bytes], names: frozenset[str]
    ) -> Problem | None:
        """A request that a web page could have sent in the operator's name."""
        hosts = [value.decode("latin-1") for name, value in scope["headers"] if name.lower() == b"host"]
        host = ", ".join(hosts)
        if _name(host) not in names:
            return Problem(
                "foreign_host",
                f"The request is addressed to {host!r}, a name that the gateway does not answer to; add it "
                "to GATEWAY_ALLOWED_HOSTS if it is meant to",
            )
        if not self.open_to_all:
            return None
        origin = headers.get(b"origin", b"").decode("latin-1")
        if b"origin" in headers and origin.lower() not in self.own_origins(scope, host):
            return Problem(
                "foreign_origin",
                f"A page of {origin!r} may not call this gateway: it would spend the operator's money",
            )
        return None

    def own_origins(self, scope: HTTPScope, host: str) -> tuple[str | None, ...]:
        """The origins of our own pages: how this request was addressed, and the public one."""
        return f"{scope['scheme']}://{host.lower()}", self.public_origin

    def body_refusal(self, scope: HTTPScope, headers: dict[bytes, bytes]) -> Problem | None:
        """A body must be JSON; an upload may be what it is."""
        if scope["method"] not in BODY_METHODS:
            return None
        media_type = headers.get(b"content-type", b"").split(b";")[0].strip().lower()
        if media_type == b"application/json" or media_type.endswith(b"+json"):
            return None
        if scope["path"].rstrip("/") == UPLOADS and media_type in UPLOAD_TYPES:
            return None
        shown = media_type.decode("latin-1") or "nothing"
        return Problem(
            "unsupported_media_type",
            f"The Content-Type is {shown}; send JSON with 'Content-Type: application/json' (curl: --json)",
        )


# RFC 9112 section 3.2: a name or an address and perhaps a port; nothing else, no user, no path.
HOST = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9._-]+))(?::\d{1,5})?")


def _name(host: str) -> str:
    """The name in a Host header, without its port: `[::1]:8000` is `::1`; empty when it is none."""
    found = HOST.fullmatch(host)
    return (found["six"] or found["name"]).lower() if found else ""
