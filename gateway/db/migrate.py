"""Bring a database to this version's schema: a copy of a file first, then one transaction."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from msgspec import Struct
from sqlalchemy import Connection, inspect

from gateway.db.engine import DatabaseError, backend_of
from gateway.db.sqlite_file import driver_of, open_engine, sqlite_path, translate_error

__all__ = [
    "DatabaseBehind",
    "DatabaseTooNew",
    "MigrationFailed",
    "Schema",
    "Scripts",
    "UpgradeResult",
    "check_schema",
    "look",
    "migration_failed",
    "upgrade",
]

MIGRATIONS = "gateway.db:migrations"
"""Alembic finds the folder through the package, in a checkout and in a wheel alike."""


class DatabaseTooNew(DatabaseError):
    """The database was made by a later version of the gateway."""


class DatabaseBehind(DatabaseError):
    """The database was made by an earlier version, or is empty."""


class MigrationFailed(DatabaseError):
    """A migration failed; the database is as it was."""


class UpgradeResult(Struct, frozen=True, kw_only=True):
    """What `upgrade` did."""

    from_revision: str | None
    """None: the database was new."""
    to_revision: str
    backup: Path | None
    """The copy that was kept; None when nothing had to be changed, or nothing was there."""


def upgrade(url: str, *, at: int, busy_timeout_s: float = 5.0, migrations: str = MIGRATIONS) -> UpgradeResult:
    """Bring the database at `url` to this version's schema. Blocks: call it before the loop runs.

    A SQLite file that is behind is first copied to `<name>.before-<revision>-<time>.db` beside it. On
    PostgreSQL no copy is made, and of several processes that start at once one does the work.

    Args:
        url: `sqlite:///path`; the file is made when missing, its folder is not. Or `postgresql://...`;
            the database is there, maybe empty.
        at: the time now, in milliseconds UTC, for the copy's name.
        busy_timeout_s: seconds to wait for a lock that another program holds on a SQLite file.
        migrations: where Alembic's scripts are: a folder, or `package:folder`.

    Raises:
        DatabaseTooNew: made by a later version.
        MigrationFailed: the database is as it was, and the copy is kept.
        DatabaseUnavailable: locked, full or unreachable.
        DatabaseError: not a database of this gateway.
    """
    scripts = Scripts(migrations)
    if backend_of(url) == "postgresql":
        from gateway.db.postgres_migrate import upgrade_postgres

        return upgrade_postgres(url, scripts)
    path = sqlite_path(url)
    engine = open_engine(path, busy_timeout_s=busy_timeout_s, mode="migrate")
    with _unavailable_translated(), engine.connect() as connection:
        current = scripts.current(connection, str(path))
        connection.rollback()
        if current == scripts.head:
            return UpgradeResult(from_revision=current, to_revision=scripts.head, backup=None)
        backup = None if current is None else _keep_copy(connection, path, current, at)
        _migrate(connection, scripts, backup)
    return UpgradeResult(from_revision=current, to_revision=scripts.head, backup=backup)


class Schema(Struct, frozen=True, kw_only=True):
    """How far a database is."""

    current: str | None
    """Its revision; None: it is empty, or not there."""
    head: str
    """This version's."""

    @property
    def behind(self) -> bool:
        """Whether it has to be upgraded."""
        return self.current != self.head


def look(url: str, *, busy_timeout_s: float = 5.0, migrations: str = MIGRATIONS) -> Schema:
    """How far the database at `url` is. Changes nothing, and makes no file. Blocks.

    Args:
        url: as in `upgrade`.
        busy_timeout_s: as in `upgrade`.
        migrations: as in `upgrade`.

    Raises:
        DatabaseTooNew: made by a later version.
        DatabaseUnavailable: locked or unreachable.
        DatabaseError: not a database of this gateway.
    """
    scripts = Scripts(migrations)
    if backend_of(url) == "postgresql":
        from gateway.db.postgres_migrate import look_at_postgres

        return Schema(current=look_at_postgres(url, scripts), head=scripts.head)
    path = sqlite_path(url)
    if not path.exists():
        return Schema(current=None, head=scripts.head)
    engine = open_engine(path, busy_timeout_s=busy_timeout_s, mode="read")
    try:
        with _unavailable_translated(), engine.connect() as connection:
            return Schema(current=scripts.current(connection, str(path)), head=scripts.head)
    finally:
        engine.dispose()


