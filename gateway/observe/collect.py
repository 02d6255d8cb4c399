"""Puts together what `/metrics` answers: from the database, the engine, the system, and what was counted."""

import asyncio
import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from msgspec import Struct
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.samples import Sample
from sqlalchemy import Connection

from gateway import __version__
from gateway.observe.engine import EngineWatch, engine_of
from gateway.observe.kept import Kept
from gateway.observe.loop_lag import LoopLag
from gateway.observe.names import NAMES, Described
from gateway.observe.several import Shared, shared
from gateway.observe.sums import COUNTED, Past, Sums, past, sums
from providers.diffusers_modal.wire import HealthReply

if TYPE_CHECKING:
    from gateway.core import Core

__all__ = ["EVERY_S", "STALE_S", "Figures"]

EVERY_S = 10.0
"""The database and the engine are asked at most so often."""
PAST_S = 300.0
"""What changes seldom is read so often."""
PATIENCE_S = 2.0
"""A scrape waits so long for the database, and says what it has then."""
STALE_S = 60.0
"""Older figures of the database are left out: a gateway that is cut off from it must not outdo the others."""

Values = Mapping[tuple[str, ...], float]
"""By the values of the labels, in their order."""
KINDS = ("email", "webhook")
"""Of deliveries."""


class Figures:
    """What a gateway shows of itself.

    Args:
        core: what it is asked about.
    """

    def __init__(self, core: "Core") -> None:
        self._core = core
        self.role = core.role
        """What the process is for: serve, front or worker."""
        clock = core.ambient.monotonic
        self._sums = Kept(
            "metrics of the database", self._read, clock, every_s=EVERY_S, patience_s=PATIENCE_S
        )
        self._watch: EngineWatch | None = engine_of(core.settings)
        self._engine = Kept("the engine's health", self._ask, clock, every_s=EVERY_S, patience_s=PATIENCE_S)
        self._shared: Shared | None = shared()
        self._lag = LoopLag(core.metrics, self.show)
        self._past: tuple[float, Past] | None = None
        self._shut: set[tuple[str, str]] = set()
        self._looked_at: int | None = None

    def start(self) -> None:
        """Begin to note how the event loop does, and what others are to read."""
        self._lag.start()

    async def aclose(self) -> None:
        """Stop."""
        self._lag.stop()
        await self._sums.aclose()
        await self._engine.aclose()

    def show(self) -> None:
        """Note what the gateway is doing now."""
        core = self._core
        core.metrics.show_jobs(len(core.runner.lives), core.runner.at_once)
        shut = set(core.outliers.shut_now())
        for provider, endpoint in self._shut | shut:
            core.metrics.show_shut(provider, endpoint, shut=(provider, endpoint) in shut)
        self._shut = shut
        look = core.books.last
        if look is not None and look.at != self._looked_at:
            self._looked_at = look.at
            core.metrics.show_findings(len(look.findings))

    async def scrape(self, accept: str) -> tuple[bytes, str]:
        """Everything, as text.

        Args:
            accept: the request's Accept header: OpenMetrics for who asks for that.

        Returns:
            The text, and its media type.
        """
        found, engine = await asyncio.gather(self._sums.get(), self._engine.get())
        age = self._sums.age_s
        self.show()
        seen = _Seen(
            sums=found if age <= STALE_S else None,
            age_s=age,
            has_engine=self._watch is not None,
            engine=engine,
            info=(__version__, self._core.catalog.version, self.role),
        )
        return await asyncio.to_thread(self._render, seen, accept)

    # -- what is looked up --------------------------------------------------------------

    async def _read(self) -> Sums:
        now, at = self._core.ambient.monotonic(), self._core.ambient.now_ms()
        known = self._past if self._past is not None and now - self._past[0] < PAST_S else None

        def read(conn: Connection) -> tuple[Past, Sums]:
            before = past(conn, at) if known is None else known[1]
            return before, sums(conn, at, before)

        before, found = await self._core.db.read(read)
        if known is None:
            self._past = now, before
        return found

    async def _ask(self) -> HealthReply | None:
        return None if self._watch is None else await self._watch.look()

    # -- in a thread --------------------------------------------------------------------

    def _render(self, seen: "_Seen", accept: str) -> tuple[bytes, str]:
        encode, media_type = choose_encoder(accept)
        return encode(_Families(self._families(seen))), media_type

    def _families(self, seen: "_Seen") -> list[Metric]:
        """Every metric of `NAMES`, in that order; of what is not known its name alone."""
        values = {**_of_database(seen.sums), **_of_engine(seen.engine, has_engine=seen.has_engine)}
        values["gateway_metrics_age_seconds"] = {(): seen.age_s}
        values["gateway_info"] = {seen.info: 1.0}
        disk = os.statvfs(self._core.settings.data_dir)
        values["gateway_disk_free_bytes"] = {(): disk.f_bavail * disk.f_frsize}
        counted = self._shared.collect() if self._shared else self._core.metrics.collect()
        system = self._shared.usage() if self._shared else ProcessCollector(registry=None).collect()
        made = {metric.name: metric for metric in (*counted, *system)}
        return [_family(row, values.get(row.name), made.get(row.family)) for row in NAMES]


