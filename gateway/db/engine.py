"""The two calls to the database, `write` and `read`, and what can go wrong with them.

The rest of the gateway knows this module alone. A function given to either call is plain
synchronous SQLAlchemy Core; where it runs, and in which transaction, is the engine's affair.
"""

from collections.abc import Callable
from typing import Protocol, TypeVar

from sqlalchemy import Connection, make_url
from sqlalchemy.exc import ArgumentError

__all__ = [
    "Database",
    "DatabaseClosed",
    "DatabaseError",
    "DatabaseUnavailable",
    "OutcomeUnknown",
    "backend_of",
    "open_database",
]

T = TypeVar("T")


class DatabaseError(Exception):
    """The database cannot do what was asked.

    Args:
        message: one or two sentences: what happened and what to do next.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class DatabaseUnavailable(DatabaseError):
    """Not now: nothing was written, and the same call may work later.

    Args:
        message: as in `DatabaseError`.
        retry_after: seconds after which it is worth another try.
    """

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after

    def __reduce__(self) -> tuple[object, ...]:
        # The default would pickle the message alone.
        return type(self), (self.message, self.retry_after)


class OutcomeUnknown(DatabaseUnavailable):
    """Whether a write was kept could not be learned any more: all of it was, or nothing.

    Only where a server's connection broke during the commit, and the gateway was closed before the
    server could be asked, or the server has forgotten.
    """


class DatabaseClosed(DatabaseError):
    """The database was closed before the call."""


class Database(Protocol):
    """Where the gateway keeps its state.

    A function given to `write` or `read` takes a `sqlalchemy.Connection` that is inside a
    transaction. It must

    - do nothing but work on that connection: it runs in another thread, and may run again;
    - not commit and not roll back (`begin_nested` is fine);
    - let database errors out: some of them end the transaction, and only the engine can tell;
    - return plain values, not results that still hang on the connection.

    When the awaiting task is canceled the function may still run and commit.
    """

    async def write(self, fn: Callable[[Connection], T]) -> T:
        """Run `fn` in a transaction and return its value once that is on disk.

        On a server it does not come back before it is known whether `fn` was kept: a connection that
        is lost during the commit is waited for.

        Raises:
            DatabaseUnavailable: locked, full or unreachable; nothing of `fn` was kept.
            OutcomeUnknown: as its class says; the one case in which `fn` may have been kept.
            DatabaseClosed: after `aclose`.
            Exception: what `fn` raised; nothing of `fn` was kept.
        """
        ...

    async def read(self, fn: Callable[[Connection], T]) -> T:
        """Run `fn` on one snapshot of what is committed; a change in it is an error.

        Raises:
            DatabaseUnavailable: locked or unreachable.
            DatabaseClosed: after `aclose`.
            Exception: what `fn` raised.
        """
        ...

    async def aclose(self) -> None:
        """Finish the writes that were asked for, then close. Idempotent."""
        ...


def open_database(url: str, *, busy_timeout_s: float = 5.0) -> Database:
    """The database at `url`. No I/O: the first call opens it.

    Args:
        url: `sqlite:///relative/path`, `sqlite:////absolute/path` or
            `postgresql://user:password@host/database`.
        busy_timeout_s: seconds to wait for a lock that another program holds on a SQLite file.

    Raises:
        DatabaseError: not a URL, of a kind that is not served, or its driver is not installed.
    """
    # Here and not above: those modules raise this one's errors, and only one of them is needed.
    if backend_of(url) == "postgresql":
        from gateway.db.postgres import PostgresDatabase

        return PostgresDatabase(url)
    from gateway.db.sqlite import SqliteDatabase
    from gateway.db.sqlite_file import sqlite_path

    return SqliteDatabase(sqlite_path(url), busy_timeout_s=busy_timeout_s)


def backend_of(url: str) -> str:
    """`sqlite`, `postgresql` (also for `postgres://`, as many write it) and so on.

    Raises:
        DatabaseError: not a database URL.
    """
    try:
        name = make_url(url).get_backend_name()
    except (ArgumentError, ValueError):
        # The URL itself may hold a password: it is not repeated.
        raise DatabaseError(
            "The database URL cannot be read: give sqlite:///path or postgresql://user:password@host/database."
        ) from None
    return "postgresql" if name == "postgres" else name
