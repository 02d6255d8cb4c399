"""A database whose calls are timed."""

from collections.abc import Awaitable, Callable
from typing import Literal, TypeVar

from sqlalchemy import Connection

from gateway.db.engine import Database, DatabaseUnavailable
from gateway.observe.metrics import Metrics

__all__ = ["TimedDatabase"]

T = TypeVar("T")


class TimedDatabase:
    """A `Database` in front of another.

    Args:
        db: does it.
        metrics: counts.
        monotonic: seconds.
    """

    def __init__(self, db: Database, metrics: Metrics, monotonic: Callable[[], float]) -> None:
        self._db = db
        self._metrics = metrics
        self._monotonic = monotonic

    async def write(self, fn: Callable[[Connection], T]) -> T:
        """As `Database.write`."""
        return await self._timed("write", self._db.write(fn))

    async def read(self, fn: Callable[[Connection], T]) -> T:
        """As `Database.read`."""
        return await self._timed("read", self._db.read(fn))

    async def aclose(self) -> None:
        """As `Database.aclose`."""
        await self._db.aclose()

    async def _timed(self, call: Literal["read", "write"], result: Awaitable[T]) -> T:
        begun = self._monotonic()
        try:
            return await result
        except DatabaseUnavailable:
            self._metrics.database_away()
            raise
        finally:
            self._metrics.database(call, self._monotonic() - begun)
