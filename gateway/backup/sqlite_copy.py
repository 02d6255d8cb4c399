"""Copies of a SQLite file: made beside a gateway that writes to it, and put in place."""

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sqlalchemy import Connection

from gateway.backup.records import BackupError, Watch
from gateway.db.engine import DatabaseError
from gateway.db.sqlite_file import driver_of, open_engine, sqlite_path, translate_error

__all__ = ["NAME", "check_empty", "copied", "put_in_place", "reading"]

NAME = "database.sqlite"
PAGES = 1024
"""In one step of a copy."""
BUSY_S = 5.0


@contextmanager
def copied(url: str, folder: Path, watch: Watch) -> Iterator[Connection]:
    """Copy a database into a folder, as it is at one moment, and read the copy for as long as the block runs.

    Raises:
        BackupError: the copy cannot be written, or is not whole.
        DatabaseUnavailable: the database cannot be read.
    """
    path, to = sqlite_path(url), folder / NAME
    to.touch(mode=0o600)
    with reading(path) as source:
        # The first read takes the snapshot; as long as that stands, what is written meanwhile does not make
        # the copy begin anew.
        pages = source.exec_driver_sql("pragma page_count").scalar_one()
        size = source.exec_driver_sql("pragma page_size").scalar_one()
        source.exec_driver_sql("select count(*) from sqlite_master").scalar_one()
        watch.begin("the database", pages * size)
        _copy(driver_of(source), to, watch, size)
    with reading(to) as copy:
        yield copy


def _copy(source: sqlite3.Connection, to: Path, watch: Watch, page_size: int) -> None:
    before = -1

    def step(_status: int, left: int, _total: int) -> None:
        nonlocal before
        watch.advance((before - left) * page_size if before >= 0 else 0)
        before = left

    try:
        with closing(sqlite3.connect(to, isolation_level=None)) as target:
            source.backup(target, pages=PAGES, progress=step, sleep=0)
            # One file, without a log beside it.
            target.execute("pragma journal_mode=delete").fetchall()
            (said,) = target.execute("pragma quick_check(1)").fetchone()
    except sqlite3.Error as error:
        raise BackupError(f"the database could not be copied to {to}: {error}") from error
    if said != "ok":
        raise BackupError(f"the copy of the database is not whole, and the database may not be: {said}")


@contextmanager
def reading(path: Path) -> Iterator[Connection]:
    """A file, to be read as it is at one moment."""
    engine = open_engine(path, busy_timeout_s=BUSY_S, mode="read")
    try:
        with engine.connect() as connection:
            yield connection
    except Exception as error:
        translated = translate_error(error)
        if translated is error:
            raise
        raise translated from error
    finally:
        engine.dispose()


def check_empty(url: str) -> None:
    """See that nothing is where a database is to be put.

    Raises:
        BackupError: something is.
    """
    path = sqlite_path(url)
    for found in (path, path.with_name(f"{path.name}-wal")):
        if found.exists() and found.stat().st_size:
            raise BackupError(
                f"{found} is there already: a backup is restored to where no database is. Move it away, or "
                "set GATEWAY_DATA_DIR or GATEWAY_DATABASE_URL to another place"
            )


def put_in_place(copy: Path, url: str, change: Callable[[Connection], None]) -> None:
    """Put a copy where a database is to be, changed: all of that is done when it gets its name.

    Args:
        copy: of `copied`.
        url: says where; of `check_empty`.
        change: is called in a transaction.

    Raises:
        BackupError: it cannot be written there.
    """
    path = sqlite_path(url)
    made = path.with_name(f"{path.name}.restoring")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        made.unlink(missing_ok=True)
        made.touch(mode=0o600)
        with copy.open("rb") as source, made.open("wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)
        _change(made, change)
        made.rename(path)
    except OSError as error:
        raise BackupError(f"the database could not be put to {path}: {error}") from error


def _change(path: Path, change: Callable[[Connection], None]) -> None:
    engine = open_engine(path, busy_timeout_s=BUSY_S, mode="migrate")
    try:
        with engine.connect() as connection:
            with connection.begin():
                change(connection)
                # They are not enforced while tables are rebuilt.
                broken = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall()
                if broken:
                    raise DatabaseError(f"{len(broken)} rows would refer to rows that are not there")
            driver_of(connection).execute("pragma journal_mode=delete").fetchall()
    except Exception as error:
        translated = translate_error(error)
        if translated is error:
            raise
        raise translated from error
    finally:
        engine.dispose()
