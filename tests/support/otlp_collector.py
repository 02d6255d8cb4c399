"""A collector of traces on loopback: OTLP over HTTP on a real socket, its protobufs decoded.

with OtlpCollector() as collector:
    env = collector.env()               # OTEL_EXPORTER_OTLP_ENDPOINT, quick batches
    ...
    span = collector.wait("settle")     # once it has come
    assert collector.parent(span).name == "generate_content flux-dev"
"""

import gzip
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from msgspec import Struct
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

__all__ = ["OtlpCollector", "SentSpan"]

KINDS = {1: "internal", 2: "server", 3: "client"}
STATUSES = {0: "unset", 1: "ok", 2: "error"}
PATH = "/v1/traces"


class SentSpan(Struct, frozen=True, kw_only=True):
    """A span as it came."""

    name: str
    kind: str
    trace_id: str
    id: str
    parent_id: str
    """Empty of a root."""
    status: str
    status_message: str
    attributes: dict[str, Any]
    events: int
    resource: dict[str, Any]
    begin_ns: int
    end_ns: int


class OtlpCollector:
    """Takes spans, or answers what `answers` has, in order, and takes them after that."""

    def __init__(self) -> None:
        self.spans: list[SentSpan] = []
        self.bodies: list[bytes] = []
        """Each as it was sent, out of its gzip."""
        self.headers: list[dict[str, str]] = []
        self.answers: list[int] = []
        self._changed = threading.Condition()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                status = collector._take(self.path, dict(self.headers), body)
                answer = ExportTraceServiceResponse().SerializeToString()
                self.send_response(status)
                self.send_header("content-type", "application/x-protobuf")
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def env(self) -> dict[str, str]:
        """The environment that makes a gateway tell it of spans soon."""
        return {"OTEL_EXPORTER_OTLP_ENDPOINT": self.url, "OTEL_BSP_SCHEDULE_DELAY": "50"}

    def wait(
        self, name: str, *, seconds: float = 30, where: Callable[[SentSpan], bool] | None = None
    ) -> SentSpan:
        """A span of that name, once one has come; the test fails when none does."""
        deadline = time.monotonic() + seconds
        with self._changed:
            while True:
                for span in self.spans:
                    if span.name == name and (where is None or where(span)):
                        return span
                left = deadline - time.monotonic()
                assert left > 0, f"no span {name!r} among {[span.name for span in self.spans]}"
                self._changed.wait(left)

    def of_trace(self, trace_id: str) -> list[SentSpan]:
        """The spans of a trace, in the order in which they began."""
        with self._changed:
            found = [span for span in self.spans if span.trace_id == trace_id]
        return sorted(found, key=lambda span: span.begin_ns)

    def parent(self, span: SentSpan) -> SentSpan | None:
        """The span that one is inside of; None when it has not come, or is elsewhere."""
        with self._changed:
            return next((one for one in self.spans if one.id == span.parent_id), None)

    def tree(self, trace_id: str, root: str) -> list[tuple[int, str]]:
        """The names of a trace below the span with the id `root`, each with its depth."""
        spans = self.of_trace(trace_id)

        def below(parent_id: str, depth: int) -> list[tuple[int, str]]:
            return [
                line
                for span in spans
                if span.parent_id == parent_id
                for line in [(depth, span.name), *below(span.id, depth + 1)]
            ]

        return below(root, 0)

    def _take(self, path: str, headers: dict[str, str], body: bytes) -> int:
        with self._changed:
            status = self.answers.pop(0) if self.answers else 200
            if path != PATH:
                return 404
            if status != 200:
                return status
            if headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            self.bodies.append(body)
            self.headers.append({name.lower(): value for name, value in headers.items()})
            self.spans += _spans(body)
            self._changed.notify_all()
            return status


def _spans(body: bytes) -> list[SentSpan]:
    request = ExportTraceServiceRequest.FromString(body)
    return [
        SentSpan(
            name=span.name,
            kind=KINDS[span.kind],
            trace_id=span.trace_id.hex(),
            id=span.span_id.hex(),
            parent_id=span.parent_span_id.hex(),
            status=STATUSES[span.status.code],
            status_message=span.status.message,
            attributes=_values(span.attributes),
            events=len(span.events),
            resource=_values(of_one.resource.attributes),
            begin_ns=span.start_time_unix_nano,
            end_ns=span.end_time_unix_nano,
        )
        for of_one in request.resource_spans
        for scope in of_one.scope_spans
        for span in scope.spans
    ]


def _values(pairs: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}