class _Seen(Struct, frozen=True, kw_only=True):
    """What a scrape has found out before it is written down."""

    sums: Sums | None
    age_s: float
    has_engine: bool
    engine: HealthReply | None
    info: tuple[str, str, str]


class _Families:
    """As prometheus-client wants to be given what it writes down."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        """All of them."""
        return self._families


def _family(row: Described, values: Values | None, made: Metric | None) -> Metric:
    """One metric with its samples; none that its name does not say (when a counter was made is no figure)."""
    family = Metric(row.family, row.help, row.kind)
    if values is not None:
        for place, value in values.items():
            family.add_sample(row.name, dict(zip(row.labels, place, strict=True)), value)
    if made is not None:
        family.samples += [_plain(one) for one in made.samples if not one.name.endswith("_created")]
    return family


def _plain(sample: Sample) -> Sample:
    return Sample(sample.name, dict(sample.labels), sample.value)


def _of_database(found: Sums | None) -> dict[str, Values]:
    if found is None:
        return {}
    counts: dict[str, Values] = {
        name: {place: float(row[column]) for place, row in found.usage.items()}
        for column, name in enumerate(COUNTED)
    }
    ended: Values = {
        (*place, outcome): value
        for outcome in ("completed", "failed", "canceled")
        for place, value in counts[outcome].items()
    }
    waiting: Values = {(kind, "waiting"): float(found.waiting.get(kind, 0)) for kind in KINDS}
    given_up: Values = {(kind, "failed"): float(found.given_up.get(kind, 0)) for kind in KINDS}
    return {
        "gateway_jobs": found.jobs,
        "gateway_jobs_ended_total": ended,
        "gateway_images_total": counts["images"],
        "gateway_queue_depth": _one_label(found.depth),
        "gateway_queue_oldest_seconds": _one_label(found.oldest_s),
        "gateway_outbox": {**waiting, **given_up},
        "gateway_outbox_oldest_seconds": {(kind,): found.overdue_s.get(kind, 0.0) for kind in KINDS},
        "gateway_held_micros": {(): found.held_micros},
        "gateway_holds": {(): found.holds},
        "gateway_charged_micros_total": counts["charge_micros"],
        "gateway_refunded_micros_total": counts["refund_micros"],
        "gateway_provider_cost_micros_total": counts["cost_micros"],
    }


def _of_engine(reply: HealthReply | None, *, has_engine: bool) -> dict[str, Values]:
    if reply is None:
        return {"gateway_engine_up": {(): 0.0}} if has_engine else {}
    memory = {
        "resident": reply.resident_bytes,
        "device_used": reply.device_used_bytes,
        "device_total": reply.device_total_bytes,
    }
    return {
        "gateway_engine_up": {(): 1.0},
        "gateway_engine_memory_bytes": {
            (kind,): float(size) for kind, size in memory.items() if size is not None
        },
        "gateway_engine_jobs": {("queued",): float(reply.queued), ("running",): float(reply.running)},
        "gateway_engine_busy_seconds_total": {(): reply.busy_seconds},
        "gateway_engine_jobs_ended_total": {
            ("completed",): float(reply.jobs_done),
            ("failed",): float(reply.jobs_failed),
        },
    }


def _one_label(values: Mapping[str, float]) -> Values:
    return {(name,): value for name, value in values.items()}
