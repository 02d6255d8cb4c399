"""Spans, for a collector that speaks OTLP over HTTP; nothing at all where none is named.

The provider of spans is this gateway's own and never the process's global one: several gateways may live in a
process. OpenTelemetry is imported when a collector is named, and not before.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping
from contextvars import Token
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Protocol, Self

from gateway.observe import genai
from gateway.observe.genai import Value
from providers.errors import ProviderError

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span as OtelSpan
    from opentelemetry.trace import Tracer

__all__ = ["NO_SPAN", "OFF", "Kind", "Span", "Tracing", "TracingError", "check_tracing", "open_tracing"]

log = logging.getLogger(__name__)

Kind = Literal["internal", "server", "client"]

SERVICE = "image-gateway"
CONTENT = ("true", "span_only", "span_and_event")
"""Of OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT: prompts go into spans."""


class TracingError(Exception):
    """A collector is named, and nothing can be sent to it."""


class Span(Protocol):
    """One station of a request or a job; a context manager."""

    @property
    def trace_id(self) -> str | None:
        """Of its trace, 32 hexadecimal digits; None when there is none."""
        ...

    def set(self, name: str, value: Value) -> None:
        """Note something of it."""
        ...

    def rename(self, name: str) -> None:
        """Call it something else."""
        ...

    def fail(self, code: str) -> None:
        """It went wrong."""
        ...

    def __enter__(self) -> Self:
        """Begin: what follows is inside it."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End, with the error's code if there is one, and never with its text: that may hold a prompt."""
        ...


