"""SQLite's log stays bounded, whoever reads meanwhile."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Connection

from gateway.db.sqlite import SqliteDatabase

LIMIT = 400_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "gateway.db"


@pytest.fixture
async def database(path: Path) -> AsyncIterator[SqliteDatabase]:
    database = SqliteDatabase(path, wal_limit_bytes=LIMIT, idle_s=0.05)
    await database.write(lambda c: c.exec_driver_sql("create table row (id integer primary key, body blob)"))
    yield database
    await database.aclose()


def log_of(path: Path) -> int:
    """Bytes of the log."""
    return path.with_name(path.name + "-wal").stat().st_size


async def fill(database: SqliteDatabase, rows: int, then: Callable[[], None] = lambda: None) -> None:
    """Write so many rows of 2 kB, 20 at once."""
    for _ in range(rows // 20):
        await asyncio.gather(*(database.write(insert) for _ in range(20)))
        then()


def insert(connection: Connection) -> None:
    connection.exec_driver_sql("insert into row (body) values (zeroblob(2000))")


def count(connection: Connection) -> int:
    found: int = connection.exec_driver_sql("select count(*) from row").scalar_one()
    return found


async def test_a_reader_that_stays_makes_the_log_grow_until_it_ends(
    database: SqliteDatabase, path: Path
) -> None:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)) as reader:
        reader.execute("begin")
        assert reader.execute("select count(*) from row").fetchone() == (0,)
        await fill(database, 2000)
        assert log_of(path) > 8 * LIMIT
        # Its snapshot stands, and nobody was kept from writing.
        assert reader.execute("select count(*) from row").fetchone() == (0,)
        reader.execute("rollback")
        # The next writes empty it, without an idle while.
        await fill(database, 400)
        assert log_of(path) < 3 * LIMIT
    assert await database.read(count) == 2400


async def test_a_reader_that_ends_when_nobody_writes_any_more(database: SqliteDatabase, path: Path) -> None:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)) as reader:
        reader.execute("begin")
        reader.execute("select count(*) from row").fetchone()
        await fill(database, 600)
        assert log_of(path) > 2 * LIMIT
        reader.execute("rollback")
    async with asyncio.timeout(20):
        while log_of(path):
            await asyncio.sleep(0.01)


async def test_reads_that_overlap_without_an_end_do_not_keep_the_log(
    database: SqliteDatabase, path: Path
) -> None:
    stop = threading.Event()

    async def read_on(pause_s: float) -> None:
        def slowly(connection: Connection) -> None:
            count(connection)
            stop.wait(pause_s)

        while not stop.is_set():
            await database.read(slowly)

    # One of them is always in the middle of its read, on what was committed before.
    readers = [asyncio.create_task(read_on(pause_s)) for pause_s in (0.01, 0.013, 0.017, 0.019)]
    sizes: list[int] = []
    await fill(database, 3000, lambda: sizes.append(log_of(path)))
    stop.set()
    await asyncio.gather(*readers)
    # 6 MB were written; a checkpoint now and then may meet a reader that the machine had stopped.
    assert max(sizes) < 8 * LIMIT
    assert await database.read(count) == 3000
