"""Forgets what has run out: hourly in the database, daily in the store."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial

from sqlalchemy import Connection

from gateway import limits
from gateway.accounts import logins
from gateway.ambient import DAY_MS, Ambient
from gateway.cleaning import Cleaner
from gateway.db.engine import Database, DatabaseClosed, DatabaseError
from gateway.delivery import outbox
from gateway.jobs import idempotency, progress
from gateway.storage import StorageError
from gateway.variance import VarianceWatch

__all__ = ["EVERY_S", "Housekeeper", "forget"]

log = logging.getLogger(__name__)

EVERY_S = 3600.0
DAY_S = 24 * EVERY_S
AT_ONCE = 5000
"""Rows of what there may be very many of that one transaction removes."""


def forget(conn: Connection, at: int) -> bool:
    """Remove what has run out at a time, in milliseconds UTC; True when there may be more of it.

    A link that ran out is kept for a day, so that its reader learns that it did. A bucket that nobody
    touched for a day is full again. What was delivered is shown for a month, what was not for three.
    """
    logins.forget_old(conn, at - DAY_MS)
    limits.sweep(conn, at - DAY_MS)
    progress.forget_ended(conn)
    outbox.forget_old(conn, at)
    return idempotency.forget_expired(conn, at, AT_ONCE) == AT_ONCE


class Housekeeper:
    """Calls `forget` once an hour and the cleaner once a day, and both at the start; says once a day what
    providers billed too much. What fails is said in the log, and tried again an hour later.

    Args:
        db: the database.
        ambient: time.
        cleaner: of the store.
    """

    def __init__(self, db: Database, ambient: Ambient, cleaner: Cleaner) -> None:
        self._db = db
        self._ambient = ambient
        self._task: asyncio.Task[None] | None = None
        # What is done, how often in seconds, and when it is to be done next.
        self._duties: list[tuple[Callable[[], Awaitable[bool]], float]] = [
            (self._forget, EVERY_S),
            (cleaner.expire_pictures, DAY_S),
            (cleaner.expire_media, DAY_S),
            (cleaner.remove_orphans, DAY_S),
            (cleaner.look_for_files, EVERY_S),
            (VarianceWatch(db, ambient).look, EVERY_S),
        ]
        self._due = [0.0] * len(self._duties)

    def add(self, duty: Callable[[], Awaitable[bool]], every_s: float) -> None:
        """Have something else done, at the start and then every so many seconds. Before `start`.

        Args:
            duty: does it; False: it is to be done again in the next round.
            every_s: seconds.
        """
        self._duties.append((duty, every_s))
        self._due.append(0.0)

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
            await self.round()
            await asyncio.sleep(EVERY_S)

    async def round(self) -> None:
        """Do what is due."""
        # A timer may come a little early.
        soon = self._ambient.monotonic() + 1.0
        for place, (duty, every_s) in enumerate(self._duties):
            if self._due[place] <= soon and await self._done(duty):
                self._due[place] = self._ambient.monotonic() + every_s

    async def _done(self, duty: Callable[[], Awaitable[bool]]) -> bool:
        try:
            return await duty()
        except DatabaseClosed:
            return False
        except (DatabaseError, StorageError) as error:
            log.warning("housekeeping will try again: %s", error)
        except Exception:
            # A fault of ours: the other duties, and the gateway, go on.
            log.exception("housekeeping broke")
        return False

    async def _forget(self) -> bool:
        while await self._db.write(partial(forget, at=self._ambient.now_ms())):
            pass
        return True
