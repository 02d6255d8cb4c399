"""One SQLite file: its URL, its settings, and its errors in this gateway's words."""

import functools
import logging
import sqlite3
from pathlib import Path
from typing import Literal, TypeVar
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool, QueuePool

from gateway.db.engine import DatabaseError, DatabaseUnavailable, backend_of

__all__ = ["READERS", "driver_of", "open_engine", "sqlite_path", "translate_error", "warn_of_wal_reset_bug"]

logger = logging.getLogger(__name__)
E = TypeVar("E", bound=BaseException)

READERS = 4
"""Connections that read, and threads that use them."""

_DURABLE = ("wal_autocheckpoint=0", "journal_mode=WAL", "synchronous=FULL")
_PRAGMAS = {
    "read": ("wal_autocheckpoint=0", "query_only=ON"),
    # recursive_triggers: INSERT OR REPLACE, too, meets the triggers that keep the ledger append-only.
    "write": (*_DURABLE, "foreign_keys=ON", "recursive_triggers=ON"),
    "migrate": (*_DURABLE, "foreign_keys=OFF"),
}

_BUSY = ("The database is locked by another program. Try again in a moment.", 1.0)
_BROKEN = ("The database file cannot be read or written. Look at its disk and its permissions.", 10.0)
_UNAVAILABLE = {
    sqlite3.SQLITE_BUSY: _BUSY,
    sqlite3.SQLITE_LOCKED: _BUSY,
    sqlite3.SQLITE_PROTOCOL: _BUSY,
    sqlite3.SQLITE_FULL: ("The disk that holds the database is full. Make room, then try again.", 30.0),
    sqlite3.SQLITE_IOERR: _BROKEN,
    sqlite3.SQLITE_CANTOPEN: _BROKEN,
}


def sqlite_path(url: str) -> Path:
    """The file that a `sqlite:///` URL names.

    Raises:
        DatabaseError: another kind of database, or one in memory.
    """
    backend = backend_of(url)
    if backend != "sqlite":
        raise DatabaseError(
            f"No database of kind {backend!r} is served: give sqlite:///path or postgresql://..."
        )
    name = make_url(url).database
    if not name or name == ":memory:" or name.startswith("file:"):
        raise DatabaseError("The database must be a file that outlives the process: give sqlite:///path.")
    return Path(name)


def translate_error(error: E) -> E | DatabaseUnavailable:
    """`DatabaseUnavailable` for a lock, a full disk or an unreachable file; else `error` itself."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    if not isinstance(cause, sqlite3.Error):
        return error
    # The low byte is the class of the error; the rest is detail. Absent on errors of the driver.
    known = _UNAVAILABLE.get(getattr(cause, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF)
    if known is None:
        return error
    unavailable = DatabaseUnavailable(*known)
    unavailable.__cause__ = error
    return unavailable


@functools.cache
def warn_of_wal_reset_bug(version: tuple[int, int, int]) -> None:
    """Say once, in the log, that this SQLite has the bug and what keeps the gateway safe from it."""
    if (3, 7, 0) <= version <= (3, 51, 2):
        # No warning: there is nothing to do, and every command would print it.
        logger.info(
            "SQLite %s has the WAL-reset bug (fixed in 3.51.3). This gateway is safe from it by "
            "keeping to one writer that also does the checkpoints; let no other program write to "
            "its database while it runs.",
            ".".join(map(str, version)),
        )


def open_engine(path: Path, *, busy_timeout_s: float, mode: Literal["read", "write", "migrate"]) -> Engine:
    """A SQLAlchemy engine on one SQLite file, with this gateway's settings.

    A transaction of SQLAlchemy's is one of SQLite's: the driver's own guessing when to begin is
    off. All but `read` begin with the write lock. `migrate` leaves foreign keys unchecked, as
    rebuilding a table needs. No connection checkpoints by itself.
    """

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"file:{quote(str(path))}?mode={'ro' if mode == 'read' else 'rwc'}",
            uri=True,
            timeout=busy_timeout_s,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=256,
        )
        try:
            for pragma in _PRAGMAS[mode]:
                connection.execute(f"PRAGMA {pragma}")
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    # Parameters stay out of error messages: they hold people's prompts.
    if mode == "read":
        engine = create_engine(
            "sqlite://",
            creator=connect,
            hide_parameters=True,
            poolclass=QueuePool,
            pool_size=READERS,
            max_overflow=0,
        )
    else:
        engine = create_engine("sqlite://", creator=connect, hide_parameters=True, poolclass=NullPool)

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN" if mode == "read" else "BEGIN IMMEDIATE")

    return engine


def driver_of(connection: Connection) -> sqlite3.Connection:
    """The driver's connection beneath SQLAlchemy's.

    Raises:
        TypeError: not a SQLite connection.
    """
    driver = connection.connection.driver_connection
    if not isinstance(driver, sqlite3.Connection):
        raise TypeError(f"not a SQLite connection: {driver!r}")
    return driver
