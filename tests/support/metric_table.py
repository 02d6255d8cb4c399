"""What metrics there are, as queries see them."""

import importlib
import importlib.util
from typing import NamedTuple

TARGET = frozenset({"job", "instance"})
"""What Prometheus adds to each series that it reads."""


class Metric(NamedTuple):
    """One metric."""

    name: str
    kind: str
    """gauge, counter, histogram or info"""
    labels: frozenset[str]
    shared: bool = False
    """The same from each process: of the database, or of the one engine."""


def _row(name: str, kind: str, *labels: str, shared: bool = False) -> Metric:
    return Metric(name, kind, frozenset(labels), shared)


def _shared(name: str, kind: str, *labels: str) -> Metric:
    return _row(name, kind, *labels, shared=True)


# To be taken away when gateway/observe/names.py is there: it is that page's list, as it was planned.
PLANNED = (
    _shared("gateway_jobs", "gauge", "status", "model", "provider"),
    _shared("gateway_jobs_ended_total", "counter", "model", "provider", "outcome"),
    _shared("gateway_images_total", "counter", "model", "provider"),
    _shared("gateway_queue_depth", "gauge", "queue"),
    _shared("gateway_queue_oldest_seconds", "gauge", "queue"),
    _shared("gateway_outbox", "gauge", "kind", "status"),
    _shared("gateway_outbox_oldest_seconds", "gauge", "kind"),
    _shared("gateway_held_micros", "gauge"),
    _shared("gateway_holds", "gauge"),
    _shared("gateway_charged_micros_total", "counter", "model", "provider"),
    _shared("gateway_refunded_micros_total", "counter", "model", "provider"),
    _shared("gateway_provider_cost_micros_total", "counter", "model", "provider"),
    _row("gateway_books_findings", "gauge"),
    _row("gateway_metrics_age_seconds", "gauge"),
    _row("gateway_http_requests_total", "counter", "method", "route", "status"),
    _row("gateway_http_request_seconds", "histogram", "method", "route"),
    _row("gateway_provider_call_seconds", "histogram", "provider", "call"),
    _row("gateway_attempts_total", "counter", "provider", "model", "outcome"),
    _row("gateway_attempt_seconds", "histogram", "provider", "model"),
    _row("gateway_job_seconds", "histogram", "model", "provider", "outcome"),
    _row("gateway_provider_shut", "gauge", "provider", "endpoint"),
    _row("gateway_jobs_driven", "gauge"),
    _row("gateway_jobs_at_once", "gauge"),
    _row("gateway_event_loop_lag_seconds", "histogram"),
    _row("gateway_database_seconds", "histogram", "call"),
    _row("gateway_database_unavailable_total", "counter"),
    _row("gateway_deliveries_total", "counter", "kind", "outcome"),
    _row("gateway_storage_errors_total", "counter"),
    _row("gateway_disk_free_bytes", "gauge"),
    _row("gateway_info", "gauge", "version", "registry", "role"),
    _shared("gateway_engine_up", "gauge"),
    _shared("gateway_engine_memory_bytes", "gauge", "kind"),
    _shared("gateway_engine_jobs", "gauge", "state"),
    _shared("gateway_engine_busy_seconds_total", "counter"),
    _shared("gateway_engine_jobs_ended_total", "counter", "outcome"),
    _row("process_cpu_seconds_total", "counter"),
    _row("process_resident_memory_bytes", "gauge"),
    _row("process_virtual_memory_bytes", "gauge"),
    _row("process_start_time_seconds", "gauge"),
    _row("process_open_fds", "gauge"),
    _row("process_max_fds", "gauge"),
)

OTHERS = (
    _row("up", "gauge"),
    _row("ALERTS", "gauge", "alertname", "alertstate", "severity"),
)
"""Prometheus' own."""

VALUES = {
    ("gateway_jobs", "status"): {"scheduled", "queued", "running", "storing", "unknown"},
    ("gateway_jobs_ended_total", "outcome"): {"completed", "failed", "canceled"},
    ("gateway_job_seconds", "outcome"): {"completed", "failed", "canceled"},
    ("gateway_queue_depth", "queue"): {"now", "window"},
    ("gateway_queue_oldest_seconds", "queue"): {"now", "window"},
    ("gateway_outbox", "kind"): {"email", "webhook"},
    ("gateway_outbox", "status"): {"waiting", "failed"},
    ("gateway_deliveries_total", "outcome"): {"sent", "again", "failed"},
    ("gateway_provider_call_seconds", "call"): {"submit", "poll", "cancel"},
    ("gateway_database_seconds", "call"): {"read", "write"},
    ("gateway_info", "role"): {"serve", "front", "worker"},
    ("gateway_engine_memory_bytes", "kind"): {"resident", "device_used", "device_total"},
    ("gateway_engine_jobs", "state"): {"queued", "running"},
}
"""What labels with few values may be; `gateway_attempts_total`'s outcomes are codes of errors."""


def series(metrics: tuple[Metric, ...]) -> dict[str, Metric]:
    """The series that metrics are stored as, with all their labels: of a histogram three, one with `le`."""
    found = {}
    for metric in metrics:
        labels = metric.labels | TARGET
        if metric.kind == "histogram":
            for end, more in (("_bucket", {"le"}), ("_sum", set()), ("_count", set())):
                name = metric.name + end
                found[name] = Metric(name, "counter", labels | more, metric.shared)
        else:
            found[metric.name] = metric._replace(labels=labels)
    return found


def our_metrics() -> tuple[Metric, ...]:
    """Every metric that `/metrics` tells."""
    if importlib.util.find_spec("gateway.observe") is None:
        return PLANNED
    names = importlib.import_module("gateway.observe.names").NAMES
    return tuple(
        Metric(row.name, row.kind, frozenset(row.labels), row.source in ("database", "engine"))
        for row in names
    )
