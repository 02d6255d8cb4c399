"""Does the database take writes? Tried when somebody asks, and not more than once in a while.

A full disk, or another program's lock, lets every read through: only a write tells.
"""

import asyncio

from sqlalchemy import Connection, insert, update
from sqlalchemy.exc import IntegrityError

from gateway.ambient import Ambient
from gateway.db.engine import Database, DatabaseError
from gateway.db.tables import bucket

__all__ = ["WriteProbe"]

EVERY_S = 5.0
PATIENCE_S = 1.0
"""Whoever asks waits so long for an answer of now; then the one before counts."""
LATE_S = 6.0
"""Longer than a write waits for a short lock."""
KEY = "probe:write"


class WriteProbe:
    """Tries a write now and then.

    Args:
        db: the database.
        ambient: time.
    """

    def __init__(self, db: Database, ambient: Ambient) -> None:
        self._db = db
        self._ambient = ambient
        self._task: asyncio.Task[None] | None = None
        self._began = 0.0
        self._fault: str | None = "no write was tried yet"

    async def fault(self) -> str | None:
        """Why it takes no writes; None when it does."""
        now = self._ambient.monotonic()
        if self._task is None or (self._task.done() and now - self._began >= EVERY_S):
            self._began = now
            self._task = asyncio.create_task(self._try(), name="write probe")
        await asyncio.wait([self._task], timeout=PATIENCE_S)
        if not self._task.done() and self._ambient.monotonic() - self._began >= LATE_S:
            return "a write takes very long"
        return self._fault

    async def aclose(self) -> None:
        """Wait for a try under way. Call it before the database is closed."""
        if self._task is not None:
            await self._task

    async def _try(self) -> None:
        at = self._ambient.now_ms()
        try:
            await self._db.write(lambda c: _note(c, at))
        except DatabaseError as error:
            self._fault = error.message
        else:
            self._fault = None


def _note(conn: Connection, at: int) -> None:
    """Change something: a write of what is there already would not reach the disk."""
    if conn.execute(update(bucket).where(bucket.c.key == KEY).values(at=at)).rowcount:
        return
    try:
        with conn.begin_nested():
            conn.execute(insert(bucket).values(key=KEY, level=0, at=at))
    except IntegrityError:
        return  # another process has done so
