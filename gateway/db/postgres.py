"""PostgreSQL as the `Database`: a few connections, a thread for each, and one transaction a call.

A function that met a deadlock, or a conflict of transactions, runs again, and so does one whose
connection was lost before its commit was sent: the server undid what it did. A connection that is
lost during the commit leaves the question whether it was kept. It is never guessed: each writing
transaction knows its id, and the server is asked what became of it.
"""

import asyncio
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Generic, TypeVar

from msgspec import Struct
from sqlalchemy import Connection, event
from sqlalchemy.exc import DBAPIError

from gateway.ambient import Ambient
from gateway.db.engine import DatabaseClosed, DatabaseError, DatabaseUnavailable, OutcomeUnknown
from gateway.db.postgres_server import (
    abandon,
    is_open,
    open_engine,
    postgres_url,
    said,
    sqlstate,
    translate_error,
)

__all__ = ["CONNECTIONS", "PostgresDatabase"]

log = logging.getLogger(__name__)
T = TypeVar("T")
R = TypeVar("R")

CONNECTIONS = 8
"""Of one process."""
TRIES = 5
"""How often a function runs, at most."""
PAUSE_S = 0.01
"""Before the second try; twice as long before each further one."""
CONFLICTS = ("40001", "40P01")
"""SQLSTATE of a serialization failure and of a deadlock."""
LOST = "lost"
STILL_OPEN_S = 0.2


class _Ran(Struct, Generic[T], frozen=True):
    """What a function returned."""

    value: T
    unsure: str | None = None
    """The id of its transaction, when the connection was lost during the commit."""


