"""The writer thread: many functions in one transaction, and the checkpoints.

A full fsync costs milliseconds and a row microseconds, so the writer takes every function that
waits, runs each in a savepoint of its own, and commits them together. Nobody is answered before
that commit. Under load the batches grow by themselves: what arrives during one commit is the
next batch.

It is also the only thread that checkpoints. SQLite 3.7.0 to 3.51.2 can lose committed pages when
two connections write or checkpoint at the same moment (the WAL-reset bug).
"""

import asyncio
import logging
import queue
import sqlite3
import threading
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

from sqlalchemy import Connection, event

from gateway.db.engine import DatabaseError
from gateway.db.sqlite_file import driver_of, open_engine, translate_error

__all__ = ["Item", "Writer"]

logger = logging.getLogger(__name__)
T = TypeVar("T")

PATIENCE_MS = 250
"""How long a checkpoint of a log that has grown waits for the reads under way. Reads that overlap keep
one that does not wait from ever getting through."""


class Item(Generic[T]):
    """One function on its way through the writer, and what became of it."""

    __slots__ = ("error", "fn", "future", "loop", "value")

    def __init__(self, fn: Callable[[Connection], T], loop: asyncio.AbstractEventLoop) -> None:
        self.fn = fn
        self.loop = loop
        # Only ever set to None: an exception kept in a future that nobody awaits any more would
        # be reported as never retrieved.
        self.future: asyncio.Future[None] = loop.create_future()
        self.value: T
        self.error: BaseException | None = None