def check_schema(url: str) -> None:
    """See that the database at `url` has this version's schema. Changes nothing. Blocks.

    Raises:
        DatabaseBehind: it has to be upgraded first.
        DatabaseError: as `look`.
    """
    found = look(url)
    if found.behind:
        stands = "is empty" if found.current is None else f"is at revision {found.current}"
        raise DatabaseBehind(
            f"The database {stands}, and this version needs revision {found.head}: run `gateway migrate` "
            "first, which GATEWAY_MIGRATE=step leaves to you."
        )


class Scripts:
    """The migrations.

    Args:
        migrations: as in `upgrade`.

    Raises:
        DatabaseError: there are none.
    """

    def __init__(self, migrations: str) -> None:
        self._config = Config()
        # ConfigParser reads % as the start of a reference.
        self._config.set_main_option("script_location", migrations.replace("%", "%%"))
        self._scripts = ScriptDirectory.from_config(self._config)
        head = self._scripts.get_current_head()
        if head is None:
            raise DatabaseError(f"No migrations are in {migrations}.")
        self.head = head

    def current(self, connection: Connection, name: str) -> str | None:
        """The database's revision; None for an empty one.

        Args:
            connection: to it.
            name: what a person calls it.

        Raises:
            DatabaseTooNew: made by a later version.
            DatabaseError: not a database of this gateway.
        """
        current = MigrationContext.configure(connection).get_current_revision()
        if current is None:
            if not inspect(connection).get_table_names():
                return None
            # Another process may have made them, with their revision, between the two looks.
            current = MigrationContext.configure(connection).get_current_revision()
        if current is None:
            raise DatabaseError(f"{name} has tables but no revision: it is not a database of this gateway.")
        if not self.knows(current):
            raise DatabaseTooNew(
                f"{name} is at revision {current}, and this version knows up to {self.head}. Run the version "
                "that made it, or put back the copy that was kept before its upgrade."
            )
        return current

    def knows(self, revision: str) -> bool:
        """Whether this version has a revision, or is older than it."""
        try:
            self._scripts.get_revision(revision)
        except CommandError:
            return False
        return True

    def run(self, connection: Connection) -> None:
        """Run those that the database has not had, in the connection's transaction."""
        self._config.attributes["connection"] = connection
        command.upgrade(self._config, "head")


def _keep_copy(connection: Connection, path: Path, revision: str, at: int) -> Path:
    stamp = f"{datetime.fromtimestamp(at // 1000, UTC):%Y%m%dT%H%M%S}{at % 1000:03d}Z"
    backup = path.with_name(f"{path.stem}.before-{revision}-{stamp}.db")
    try:
        # On the driver: SQLAlchemy would open a transaction, and VACUUM refuses to run in one.
        driver_of(connection).execute("VACUUM INTO ?", (str(backup),))
    except sqlite3.Error:
        backup.unlink(missing_ok=True)
        raise
    return backup


def _migrate(connection: Connection, scripts: Scripts, backup: Path | None) -> None:
    try:
        with connection.begin():
            scripts.run(connection)
            # They are not enforced while tables are rebuilt.
            broken = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall()
            if broken:
                raise DatabaseError(f"{len(broken)} rows would refer to rows that are not there")
    except Exception as error:
        if translate_error(error) is not error:
            raise
        kept = f" A copy is in {backup}." if backup else ""
        raise migration_failed(error, kept) from error


def migration_failed(error: Exception, kept: str = "") -> MigrationFailed:
    """What is said of a migration that failed."""
    return MigrationFailed(f"The database could not be upgraded, and is as it was: {error}{kept}")


@contextmanager
def _unavailable_translated() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        translated = translate_error(error)
        if translated is error:
            raise
        raise translated from error
