"""Backups of a gateway in tests: made, restored elsewhere, and looked over."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.databases import plain_engine
from support.postgres import PG_BIN, PostgresServer

from gateway.ambient import Ambient
from gateway.backup.folder import BackupFolder
from gateway.backup.make import Made, make_backup
from gateway.backup.restore import Restored, Wishes, restore_backup
from gateway.cli.doctor import examine, examine_store
from gateway.db.engine import open_database
from gateway.settings import Settings, load_settings
from gateway.storage import open_store

__all__ = ["Places", "Quiet", "changed", "found_by_doctor", "made", "put_back", "rows", "with_programs"]

SECRET = "x" * 32


class Quiet:
    """Counts what it is told."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.done = 0

    def begin(self, what: str, total: int | None = None) -> None:
        self.begun.append(what)

    def advance(self, amount: int) -> None:
        self.done += amount


def with_programs(settings: Settings) -> Settings:
    """The same, and where PostgreSQL's programs are."""
    return load_settings({**settings.env, "GATEWAY_PG_BIN": str(PG_BIN)})


class Places:
    """Where backups are restored to in a test: empty databases of its kind, each with an empty store.

    Args:
        kind: sqlite or postgresql.
        folder: of the test's own.
        postgres: the server, where it is that kind.
    """

    def __init__(self, kind: str, folder: Path, postgres: PostgresServer | None) -> None:
        self._kind = kind
        self._folder = folder
        self._postgres = postgres

    @contextmanager
    def place(self, name: str = "elsewhere", **env: str) -> Iterator[Settings]:
        """The settings of an empty place."""
        base = {
            "GATEWAY_DATA_DIR": str(self._folder / name),
            "GATEWAY_SECRET": SECRET,
            "GATEWAY_PG_BIN": str(PG_BIN),
            **env,
        }
        if self._postgres is None:
            yield load_settings(base)
            return
        with self._postgres.database(migrated=False) as url:
            yield load_settings({**base, "GATEWAY_DATABASE_URL": url})


async def made(settings: Settings, folder: Path, *, keep: int | None = None) -> Made:
    """A backup, made beside whatever runs."""
    return await asyncio.to_thread(
        make_backup, with_programs(settings), folder, Ambient(), Quiet(), keep=keep
    )


async def put_back(settings: Settings, folder: Path, *, name: str | None = None, **wishes: bool) -> Restored:
    """The newest backup, restored."""

    def restore() -> Restored:
        where = BackupFolder(folder)
        with where.reading():
            chosen = name or where.names()[-1]
            return restore_backup(settings, where, chosen, Ambient(), Wishes(**wishes), Quiet())

    return await asyncio.to_thread(restore)


async def found_by_doctor(settings: Settings) -> list[str]:
    """What `gateway doctor` finds wrong."""
    database = open_database(settings.database_url)
    try:
        now = Ambient().now_ms()
        report = await database.read(lambda c: examine(c, now))
        store = await asyncio.to_thread(open_store, settings.storage_url, settings.env, to_write=False)
        report = await examine_store(report, database, store, now)
    finally:
        await database.aclose()
    return [f"{finding.code} {finding.subject}" for finding in report.findings]


def rows(settings: Settings, sql: str) -> list[tuple[object, ...]]:
    """What a database has."""
    engine = plain_engine(settings.database_url)
    try:
        with engine.connect() as conn:
            return [tuple(row) for row in conn.exec_driver_sql(sql)]
    finally:
        engine.dispose()


def changed(url: str, *statements: str) -> None:
    """Change a database beside whoever else does."""
    engine = plain_engine(url)
    try:
        with engine.begin() as conn:
            for statement in statements:
                conn.exec_driver_sql(statement)
    finally:
        engine.dispose()
