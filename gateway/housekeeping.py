"""Forgets what has run out, once an hour: sessions, unused links, limits that nobody touched."""

import asyncio
import logging
from functools import partial

from sqlalchemy import Connection

from gateway import limits
from gateway.accounts import logins
from gateway.ambient import DAY_MS, Ambient
from gateway.db.engine import Database, DatabaseError
from gateway.delivery import outbox

__all__ = ["Housekeeper", "forget"]

log = logging.getLogger(__name__)

EVERY_S = 3600.0
SENT_KEPT_MS = 30 * DAY_MS
FAILED_KEPT_MS = 90 * DAY_MS
"""Somebody may still want to send what failed again."""


def forget(conn: Connection, at: int) -> None:
    """Remove what has run out at a time, in milliseconds UTC.

    A link that ran out is kept for a day, so that its reader learns that it did. A bucket that nobody
    touched for a day is full again. What was delivered is shown for a month, what was not for three.
    """
    logins.forget_old(conn, at - DAY_MS)
    limits.sweep(conn, at - DAY_MS)
    outbox.forget_old(conn, sent_before=at - SENT_KEPT_MS, failed_before=at - FAILED_KEPT_MS)


class Housekeeper:
    """Calls `forget` once an hour.

    Args:
        db: the database.
        ambient: time.
    """

    def __init__(self, db: Database, ambient: Ambient) -> None:
        self._db = db
        self._ambient = ambient
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._run(), name="housekeeping")

    async def aclose(self) -> None:
        """Stop."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            try:
                await self._db.write(partial(forget, at=self._ambient.now_ms()))
            except DatabaseError as error:
                log.warning("nothing was cleaned up: %s", error)
            await asyncio.sleep(EVERY_S)
