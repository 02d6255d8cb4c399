"""What metrics there are, as queries see them."""

from typing import NamedTuple

from gateway.observe.names import NAMES

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


OTHERS = (
    Metric("up", "gauge", frozenset()),
    Metric("ALERTS", "gauge", frozenset({"alertname", "alertstate", "severity"})),
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
    return tuple(
        Metric(row.name, row.kind, frozenset(row.labels), row.source in ("database", "engine"))
        for row in NAMES
    )