class Writer:
    """The thread that owns the one connection that writes."""

    def __init__(
        self, path: Path, *, busy_timeout_s: float, max_batch: int, wal_limit_bytes: int, idle_s: float
    ) -> None:
        self.queue: queue.SimpleQueue[Item[Any] | None] = queue.SimpleQueue()
        self.thread = threading.Thread(target=self._main, name="database-writer", daemon=True)
        self._wal = path.with_name(path.name + "-wal")
        self._engine = open_engine(path, busy_timeout_s=busy_timeout_s, mode="write")
        self._max_batch = max_batch
        self._wal_limit = wal_limit_bytes
        self._checkpoint_above = wal_limit_bytes
        self._idle_s = idle_s
        self._busy_timeout_ms = int(busy_timeout_s * 1000)
        self._connection: Connection | None = None
        self._driver: sqlite3.Connection | None = None
        self._dirty = False
        self._stuck = False
        """The log could not be emptied the last time, and the log of the process says so."""
        self._in_function = False
        for name in ("commit", "rollback"):
            event.listen(self._engine, name, self._refuse_in_function)

    def _main(self) -> None:
        stopping = False
        while not stopping:
            batch, stopping = self._take()
            if batch:
                self._serve(batch)
            elif not stopping:
                self._checkpoint()
        self._close()

    def _take(self) -> tuple[list[Item[Any]], bool]:
        """Every function that waits, at most a batch, and whether to stop; none: time to tidy."""
        batch: list[Item[Any]] = []
        try:
            item = self.queue.get(timeout=self._idle_s if self._dirty else None)
            while item is not None:
                batch.append(item)
                if len(batch) == self._max_batch:
                    return batch, False
                item = self.queue.get_nowait()
        except queue.Empty:
            return batch, False
        return batch, True

    def _serve(self, batch: list[Item[Any]]) -> None:
        again = self._transact(batch)
        for item in again:
            self._transact([item])
        _answer(batch)
        self._dirty = True
        if self._wal_size() > self._checkpoint_above:
            self._checkpoint(PATIENCE_MS)

    def _transact(self, batch: list[Item[Any]]) -> list[Item[Any]]:
        """Run the functions in one transaction; returns those that must run again, each alone.

        A full disk makes SQLite give up the whole transaction, not one statement. Then nothing of
        the others was kept either, and they run again without the function that met it.
        """
        try:
            connection = self._connect()
            transaction = connection.begin()
            for item in batch:
                if not self._run(connection, item):
                    self._abandon()
                    return [other for other in batch if other is not item and other.error is None]
            transaction.commit()
        except Exception as error:  # noqa: BLE001 - every caller gets it, and the thread must go on
            self._abandon()
            for item in batch:
                item.error = item.error or _failure(error)
        return []

    def _run(self, connection: Connection, item: Item[Any]) -> bool:
        """Run one function in its savepoint; False if the transaction did not survive it."""
        driver = driver_of(connection)
        driver.execute("SAVEPOINT function")
        self._in_function = True
        try:
            item.value = item.fn(connection)
        except BaseException as error:  # noqa: BLE001 - the caller gets it, and the thread must go on
            item.error = translate_error(error)
        finally:
            self._in_function = False
        if not _is_whole(connection):
            item.error = item.error or DatabaseError(
                "A write function left its transaction in a state of its own; nothing of it was kept."
            )
            return False
        if item.error is not None:
            driver.execute("ROLLBACK TO function")
        driver.execute("RELEASE function")
        return True

    def _refuse_in_function(self, _connection: Connection) -> None:
        if self._in_function:
            raise DatabaseError("A write function must not commit or roll back: the writer does.")

    def _connect(self) -> Connection:
        if self._connection is None:
            self._connection = self._engine.connect()
            self._driver = driver_of(self._connection)
        return self._connection

    def _abandon(self) -> None:
        """Undo the transaction, whatever state it is in; a connection that cannot is replaced."""
        connection, driver = self._connection, self._driver
        if connection is None or driver is None:
            return
        try:
            driver.rollback()
            connection.rollback()
        except Exception:
            logger.exception("The database connection could not roll back and is opened anew.")
            self._connection = self._driver = None
            # Closing it undoes what is open; SQLAlchemy's object may be closed already.
            driver.close()

    def _wal_size(self) -> int:
        try:
            return self._wal.stat().st_size
        except FileNotFoundError:
            return 0

    def _checkpoint(self, patience_ms: int = 0) -> None:
        """Move the log into the database and empty it, when the readers under way are done in time.

        A reader that stays in the way leaves the log as it is; the next try is after another idle
        while, or one limit further on.
        """
        self._dirty = False
        if self._driver is None:
            return
        try:
            self._driver.execute(f"PRAGMA busy_timeout={patience_ms}")
            self._driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            self._stuck = False
        except sqlite3.Error as error:
            # Once: on a full disk it would be said each second.
            if not self._stuck:
                logger.warning("The database's log cannot be emptied now; it stays valid: %s", error)
            self._stuck = True
        finally:
            self._driver.execute(f"PRAGMA busy_timeout={self._busy_timeout_ms}")
        left = self._wal_size()
        self._dirty = left > 0
        self._checkpoint_above = left + self._wal_limit

    def _close(self) -> None:
        self._checkpoint()
        if self._connection is not None:
            self._connection.close()
        self._engine.dispose()


def _failure(error: Exception) -> Exception:
    """A new exception for each caller: tasks must not share a traceback."""
    translated = translate_error(error)
    if translated is not error:
        return translated
    failure = DatabaseError(f"The database could not commit: {error}")
    failure.__cause__ = error
    return failure


def _is_whole(connection: Connection) -> bool:
    """Whether the transaction still stands, and no savepoint of a function is left open in it."""
    if connection.closed or connection.invalidated or not driver_of(connection).in_transaction:
        return False
    transaction = connection.get_transaction()
    return transaction is not None and transaction.is_active and not connection.in_nested_transaction()


def _answer(batch: list[Item[Any]]) -> None:
    """Wake the callers, with one call to each event loop and not one to each caller."""
    by_loop: defaultdict[asyncio.AbstractEventLoop, list[Item[Any]]] = defaultdict(list)
    for item in batch:
        by_loop[item.loop].append(item)
    for loop, items in by_loop.items():
        try:
            loop.call_soon_threadsafe(_wake, items)
        except RuntimeError:
            logger.info("%d writes ended after their event loop was closed.", len(items))


def _wake(items: list[Item[Any]]) -> None:
    for item in items:
        if not item.future.done():
            item.future.set_result(None)
