"""Bring a PostgreSQL database to this version's schema: one process at a time, in one transaction."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection

from gateway.db.engine import DatabaseError, DatabaseUnavailable
from gateway.db.migrate import Scripts, UpgradeResult, migration_failed
from gateway.db.postgres_server import name_of, open_engine, postgres_url, said, translate_error

__all__ = ["look_at_postgres", "upgrade_postgres"]

LOCK = int.from_bytes(b"igw_schm")
"""The advisory lock that a migration holds: any number, as long as it stays the same."""


def upgrade_postgres(url: str, scripts: Scripts) -> UpgradeResult:
    """As `gateway.db.migrate.upgrade`, which makes `scripts`."""
    name = name_of(postgres_url(url))
    with _connected(url) as connection:
        _check_encoding(connection, name)
        current = scripts.current(connection, name)
        connection.rollback()
        if current != scripts.head:
            current = _migrate(connection, name, scripts)
    return UpgradeResult(from_revision=current, to_revision=scripts.head, backup=None)


def look_at_postgres(url: str, scripts: Scripts) -> str | None:
    """The database's revision, as `gateway.db.migrate.look` says."""
    with _connected(url) as connection:
        return scripts.current(connection, name_of(postgres_url(url)))


@contextmanager
def _connected(url: str) -> Iterator[Connection]:
    """One connection, and what is wrong with it in our words.

    Raises:
        DatabaseUnavailable: it cannot be had, or was lost.
    """
    engine = open_engine(postgres_url(url), connections=1, migrate=True)
    try:
        with engine.connect() as connection:
            yield connection
    except Exception as error:
        translated = translate_error(error)
        if not isinstance(translated, DatabaseUnavailable) or translated is error:
            raise
        # At a start, to whoever runs the gateway: the driver says what is wrong with the address.
        raise DatabaseUnavailable(f"{translated} ({said(error)})", translated.retry_after) from error
    finally:
        engine.dispose()


def _check_encoding(connection: Connection, name: str) -> None:
    found = connection.exec_driver_sql("show server_encoding").scalar_one()
    if found != "UTF8":
        raise DatabaseError(
            f"{name} is encoded in {found}: make one with `create database ... encoding 'UTF8'`."
        )


def _migrate(connection: Connection, name: str, scripts: Scripts) -> str | None:
    """Migrate as the only one that does; the revision that was found."""
    with connection.begin():
        connection.exec_driver_sql("select pg_advisory_xact_lock(%s)", (LOCK,))
        # Another process may have done it while this one waited.
        current = scripts.current(connection, name)
        if current == scripts.head:
            return current
        try:
            scripts.run(connection)
        except Exception as error:
            if translate_error(error) is not error:
                raise
            raise migration_failed(error) from error
    return current
