"""One PostgreSQL database: its URL, its connections, and its errors in this gateway's words."""

from contextlib import suppress
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, Engine, ExceptionContext, create_engine, event, make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool, QueuePool

from gateway.db.engine import DatabaseError, DatabaseUnavailable

try:
    import psycopg
    from psycopg.adapt import Dumper
    from psycopg.pq import TransactionStatus
except ImportError as error:
    raise DatabaseError(
        "The database is PostgreSQL, and its driver is not installed here: "
        "pip install 'image-gateway[postgresql]'."
    ) from error

__all__ = [
    "abandon",
    "driver_of",
    "is_open",
    "name_of",
    "open_engine",
    "postgres_url",
    "said",
    "sqlstate",
    "translate_error",
]

E = TypeVar("E", bound=BaseException)

CONNECT_S, LOCK_S, STATEMENT_S, IDLE_S = 5, 10, 30, 30
MIGRATION_LOCK_S = 600
"""How long a start waits for another replica's that brings the database up to date."""

_DEFAULTS: dict[str, Any] = {
    "application_name": "image-gateway",
    "client_encoding": "utf8",
    "connect_timeout": CONNECT_S,
    # Of several hosts the one that can be written to; a standby alone is a database that is away.
    "target_session_attrs": "read-write",
    # A host that vanished is noticed: when nothing was sent, and when what was sent is not taken.
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}

_AWAY = ("The database cannot be reached. Try again in a moment.", 2.0)
_LOADED = ("The database has too much to do. Try again in a moment.", 5.0)
_BROKEN = ("The database cannot read or write its files. Look at its log.", 10.0)
_CONTENDED = ("Too many changes of the same rows came at once. Try again in a moment.", 1.0)

# By SQLSTATE, or by its first characters: the class.
_UNAVAILABLE = {
    "08": _AWAY,
    "57P": _AWAY,
    "25P03": _AWAY,
    "25P04": _LOADED,
    "40001": _CONTENDED,
    "40P01": _CONTENDED,
    "53100": ("The disk that holds the database is full. Make room, then try again.", 30.0),
    "53": _LOADED,
    "55P03": ("What was asked for is locked in the database. Try again in a moment.", 1.0),
    "57014": _LOADED,
    "58": _BROKEN,
}


class _Text(Dumper):
    """Text as PostgreSQL takes it: it has no NUL, which SQLite and JSON have."""

    def dump(self, obj: str) -> bytes:
        """The text's bytes."""
        return obj.replace("\0", "\N{REPLACEMENT CHARACTER}").encode()


def postgres_url(url: str) -> URL:
    """A `postgresql://` URL, for our driver.

    Raises:
        DatabaseError: it asks for another driver, or names no database.
    """
    parsed = make_url(url)
    if parsed.drivername.partition("+")[2] not in ("", "psycopg"):
        raise DatabaseError("PostgreSQL is reached by psycopg alone: write the URL as postgresql://...")
    if not parsed.database:
        raise DatabaseError("The URL names no database: postgresql://user:password@host/database.")
    return parsed.set(drivername="postgresql+psycopg")


def name_of(url: URL) -> str:
    """What a person calls the database; nothing secret is in it."""
    host = url.host or url.query.get("host") or "this machine"
    where = ", ".join(host) if isinstance(host, tuple) else host
    return f"the database {url.database!r} at {where}"


def open_engine(url: URL, *, connections: int, migrate: bool = False) -> Engine:
    """A SQLAlchemy engine with this gateway's settings, which those of the URL overrule.

    Args:
        url: of `postgres_url`.
        connections: how many are kept, and may be open.
        migrate: none is kept, and a statement may take as long as it does.
    """
    seconds = {
        "statement_timeout": 0 if migrate else STATEMENT_S,
        "lock_timeout": MIGRATION_LOCK_S if migrate else LOCK_S,
        # A gateway that was suspended must not keep what it has locked from the others.
        "idle_in_transaction_session_timeout": 0 if migrate else IDLE_S,
    }
    options = " ".join(f"-c {name}={value}s" for name, value in seconds.items())
    asked = dict(url.query)
    given = asked.pop("options", "")
    pool: dict[str, Any] = {"poolclass": NullPool}
    if not migrate:
        pool = {"poolclass": QueuePool, "pool_size": connections, "max_overflow": 0, "pool_use_lifo": True}
    engine = create_engine(
        url.difference_update_query(["options"]),
        connect_args={
            **{name: value for name, value in _DEFAULTS.items() if name not in asked},
            "options": f"{options} {given if isinstance(given, str) else ' '.join(given)}".strip(),
        },
        isolation_level="READ COMMITTED",
        use_native_hstore=False,
        # Parameters stay out of error messages: they hold people's prompts.
        hide_parameters=True,
        **pool,
    )

    event.listen(engine, "handle_error", _hide_values)

    @event.listens_for(engine, "connect")
    def connect(connection: "psycopg.Connection[Any]", _record: object) -> None:
        connection.adapters.register_dumper(str, _Text)

    return engine


def _hide_values(context: ExceptionContext) -> None:
    """Keep to the first line of what the server says: the next ones repeat the row that is wrong."""
    error, wrapped = context.original_exception, context.sqlalchemy_exception
    if not isinstance(error, psycopg.Error) or not error.diag.message_primary:
        return
    error.args = (error.diag.message_primary,)
    if wrapped is not None:
        wrapped.args = (f"({type(error).__module__}.{type(error).__name__}) {error}",)


def driver_of(connection: Connection) -> "psycopg.Connection[Any]":
    """The driver's connection beneath SQLAlchemy's.

    Raises:
        TypeError: not a connection of psycopg.
    """
    driver = connection.connection.driver_connection
    if not isinstance(driver, psycopg.Connection):
        raise TypeError(f"not a connection of psycopg: {driver!r}")
    return driver


def is_open(connection: Connection) -> bool:
    """Whether the server has a transaction open in which no statement failed."""
    return driver_of(connection).info.transaction_status == TransactionStatus.INTRANS


def abandon(connection: Connection) -> None:
    """Undo the transaction, whatever SQLAlchemy believes of it: no other may find it open."""
    if not connection.closed and not connection.invalidated:
        with suppress(psycopg.Error):
            driver_of(connection).rollback()


def sqlstate(error: BaseException) -> str | None:
    """The server's code for what is wrong; None when it was not the server that said so."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    return cause.sqlstate if isinstance(cause, psycopg.Error) else None


def said(error: BaseException) -> str:
    """The driver's own words, in one line. They name hosts and users, and no password."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    return " ".join(str(cause).split())


def translate_error(error: E) -> E | DatabaseUnavailable:
    """`DatabaseUnavailable` for what passes, or is an operator's to mend; else `error` itself."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    if not isinstance(cause, psycopg.Error):
        return error
    code = cause.sqlstate
    if code is None:
        known = _AWAY if isinstance(cause, psycopg.OperationalError) else None
    else:
        known = _UNAVAILABLE.get(code) or _UNAVAILABLE.get(code[:3]) or _UNAVAILABLE.get(code[:2])
    if known is None:
        return error
    unavailable = DatabaseUnavailable(*known)
    unavailable.__cause__ = error
    return unavailable
