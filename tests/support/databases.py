"""What the fixtures `database_url` and `conn` of tests/conftest.py are made of."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, event, select

import billing.tables
import gateway.db.tables
from billing.findings import Finding
from gateway import books
from gateway.db.engine import Database, backend_of
from gateway.db.migrate import upgrade

__all__ = [
    "KINDS",
    "connected",
    "copy_of",
    "everything_in",
    "make_migrated_file",
    "plain_engine",
    "wrong_in",
]

KINDS = ("sqlite", "postgresql")


def make_migrated_file(path: Path) -> Path:
    """A SQLite file with the schema, to be copied: quicker than to make each one."""
    upgrade(f"sqlite:///{path}", at=1)
    return path


def copy_of(migrated: Path, path: Path) -> str:
    """A fresh SQLite database, by its URL."""
    shutil.copyfile(migrated, path)
    return f"sqlite:///{path}"


@contextmanager
def connected(url: str) -> Iterator[Connection]:
    """A connection in a transaction that is undone at the end; foreign keys hold, as in the gateway."""
    engine = plain_engine(url)
    try:
        with engine.connect() as connection, connection.begin() as transaction:
            yield connection
            transaction.rollback()
    finally:
        engine.dispose()


async def everything_in(db: Database, folder: Path) -> bytes:
    """All that a database keeps: its rows, and the files of a folder, where SQLite has them."""

    def rows(conn: Connection) -> str:
        tables = [*gateway.db.tables.metadata.sorted_tables, *billing.tables.metadata.sorted_tables]
        return "".join(repr(conn.execute(select(table)).all()) for table in tables)

    files = [path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()]
    return b"".join([(await db.read(rows)).encode(), *files])


def wrong_in(url: str, at: int) -> list[Finding]:
    """What breaks a rule of the books in a database that a gateway may be changing, on one snapshot."""
    engine = plain_engine(url)
    try:
        with engine.connect() as conn:
            if engine.dialect.name == "sqlite":
                conn.exec_driver_sql("begin")
            else:
                conn = conn.execution_options(isolation_level="REPEATABLE READ")
            return books.verify(conn, at)
    finally:
        engine.dispose()


def plain_engine(url: str) -> Engine:
    """An engine without what the gateway's own ones do besides."""
    if backend_of(url) == "postgresql":
        return create_engine(url.replace("postgresql:", "postgresql+psycopg:", 1))
    engine = create_engine(url)
    event.listen(engine, "connect", lambda connection, _: connection.execute("pragma foreign_keys=on"))
    return engine
