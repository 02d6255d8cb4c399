"""What a process counts of its own doing."""

from collections.abc import Callable, Iterable
from typing import Literal, TypeVar

from prometheus_client.metrics import Counter, Gauge, Histogram
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import CollectorRegistry

from gateway.observe.names import BY_NAME, Described

__all__ = ["OTHER", "Bounds", "Metrics", "ProviderCall"]

T = TypeVar("T")
Mode = Literal["livemax", "livesum", "livemostrecent"]
ProviderCall = Literal["submit", "poll", "cancel"]

OTHER = "other"
"""In the place of a label's value that nobody vouches for: a client could make up as many as it likes."""
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

QUICK = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
REQUEST = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
LONG = (0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)
"""Seconds: of jobs, which may wait for a window."""


class Bounds:
    """The names that labels may have.

    Args:
        models: whether there is a model of this name.
        providers: whether there is such a provider.
    """

    def __init__(self, models: Callable[[str], bool], providers: Callable[[str], bool]) -> None:
        self._models = models
        self._providers = providers

    def model(self, name: str) -> str:
        """A model's name, or `other`."""
        return name if self._models(name) else OTHER

    def provider(self, name: str) -> str:
        """A provider's name, or `other`."""
        return name if self._providers(name) else OTHER


class Metrics:
    """Counters, histograms and gauges of one gateway; their names are `gateway.observe.names`.

    Args:
        bounds: the names that labels may have; without them every name may be one.
    """

    def __init__(self, bounds: Bounds | None = None) -> None:
        self._bounds = bounds or Bounds(lambda _: True, lambda _: True)
        self._registry = CollectorRegistry()
        self._requests = self._counter("gateway_http_requests_total")
        self._request_seconds = self._histogram("gateway_http_request_seconds", REQUEST)
        self._call_seconds = self._histogram("gateway_provider_call_seconds", REQUEST)
        self._attempts = self._counter("gateway_attempts_total")
        self._attempt_seconds = self._histogram("gateway_attempt_seconds", LONG)
        self._job_seconds = self._histogram("gateway_job_seconds", LONG)
        self._shut = self._gauge("gateway_provider_shut", "livemax")
        self._lag = self._histogram("gateway_event_loop_lag_seconds", QUICK)
        self._database_seconds = self._histogram("gateway_database_seconds", QUICK)
        self._database_away = self._counter("gateway_database_unavailable_total")
        self._deliveries = self._counter("gateway_deliveries_total")
        self._storage_errors = self._counter("gateway_storage_errors_total")
        self._driven = self._gauge("gateway_jobs_driven", "livesum")
        self._at_once = self._gauge("gateway_jobs_at_once", "livesum")
        self._findings = self._gauge("gateway_books_findings", "livemostrecent")

    def collect(self) -> Iterable[Metric]:
        """What this process has counted."""
        return self._registry.collect()

    # -- what happens -------------------------------------------------------------------

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """A request's answer began.

        Args:
            method: as it came.
            route: the template of its path, never the path itself; empty: no route has it.
            status: of the answer.
            seconds: since it came.
        """
        known = method if method in METHODS else OTHER
        self._requests.labels(known, route or OTHER, status).inc()
        self._request_seconds.labels(known, route or OTHER).observe(seconds)

    def provider_call(self, provider: str, call: ProviderCall, seconds: float) -> None:
        """A call of a provider ended, well or not."""
        self._call_seconds.labels(self._bounds.provider(provider), call).observe(seconds)

    def attempt(self, provider: str, model: str, outcome: str, seconds: float | None) -> None:
        """An attempt ended.

        Args:
            provider: the registry's name.
            model: the registry's.
            outcome: `succeeded`, or the code of the error.
            seconds: since its submit; None where another process made that.
        """
        place = (self._bounds.provider(provider), self._bounds.model(model))
        self._attempts.labels(*place, outcome).inc()
        if outcome == "succeeded" and seconds is not None:
            self._attempt_seconds.labels(*place).observe(seconds)

    def job(self, model: str, provider: str, outcome: str, seconds: float) -> None:
        """A job ended here: completed, failed or canceled, so long after it was let in."""
        place = (self._bounds.model(model), self._bounds.provider(provider))
        self._job_seconds.labels(*place, outcome).observe(seconds)

    def lag(self, seconds: float) -> None:
        """A timer of the event loop was so late."""
        self._lag.observe(seconds)

    def database(self, call: Literal["read", "write"], seconds: float) -> None:
        """A call of the database ended, well or not."""
        self._database_seconds.labels(call).observe(seconds)

    def database_away(self) -> None:
        """The database could not serve a call."""
        self._database_away.inc()

    def delivery(self, kind: str, outcome: Literal["sent", "again", "failed"]) -> None:
        """A try to deliver something ended."""
        self._deliveries.labels(kind, outcome).inc()

    def storage_error(self) -> None:
        """The store could not serve a call."""
        self._storage_errors.inc()

    # -- what is ------------------------------------------------------------------------

    def show_shut(self, provider: str, endpoint: str, *, shut: bool) -> None:
        """A provider is left alone, or is not any more; without an endpoint all of it."""
        self._shut.labels(self._bounds.provider(provider), endpoint).set(shut)

    def show_jobs(self, driven: int, at_once: float) -> None:
        """So many jobs run here, of so many that may."""
        self._driven.set(driven)
        self._at_once.set(at_once)

    def show_findings(self, number: int) -> None:
        """The books were looked at."""
        self._findings.set(number)

    # -- how they are made --------------------------------------------------------------

    def _counter(self, name: str) -> Counter:
        row = _described(name, "counter")
        return Counter(row.name, row.help, row.labels, registry=self._registry)

    def _gauge(self, name: str, mode: Mode) -> Gauge:
        row = _described(name, "gauge")
        return Gauge(row.name, row.help, row.labels, registry=self._registry, multiprocess_mode=mode)

    def _histogram(self, name: str, buckets: tuple[float, ...]) -> Histogram:
        row = _described(name, "histogram")
        return Histogram(row.name, row.help, row.labels, registry=self._registry, buckets=buckets)


def _described(name: str, kind: str) -> Described:
    row = BY_NAME[name]
    if row.kind != kind:
        raise ValueError(f"{name} is a {row.kind}")
    return row
