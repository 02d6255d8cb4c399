"""Forgets what has run out, once an hour: sessions, unused links, keys of requests, limits that nobody
touched.
"""

import asyncio
import logging
from functools import partial

from sqlalchemy import Connection

from gateway import limits
from gateway.accounts import logins
from gateway.ambient import DAY_MS, Ambient
from gateway.db.engine import Database, DatabaseError
from gateway.jobs import idempotency

__all__ = ["Housekeeper", "forget"]

log = logging.getLogger(__name__)

EVERY_S = 3600.0
AT_ONCE = 5000
"""Rows of what there may be very many of that one transaction removes."""


def forget(conn: Connection, at: int) -> bool:
    """Remove what has run out at a time, in milliseconds UTC; True when there may be more of it.

    A link that ran out is kept for a day, so that its reader learns that it did. A bucket that nobody
    touched for a day is full again.
    """
    logins.forget_old(conn, at - DAY_MS)
    limits.sweep(conn, at - DAY_MS)
    return idempotency.forget_expired(conn, at, AT_ONCE) == AT_ONCE


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
                while await self._db.write(partial(forget, at=self._ambient.now_ms())):
                    pass
            except DatabaseError as error:
                log.warning("nothing was cleaned up: %s", error)
            await asyncio.sleep(EVERY_S)
