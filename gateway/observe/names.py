"""The list of metrics: what `/metrics` tells, and `docs/metrics.md` must hold it (a test compares)."""

from typing import Literal

from msgspec import Struct

__all__ = ["BY_NAME", "NAMES", "Described", "Kind", "Source"]

Kind = Literal["counter", "gauge", "histogram", "info"]
Source = Literal["database", "process", "engine", "system"]
"""Where its figures come from: the database, which is the same for every process that shares it; what this
process did; the engine that it asks; the operating system."""


class Described(Struct, frozen=True, kw_only=True):
    """One metric."""

    name: str
    """As queries have it: a counter's with `_total`, an info's with `_info`."""
    kind: Kind
    source: Source
    labels: tuple[str, ...] = ()
    help: str

    @property
    def family(self) -> str:
        """The name without what its kind adds."""
        return self.name.removesuffix("_total" if self.kind == "counter" else "_info")


def _row(source: Source, kind: Kind, name: str, labels: str, about: str) -> Described:
    return Described(name=name, kind=kind, source=source, labels=tuple(labels.split()), help=about)


NAMES: tuple[Described, ...] = (
    _row("database", "gauge", "gateway_jobs", "status model provider",
         "Jobs that have not ended"),
    _row("database", "counter", "gateway_jobs_ended_total", "model provider outcome",
         "Jobs that ended: completed, failed or canceled"),
    _row("database", "counter", "gateway_images_total", "model provider",
         "Pictures of jobs that ended"),
    _row("database", "gauge", "gateway_queue_depth", "queue",
         "Jobs that nobody drives: to run now, or in a batch window"),
    _row("database", "gauge", "gateway_queue_oldest_seconds", "queue",
         "Age of the oldest job that nobody drives; in a window, how long it is overdue"),
    _row("database", "gauge", "gateway_outbox", "kind status",
         "Mails and calls that wait, and those of 30 days that were given up"),
    _row("database", "gauge", "gateway_outbox_oldest_seconds", "kind",
         "How long the oldest mail or call that waits is overdue"),
    _row("database", "gauge", "gateway_held_micros", "",
         "Micro-dollars that are held for jobs which have not ended"),
    _row("database", "gauge", "gateway_holds", "",
         "Holds that are open"),
    _row("database", "counter", "gateway_charged_micros_total", "model provider",
         "Micro-dollars that jobs were charged"),
    _row("database", "counter", "gateway_refunded_micros_total", "model provider",
         "Micro-dollars that were given back of charges"),
    _row("database", "counter", "gateway_provider_cost_micros_total", "model provider",
         "Micro-dollars that providers bill for jobs that ended"),
    _row("process", "gauge", "gateway_books_findings", "",
         "Rules of the books that were found broken when this process looked last"),
    _row("process", "gauge", "gateway_metrics_age_seconds", "",
         "Age of the figures that come from the database"),
    _row("process", "counter", "gateway_http_requests_total", "method route status",
         "Requests that were answered"),
    _row("process", "histogram", "gateway_http_request_seconds", "method route",
         "Time from a request to the beginning of its answer"),
    _row("process", "histogram", "gateway_provider_call_seconds", "provider call",
         "Time of one call of a provider: submit, poll or cancel"),
    _row("process", "counter", "gateway_attempts_total", "provider model outcome",
         "Attempts that ended: succeeded, or the code of the error"),
    _row("process", "histogram", "gateway_attempt_seconds", "provider model",
         "Time of an attempt that succeeded, from its submit to its pictures in the store"),
    _row("process", "histogram", "gateway_job_seconds", "model provider outcome",
         "Time of a job that ended here, from when it was let in"),
    _row("process", "gauge", "gateway_provider_shut", "provider endpoint",
         "1 while a provider, or one endpoint of it, is left alone after failures"),
    _row("process", "gauge", "gateway_jobs_driven", "",
         "Jobs that run here"),
    _row("process", "gauge", "gateway_jobs_at_once", "",
         "Jobs that may run here at once"),
    _row("process", "histogram", "gateway_event_loop_lag_seconds", "",
         "How late a timer of the event loop is"),
    _row("process", "histogram", "gateway_database_seconds", "call",
         "Time of one read or write of the database, waiting for it included"),
    _row("process", "counter", "gateway_database_unavailable_total", "",
         "Reads and writes that the database could not serve"),
    _row("process", "counter", "gateway_deliveries_total", "kind outcome",
         "Tries to deliver a mail or a call: sent, again or failed"),
    _row("process", "counter", "gateway_storage_errors_total", "",
         "Reads and writes that the store could not serve"),
    _row("system", "gauge", "gateway_disk_free_bytes", "",
         "Room on the disk of the data folder"),
    _row("process", "info", "gateway_info", "version registry role",
         "What runs"),
    _row("engine", "gauge", "gateway_engine_up", "",
         "1 when the diffusers engine answers"),
    _row("engine", "gauge", "gateway_engine_memory_bytes", "kind",
         "Memory of the engine: resident, device_used, device_total"),
    _row("engine", "gauge", "gateway_engine_jobs", "state",
         "Jobs in the engine: queued or running"),
    _row("engine", "counter", "gateway_engine_busy_seconds_total", "",
         "Time that the engine has spent on jobs since it started"),
    _row("engine", "counter", "gateway_engine_jobs_ended_total", "outcome",
         "Jobs that the engine has ended since it started: completed or failed"),
    _row("system", "counter", "process_cpu_seconds_total", "",
         "CPU time, user and system"),
    _row("system", "gauge", "process_resident_memory_bytes", "",
         "Resident memory"),
    _row("system", "gauge", "process_virtual_memory_bytes", "",
         "Virtual memory"),
    _row("system", "gauge", "process_start_time_seconds", "",
         "When the process was started, in seconds since 1970"),
    _row("system", "gauge", "process_open_fds", "",
         "Open file descriptors"),
    _row("system", "gauge", "process_max_fds", "",
         "The most file descriptors that may be open"),
)  # fmt: skip

BY_NAME = {row.name: row for row in NAMES}