class _NoSpan:
    """In place of a span, where nobody looks."""

    __slots__ = ()
    trace_id = None

    def set(self, name: str, value: Value) -> None:
        """Nothing."""

    def rename(self, name: str) -> None:
        """Nothing."""

    def fail(self, code: str) -> None:
        """Nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


NO_SPAN = _NoSpan()


class _LiveSpan:
    """A span that is sent when it has ended."""

    __slots__ = ("_span", "_token")

    def __init__(self, span: "OtelSpan") -> None:
        self._span = span
        self._token: Token[Context] | None = None

    @property
    def trace_id(self) -> str | None:
        return f"{self._span.get_span_context().trace_id:032x}"

    def set(self, name: str, value: Value) -> None:
        self._span.set_attribute(name, value)

    def rename(self, name: str) -> None:
        self._span.update_name(name)

    def fail(self, code: str) -> None:
        from opentelemetry.trace import StatusCode

        self._span.set_attribute(genai.ERROR, code)
        self._span.set_status(StatusCode.ERROR)

    def __enter__(self) -> Self:
        from opentelemetry import context, trace

        self._token = context.attach(trace.set_span_in_context(self._span))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        from opentelemetry import context

        if self._token is not None:
            context.detach(self._token)
        if isinstance(error, asyncio.CancelledError):
            self._span.set_attribute(genai.INTERRUPTED, True)
        elif error is not None:
            self.fail(_code_of(error))
        self._span.end()


class Tracing:
    """Makes spans, or does nothing.

    Args:
        tracer: makes them; None: nobody looks.
        prompts: what is to be drawn may be told to the collector.
        provider: whose spans wait to be sent.
        give_up: ends a try to send them.
    """

    def __init__(
        self,
        tracer: "Tracer | None" = None,
        *,
        prompts: bool = False,
        provider: "TracerProvider | None" = None,
        give_up: Callable[[], None] = lambda: None,
    ) -> None:
        self._tracer = tracer
        self._provider = provider
        self._give_up = give_up
        self.prompts = prompts

    @property
    def on(self) -> bool:
        """Whether anybody looks."""
        return self._tracer is not None

    def span(
        self,
        name: str,
        attributes: Mapping[str, Value] | None = None,
        *,
        kind: Kind = "internal",
        parent: str | None = None,
    ) -> Span:
        """A span, to be entered.

        Args:
            name: as stations are called.
            attributes: what is known of it at its begin.
            kind: what OpenTelemetry calls so.
            parent: the `traceparent` (W3C) of what it is inside of; None: of the span that is under way here.
        """
        if self._tracer is None:
            return NO_SPAN
        from opentelemetry.trace import SpanKind

        kinds = {"internal": SpanKind.INTERNAL, "server": SpanKind.SERVER, "client": SpanKind.CLIENT}
        return _LiveSpan(
            self._tracer.start_span(
                name,
                context=None if parent is None else _context_of(parent),
                kind=kinds[kind],
                attributes=attributes,
                record_exception=False,
                set_status_on_exception=False,
            )
        )

    def current(self) -> Span:
        """The span that is under way here, to note something of it."""
        if self._tracer is None:
            return NO_SPAN
        from opentelemetry.trace import get_current_span

        return _LiveSpan(get_current_span())

    def traceparent(self) -> str | None:
        """What names the span that is under way here, as W3C has it: for whoever goes on elsewhere."""
        if self._tracer is None:
            return None
        from opentelemetry.trace import get_current_span

        context = get_current_span().get_span_context()
        if not context.is_valid:
            return None
        return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags & 1:02x}"

    async def aclose(self, grace_s: float) -> None:
        """Send what has ended, for up to so many seconds."""
        if self._provider is None:
            return
        # The SDK's own end waits for half a minute, whatever it is told.
        ending = threading.Thread(target=self._provider.shutdown, name="traces end", daemon=True)
        ending.start()
        await asyncio.to_thread(ending.join, grace_s)
        if ending.is_alive():
            log.warning("the collector of traces does not take the last spans; they are lost")
            self._give_up()


OFF = Tracing()
"""Nobody looks."""


def check_tracing(env: Mapping[str, str]) -> None:
    """See that spans can be sent, if they are to be.

    Raises:
        TracingError: what is missing.
    """
    if _endpoint(env) is None:
        return
    try:
        import opentelemetry.exporter.otlp.proto.http.trace_exporter
        import opentelemetry.sdk.trace.export  # noqa: F401  # for the next one, who needs both
    except ImportError as error:
        raise TracingError(
            f"OTEL_EXPORTER_OTLP_ENDPOINT names a collector of traces, but {error.name or error} is not "
            "installed: pip install 'image-gateway[otel]', or set OTEL_SDK_DISABLED=true"
        ) from error


def open_tracing(env: Mapping[str, str], *, version: str, instance: str) -> Tracing:
    """What makes spans, as the environment says. What is not read here (headers, sampler, batches) the SDK
    reads from the process's own environment.

    Args:
        env: the environment of the settings.
        version: of this program.
        instance: what tells this process from its like.

    Raises:
        TracingError: as `check_tracing`.
    """
    endpoint = _endpoint(env)
    if endpoint is None:
        return OFF
    check_tracing(env)
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    exporter = OTLPSpanExporter(endpoint=endpoint)
    ours = {"service.name": SERVICE, "service.version": version, "service.instance.id": instance}
    resource = Resource.create({**ours, **OTELResourceDetector().detect().attributes})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return Tracing(
        provider.get_tracer(SERVICE, version),
        prompts=env.get("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "").strip().lower() in CONTENT,
        provider=provider,
        give_up=exporter.shutdown,
    )


def _endpoint(env: Mapping[str, str]) -> str | None:
    """Where spans go; None: nowhere.

    Raises:
        TracingError: it cannot be spoken to.
    """
    given = {name: value.strip() for name, value in env.items() if name.startswith("OTEL_")}
    base = given.get("OTEL_EXPORTER_OTLP_ENDPOINT", "")
    endpoint = given.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") or (base and f"{base.rstrip('/')}/v1/traces")
    if not endpoint or given.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    if not endpoint.startswith(("http://", "https://")):
        raise TracingError("OTEL_EXPORTER_OTLP_ENDPOINT must be like http://collector:4318")
    protocol = given.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or given.get("OTEL_EXPORTER_OTLP_PROTOCOL")
    if protocol not in (None, "", "http/protobuf"):
        raise TracingError(f"OTEL_EXPORTER_OTLP_PROTOCOL={protocol}: spans are sent as http/protobuf alone")
    return endpoint


def _context_of(traceparent: str) -> "Context":
    """What names a span elsewhere; an empty one when it is not well-formed: a new trace begins."""
    from opentelemetry.context import Context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    return TraceContextTextMapPropagator().extract({"traceparent": traceparent}, Context())


def _code_of(error: BaseException) -> str:
    """What an error is called: by the code that `docs/errors.md` lists, if it has one."""
    # Not above: it knows of accounts and jobs, which know of this.
    from gateway.problems import as_problem

    if not isinstance(error, Exception):
        return type(error).__name__
    code = error.code if isinstance(error, ProviderError) else as_problem(error).document.code
    return type(error).__name__ if code == "internal_error" else code
