"""A real receiver of webhooks on the loopback interface: it keeps what it is sent, and answers by script."""

import threading
from collections import defaultdict, deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, ClassVar, Self

from msgspec import Struct
from standardwebhooks import Webhook
from support.gateway_process import until

__all__ = ["HANG", "HUGE", "HookCall", "HookServer", "redirect", "status"]

HANG = "hang"
"""As an answer: none, until the server is told to release who waits, or is closed."""
HUGE = "huge"
"""As an answer: 200 and a body of `HUGE_BYTES`."""
HUGE_BYTES = 64 << 20

Answer = Any
"""HANG, HUGE, or a status with its fields."""


def status(code: int, **fields: str) -> Answer:
    """An answer without a body; `Retry_After="3"` is a field."""
    return code, {name.replace("_", "-"): value for name, value in fields.items()}


def redirect(location: str) -> Answer:
    """An answer that leads elsewhere."""
    return 307, {"Location": location}


class HookCall(Struct):
    """One request as it came."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        """Its `webhook-id`."""
        return self.headers["webhook-id"]

    def verified(self, secret: str) -> dict[str, Any]:
        """What it says, once its signature was found right."""
        found: dict[str, Any] = Webhook(secret).verify(self.body, self.headers)
        return found


class HookServer:
    """Use it as a context manager. A path answers what `answers` has for it, in order, and then 204."""

    def __init__(self) -> None:
        self.calls: list[HookCall] = []
        self.answers: defaultdict[str, deque[Answer]] = defaultdict(deque)
        self.written = 0
        """Bytes of huge answers that were taken."""
        self._released = threading.Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version: ClassVar[str] = "HTTP/1.1"

            def do_POST(self) -> None:
                length = int(self.headers.get("Content-Length", 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                server.calls.append(HookCall(self.path, headers, self.rfile.read(length)))
                queue = server.answers[self.path]
                server._answer(self, queue.popleft() if queue else status(204))

            def log_message(self, *args: object) -> None:
                """Say nothing."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)

    def _answer(self, handler: BaseHTTPRequestHandler, answer: Answer) -> None:
        if answer == HANG:
            self._released.wait(60)
            handler.close_connection = True
            return
        if answer == HUGE:
            self._answer_hugely(handler)
            return
        code, fields = answer
        handler.send_response(code)
        for name, value in fields.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    def _answer_hugely(self, handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(HUGE_BYTES))
        handler.end_headers()
        try:
            for _ in range(HUGE_BYTES >> 16):
                handler.wfile.write(b"x" * (1 << 16))
                self.written += 1 << 16
        except OSError:
            handler.close_connection = True  # it was cut: what some tests are about

    def release(self) -> None:
        """Hang up on who waits, from now on."""
        self._released.set()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._http.server_address[1])

    @property
    def allow(self) -> str:
        """GATEWAY_FETCH_ALLOW."""
        return f"127.0.0.1:{self.port}"

    def url(self, path: str = "/hook") -> str:
        """A URL of it."""
        return f"http://127.0.0.1:{self.port}{path}"

    def to(self, path: str, count: int = 1) -> HookCall:
        """The last call of a path, once there were so many."""

        def found() -> HookCall | None:
            calls = [call for call in self.calls if call.path == path]
            return calls[-1] if len(calls) >= count else None

        call: HookCall = until(f"call {count} of {path}", found)
        return call

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join(10)
