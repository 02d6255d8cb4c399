"""SQLite as the `Database`: one writer thread (`sqlite_writer`) and a few read-only readers."""

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Connection

from gateway.db.engine import DatabaseClosed
from gateway.db.sqlite_file import READERS, open_engine, translate_error, warn_of_wal_reset_bug
from gateway.db.sqlite_writer import Item, Writer

__all__ = ["SqliteDatabase"]

T = TypeVar("T")


class SqliteDatabase:
    """A `Database` in one SQLite file, used from one event loop.

    Args:
        path: the file; made when missing.
        busy_timeout_s: seconds to wait for a lock that another program holds.
        max_batch: functions in one transaction, at most; 1 gives each its own commit.
        wal_limit_bytes: the log is moved into the database when it grows by this much.
        idle_s: seconds without a write after which the log is emptied.
    """

    def __init__(
        self,
        path: Path,
        *,
        busy_timeout_s: float = 5.0,
        max_batch: int = 256,
        wal_limit_bytes: int = 4 * 1024 * 1024,
        idle_s: float = 1.0,
    ) -> None:
        warn_of_wal_reset_bug(sqlite3.sqlite_version_info)
        self._writer = Writer(
            path,
            busy_timeout_s=busy_timeout_s,
            max_batch=max_batch,
            wal_limit_bytes=wal_limit_bytes,
            idle_s=idle_s,
        )
        self._read_engine = open_engine(path, busy_timeout_s=busy_timeout_s, mode="read")
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="database-reader")
        self._closed = False
        self._writer.thread.start()

    async def write(self, fn: Callable[[Connection], T]) -> T:
        """As `Database.write`."""
        self._check_open()
        item = Item(fn, asyncio.get_running_loop())
        self._writer.queue.put(item)
        await item.future
        if item.error is not None:
            raise item.error
        return item.value

    async def read(self, fn: Callable[[Connection], T]) -> T:
        """As `Database.read`."""
        self._check_open()
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._read, fn)

    def _read(self, fn: Callable[[Connection], T]) -> T:
        try:
            with self._read_engine.begin() as connection:
                return fn(connection)
        except Exception as error:
            translated = translate_error(error)
            if translated is error:
                raise
            raise translated from error

    def _check_open(self) -> None:
        if self._closed:
            raise DatabaseClosed("The database is closed.")

    async def aclose(self) -> None:
        """As `Database.aclose`."""
        if not self._closed:
            self._closed = True
            self._writer.queue.put(None)
        await asyncio.to_thread(self._end)

    def _end(self) -> None:
        # Readers first: the log can be emptied only when none is left.
        self._readers.shutdown()
        self._read_engine.dispose()
        self._writer.thread.join()
