"""What being watched costs: CPU of the spans of a job, and of a line of the log, in one run.

A job's twelve spans are made as the stations of the gateway make them. Each variant is the same code:

    bare           the `with` statements alone, around nothing of ours
    off            no collector is named
    on             a collector is named; what is sent is thrown away here, so that the network costs nothing

A line is a request's, with five bound values. Rounds alternate; the table has the medians.
Run: python -m bench.observe
"""

import argparse
import logging
import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from structlog.contextvars import bind_contextvars

from gateway.observe.logs import log_handler
from gateway.observe.tracing import OFF, Tracing

STATIONS = (
    "access",
    "idempotency",
    "plan",
    "media",
    "admit",
    "job",
    "attempt",
    "submit",
    "wait",
    "store",
    "settle",
)
ATTRIBUTES = {"gateway.job.id": "job_1", "gateway.model": "flux-dev", "gateway.attempt": 1}


class Nowhere(SpanExporter):
    """Throws spans away."""

    def export(self, spans: Any) -> SpanExportResult:
        """Nothing."""
        return SpanExportResult.SUCCESS


class Null(logging.Handler):
    """Formats a line as it would be written, and throws it away."""

    def __init__(self, formatter: logging.Formatter | None) -> None:
        super().__init__()
        self.setFormatter(formatter)

    def emit(self, record: logging.LogRecord) -> None:
        """Format."""
        self.format(record)


def bare() -> None:
    """The shape of the code alone."""
    with nullcontext():
        for _ in STATIONS:
            with nullcontext():
                pass


def spans(tracing: Tracing) -> None:
    """A request and its job."""
    with tracing.span("POST /api/images/generate", kind="server"):
        for name in STATIONS:
            with tracing.span(name, ATTRIBUTES if tracing.on else None):
                pass


def microseconds(work: Callable[[], object], times: int) -> float:
    """CPU of this process for one, its threads' with it."""
    began = time.process_time()
    for _ in range(times):
        work()
    return (time.process_time() - began) / times * 1e6


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="What being watched costs.")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--times", type=int, default=2000)
    options = parser.parse_args()

    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(Nowhere(), max_queue_size=100_000))
    on = Tracing(provider.get_tracer("bench"))
    log = logging.getLogger("bench.observe")
    log.propagate, log.level = False, logging.INFO
    bind_contextvars(request_id="req_1", account_id="acc_1", job_id="job_1", attempt=1, attempt_id="att_1")
    more = {"method": "POST", "route": "/api/images/generate", "status": 200, "ms": 1234.5}

    def line(handler: logging.Handler) -> Callable[[], None]:
        def write() -> None:
            log.handlers = [handler]
            log.info("%s %s %d", "POST", "/api/images/generate", 200, extra=more)

        return write

    plain = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    variants: dict[str, Callable[[], object]] = {
        "spans of a job, bare": bare,
        "spans of a job, off": lambda: spans(OFF),
        "spans of a job, on": lambda: spans(on),
        "a line, as logging writes it": line(Null(plain)),
        "a line, text": line(Null(log_handler(False, {}).formatter)),
        "a line, json": line(Null(log_handler(True, {}).formatter)),
    }
    took: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(options.rounds):
        for name, work in variants.items():
            took[name].append(microseconds(work, options.times))
    provider.shutdown()
    print(f"{'':32} microseconds of CPU")
    for name, found in took.items():
        print(f"{name:32} {statistics.median(found):8.2f}")


if __name__ == "__main__":
    main()