class PostgresDatabase:
    """A `Database` on a PostgreSQL server, used from one event loop.

    Args:
        url: `postgresql://user:password@host/database`, or `postgresql://user@/database?host=/socket/folder`.
        connections: connections, and functions that run at once.
        ambient: chance, for the pauses between tries.

    Raises:
        DatabaseError: the URL cannot be used.
    """

    def __init__(self, url: str, *, connections: int = CONNECTIONS, ambient: Ambient | None = None) -> None:
        self._engine = open_engine(postgres_url(url), connections=connections)
        # The same connections: what they begin is a matter of the driver, and costs no round trip.
        self._read_engine = self._engine.execution_options(
            isolation_level="REPEATABLE READ", postgresql_readonly=True
        )
        self._threads = ThreadPoolExecutor(connections, thread_name_prefix="database")
        self._ambient = ambient or Ambient()
        self._closing = asyncio.Event()
        self._writes: set[asyncio.Task[Any]] = set()
        self._here = threading.local()
        self._counted = threading.Lock()
        self.retries: Counter[str] = Counter()
        """How often a function ran again, by the SQLSTATE that it met; `lost` for a lost connection."""
        for name in ("commit", "rollback"):
            event.listen(self._engine, name, self._refuse_in_function)

    async def write(self, fn: Callable[[Connection], T]) -> T:
        """As `Database.write`."""
        self._check_open()
        # A task of its own: it learns what became of a commit also when nobody waits any more.
        task = asyncio.create_task(self._write(fn), name="database write")
        self._writes.add(task)
        task.add_done_callback(self._written)
        return await asyncio.shield(task)

    async def read(self, fn: Callable[[Connection], T]) -> T:
        """As `Database.read`."""
        self._check_open()
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._read, fn)

    async def aclose(self) -> None:
        """As `Database.aclose`."""
        self._closing.set()
        if self._writes:
            await asyncio.wait(self._writes)
        await asyncio.to_thread(self._end)

    def _end(self) -> None:
        self._threads.shutdown()
        self._engine.dispose()

    def _check_open(self) -> None:
        if self._closing.is_set():
            raise DatabaseClosed("The database is closed.")

    def _written(self, task: asyncio.Task[Any]) -> None:
        self._writes.discard(task)
        if not task.cancelled():
            # Nobody may wait any more, and then it would be reported as never retrieved.
            task.exception()

    # -- in the event loop --------------------------------------------------------------

    async def _write(self, fn: Callable[[Connection], T]) -> T:
        loop = asyncio.get_running_loop()
        for _ in range(TRIES):
            ran = await loop.run_in_executor(self._threads, self._change, fn)
            if ran.unsure is None or await self._was_kept(ran.unsure):
                return ran.value
            self._count(LOST)
        raise DatabaseUnavailable("The connection to the database is lost at each commit.", 5.0)

    async def _was_kept(self, xid: str) -> bool:
        """Whether a transaction was committed; asked until the server says so."""
        log.warning(
            "a connection was lost during the commit of transaction %s: asking what became of it", xid
        )
        loop = asyncio.get_running_loop()
        while True:
            try:
                status = await loop.run_in_executor(self._threads, self._status, xid)
            except DatabaseUnavailable as error:
                pause = error.retry_after
            else:
                if status in ("committed", "aborted"):
                    log.warning("transaction %s is %s", xid, status)
                    return status == "committed"
                if status is None:
                    break
                pause = STILL_OPEN_S
            if self._closing.is_set():
                break
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._closing.wait()
        raise OutcomeUnknown(
            "The connection to the database was lost while a change was being kept, and whether it was "
            "is not known.",
            5.0,
        )

    # -- in a thread --------------------------------------------------------------------

    def _change(self, fn: Callable[[Connection], T]) -> _Ran[T]:
        return self._retried(lambda: self._transact(fn))

    def _transact(self, fn: Callable[[Connection], T]) -> _Ran[T]:
        """Run a function in a transaction and commit it."""
        with self._engine.connect() as connection:
            transaction = connection.begin()
            xid = connection.exec_driver_sql("select pg_current_xact_id()::text").scalar_one()
            try:
                value = self._run(connection, fn)
            except BaseException:
                abandon(connection)
                raise
            try:
                transaction.commit()
            except DBAPIError as error:
                # With the connection whole, the server has refused the commit and undone everything.
                if not error.connection_invalidated:
                    raise
                return _Ran(value, unsure=str(xid))
            return _Ran(value)

    def _run(self, connection: Connection, fn: Callable[[Connection], T]) -> T:
        self._here.in_function = True
        try:
            value = fn(connection)
        finally:
            self._here.in_function = False
        if not _is_whole(connection):
            raise DatabaseError(
                "A write function left its transaction in a state of its own; nothing of it was kept."
            )
        return value

    def _read(self, fn: Callable[[Connection], T]) -> T:
        return self._retried(lambda: self._look(fn))

    def _look(self, fn: Callable[[Connection], T]) -> T:
        with self._read_engine.begin() as connection:
            return fn(connection)

    def _status(self, xid: str) -> str | None:
        """`committed`, `aborted` or `in progress`; None when the server has forgotten."""

        def ask(connection: Connection) -> str | None:
            found: str | None = connection.exec_driver_sql(
                "select pg_xact_status(%s::xid8)", (xid,)
            ).scalar_one()
            return found

        try:
            return self._read(ask)
        except DBAPIError as error:
            # An id that this server has not come to: it took over from one that had not told it.
            if sqlstate(error) == "22023":
                return "aborted"
            raise

    def _retried(self, run: Callable[[], R]) -> R:
        """Run something until it goes well, where it may run again.

        Raises:
            DatabaseUnavailable: it may, but not now.
        """
        for number in range(1, TRIES + 1):
            try:
                return run()
            except Exception as error:
                code = _may_repeat(error)
                if code is None or number == TRIES:
                    translated = translate_error(error)
                    if translated is error:
                        raise
                    log.warning("%s It says: %s", translated, said(error))
                    raise translated from error
                self._count(code)
            if code != LOST:
                time.sleep(PAUSE_S * 2**number * (0.5 + self._ambient.seed() / 2**32))
        raise AssertionError("the last try returns or raises")

    def _count(self, code: str) -> None:
        with self._counted:
            self.retries[code] += 1
        log.info("a database function runs again: %s", code)

    def _refuse_in_function(self, _connection: Connection) -> None:
        if getattr(self._here, "in_function", False):
            raise DatabaseError("A write function must not commit or roll back: the database does.")


def _may_repeat(error: Exception) -> str | None:
    """Why a function that raised this may run again; None when it may not."""
    if not isinstance(error, DBAPIError):
        return None
    if error.connection_invalidated:
        return LOST
    code = sqlstate(error)
    return code if code in CONFLICTS else None


def _is_whole(connection: Connection) -> bool:
    """Whether the transaction still stands, no statement of it failed, and no savepoint is left open."""
    if connection.closed or connection.invalidated or connection.in_nested_transaction():
        return False
    transaction = connection.get_transaction()
    return transaction is not None and transaction.is_active and is_open(connection)
