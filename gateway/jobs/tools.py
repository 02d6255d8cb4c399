"""What driving jobs takes, and writes and reads that wait for the database."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec
from sqlalchemy import Connection

from gateway.ambient import Ambient
from gateway.db.engine import Database, DatabaseUnavailable
from gateway.jobs.cadence import Cadence
from gateway.jobs.outliers import Outliers
from gateway.jobs.outputs import Collector
from gateway.observe.metrics import Metrics
from gateway.observe.tracing import OFF, Tracing
from gateway.webhooks import NO_WEBHOOKS, Webhooks
from providers.base import MediaSource, NoMedia
from providers.discovery import Providers
from templates.library import TemplateLibrary

__all__ = ["Tools", "read_until_done", "write_until_done"]

log = logging.getLogger(__name__)
T = TypeVar("T")

RESEND_PAUSES_S = (0.2, 1.0, 5.0, 10.0, 20.0)
"""Before each resend of a submit that got no answer, to a provider that knows it again: an engine
that died meanwhile is back in that time."""
STORE_PAUSES_S = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0)
"""Before each further try at a store that is away; the last one stays, until the job's deadline."""


class Tools(msgspec.Struct, frozen=True, kw_only=True):
    """What driving a job takes."""

    db: Database
    providers: Providers
    collector: Collector
    ambient: Ambient
    cadence: Cadence = msgspec.field(default_factory=Cadence)
    resend_pauses_s: tuple[float, ...] = RESEND_PAUSES_S
    store_pauses_s: tuple[float, ...] = STORE_PAUSES_S
    media: MediaSource = NoMedia()
    """Reads the inputs of a submit."""
    webhooks: Webhooks = NO_WEBHOOKS
    """Has the address that a provider may call."""
    outliers: Outliers
    """Who is left alone for a while."""
    templates: Callable[[], TemplateLibrary] = lambda: TemplateLibrary({})
    """What the overlay of a run is of."""
    tracing: Tracing = OFF
    """Makes the spans of what is driven."""
    ended: Callable[[], None] = lambda: None
    """Called when this process is done with a job: there may be somebody to tell."""
    metrics: Metrics = msgspec.field(default_factory=Metrics)
    """Counts what becomes of jobs and attempts."""


async def write_until_done(db: Database, fn: Callable[[Connection], T]) -> T:
    """Write, however long the database is away: what ends a paid job must not be dropped."""
    return await _until_done(db.write, fn)


async def read_until_done(db: Database, fn: Callable[[Connection], T]) -> T:
    """Read, however long the database is away: an admitted job must not be forgotten."""
    return await _until_done(db.read, fn)


async def _until_done(
    call: Callable[[Callable[[Connection], T]], Awaitable[T]], fn: Callable[[Connection], T]
) -> T:
    while True:
        try:
            return await call(fn)
        except DatabaseUnavailable as error:
            log.warning("the database is away, trying again: %s", error)
            await asyncio.sleep(error.retry_after)
