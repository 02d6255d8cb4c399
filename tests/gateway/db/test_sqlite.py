"""The writer thread and the readers, on real files."""

import asyncio
import gc
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from blockbuster import blockbuster_ctx
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError, OperationalError

from gateway.db.engine import DatabaseClosed, DatabaseError, DatabaseUnavailable
from gateway.db.sqlite import SqliteDatabase
from gateway.db.sqlite_file import warn_of_wal_reset_bug

Fn = Callable[[Connection], Any]


def sql(statement: str) -> Fn:
    return lambda connection: connection.exec_driver_sql(statement)


def insert(number: int) -> Fn:
    return lambda c: c.exec_driver_sql("insert into row (id) values (?)", (number,)).rowcount


def ids(connection: Connection) -> list[int]:
    return [row[0] for row in connection.exec_driver_sql("select id from row order by id")]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a 100% odd?name.db"


@pytest.fixture
async def database(path: Path) -> AsyncIterator[SqliteDatabase]:
    database = SqliteDatabase(path, busy_timeout_s=0.2)
    await database.write(sql("create table row (id integer primary key, body blob)"))
    yield database
    await database.aclose()


async def together(database: SqliteDatabase, *fns: Fn) -> list[Any]:
    """Run the functions in one batch: they wait together behind one that holds the writer."""
    gate = threading.Event()
    tasks = [asyncio.create_task(database.write(fn)) for fn in (lambda _: gate.wait(), *fns)]
    await asyncio.sleep(0)
    gate.set()
    return (await asyncio.gather(*tasks, return_exceptions=True))[1:]


async def test_a_thousand_writes_at_once(database: SqliteDatabase) -> None:
    with blockbuster_ctx():
        assert await asyncio.gather(*(database.write(insert(n)) for n in range(1000))) == [1] * 1000
        assert await database.read(ids) == list(range(1000))


async def test_opening_reading_writing_and_closing_never_block_the_loop(path: Path) -> None:
    with blockbuster_ctx():
        database = SqliteDatabase(path)
        await database.write(sql("create table row (id integer primary key)"))
        assert await database.read(ids) == []
        await database.aclose()


async def test_a_batch_is_one_transaction_that_others_see_after_its_commit(
    database: SqliteDatabase, path: Path
) -> None:
    def look(connection: Connection) -> tuple[list[int], int]:
        with closing(sqlite3.connect(path)) as other:
            return ids(connection), other.execute("select count(*) from row").fetchone()[0]

    assert await together(database, insert(1), insert(2), look) == [1, 1, ([1, 2], 0)]
    assert await database.read(ids) == [1, 2]


async def test_a_function_that_raises_harms_no_other(database: SqliteDatabase) -> None:
    def bad(connection: Connection) -> None:
        insert(7)(connection)
        raise ValueError("mine")

    one, mine, clash, two = await together(database, insert(1), bad, insert(1), insert(2))
    assert (one, two) == (1, 1)
    assert isinstance(mine, ValueError)
    assert isinstance(clash, IntegrityError)
    assert await database.read(ids) == [1, 2]


async def test_even_an_exit_in_a_function_leaves_the_writer_alive(database: SqliteDatabase) -> None:
    def leave(_: Connection) -> None:
        raise asyncio.CancelledError

    assert isinstance((await together(database, leave))[0], asyncio.CancelledError)
    assert await database.write(insert(1)) == 1


@pytest.mark.parametrize("end", ["commit", "rollback", "begin_nested", "close"])
async def test_a_function_may_not_end_the_transaction(database: SqliteDatabase, end: str) -> None:
    one, rogue, two = await together(database, insert(1), lambda c: getattr(c, end)() and None, insert(2))
    assert isinstance(rogue, DatabaseError)
    assert (one, two) == (1, 1)
    assert await database.read(ids) == [1, 2]


async def test_a_savepoint_in_a_function_is_its_own_affair(database: SqliteDatabase) -> None:
    def careful(connection: Connection) -> None:
        insert(1)(connection)
        with pytest.raises(IntegrityError), connection.begin_nested():
            insert(1)(connection)

    await database.write(careful)
    assert await database.read(ids) == [1]


async def test_a_failed_commit_is_told_to_all_and_the_next_works(database: SqliteDatabase) -> None:
    await database.write(sql("create table child (row_id integer references row (id))"))

    def dangling(connection: Connection) -> None:
        connection.exec_driver_sql("pragma defer_foreign_keys=on")
        connection.exec_driver_sql("insert into child values (99)")

    failures = await together(database, insert(1), dangling)
    assert [type(f) for f in failures] == [DatabaseError, DatabaseError]
    assert failures[0] is not failures[1]
    assert await database.read(ids) == []
    assert await database.write(insert(2)) == 1


async def test_a_short_lock_is_waited_out(path: Path) -> None:
    database = SqliteDatabase(path, busy_timeout_s=30)
    await database.write(sql("create table row (id integer primary key)"))
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("begin exclusive")
        write = asyncio.create_task(database.write(insert(1)))
        assert await database.read(ids) == []
        assert not write.done()
        other.execute("rollback")
        assert await write == 1
    await database.aclose()


async def test_a_long_lock_is_reported_and_got_over(database: SqliteDatabase, path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("begin exclusive")
        failures = await together(database, insert(1), insert(2))
        assert [type(f) for f in failures] == [DatabaseUnavailable] * 2
        assert failures[0].retry_after == 1.0
    assert await database.write(insert(3)) == 1
    assert await database.read(ids) == [3]


async def test_a_full_disk_fails_only_what_does_not_fit(database: SqliteDatabase) -> None:
    await database.write(sql("pragma max_page_count=20"))
    large = sql("insert into row values (7, zeroblob(1000000))")
    one, full, two = await together(database, insert(1), large, insert(2))
    assert (one, two) == (1, 1)
    assert isinstance(full, DatabaseUnavailable)
    assert "full" in full.message

    await database.write(sql("pragma max_page_count=1000000"))
    await database.write(large)
    assert await database.read(ids) == [1, 2, 7]


async def test_a_read_sees_what_is_committed_and_cannot_write(database: SqliteDatabase) -> None:
    inserted, gate = threading.Event(), threading.Event()

    def slow(connection: Connection) -> None:
        insert(1)(connection)
        inserted.set()
        gate.wait()

    write = asyncio.create_task(database.write(slow))
    await asyncio.to_thread(inserted.wait)
    assert await database.read(ids) == []
    gate.set()
    await write
    assert await database.read(ids) == [1]
    with pytest.raises(OperationalError, match="readonly"):
        await database.read(insert(2))


async def test_a_read_is_one_snapshot(database: SqliteDatabase, path: Path) -> None:
    def twice(connection: Connection) -> tuple[list[int], list[int]]:
        before = ids(connection)
        with closing(sqlite3.connect(path)) as other, other:
            other.execute("insert into row (id) values (1)")
        return before, ids(connection)

    assert await database.read(twice) == ([], [])
    assert await database.read(ids) == [1]


async def test_a_canceled_caller_leaves_no_trace(database: SqliteDatabase) -> None:
    reports: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reports.append(context))
    gate = threading.Event()

    def fail(_: Connection) -> None:
        gate.wait()
        raise ValueError

    tasks = [asyncio.create_task(call(fail)) for call in (database.write, database.write, database.read)]
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    assert [type(e) for e in await asyncio.gather(*tasks, return_exceptions=True)] == [
        asyncio.CancelledError
    ] * 3
    gate.set()
    assert await database.write(insert(1)) == 1
    gc.collect()
    await asyncio.sleep(0)
    assert reports == []


async def test_closing_finishes_what_was_asked_for(path: Path) -> None:
    database = SqliteDatabase(path)
    await database.write(sql("create table row (id integer primary key)"))
    writes = [asyncio.create_task(database.write(insert(n))) for n in range(50)]
    await asyncio.sleep(0)
    await database.aclose()
    await database.aclose()
    assert await asyncio.gather(*writes) == [1] * 50
    for call in (database.write, database.read):
        with pytest.raises(DatabaseClosed):
            await call(ids)
    assert not any(t.name.startswith("database-") for t in threading.enumerate())
    assert [p.name for p in path.parent.iterdir()] == [path.name]


async def test_the_log_stays_small_while_writing(path: Path) -> None:
    database = SqliteDatabase(path, wal_limit_bytes=100_000, max_batch=10, idle_s=60)
    await database.write(sql("create table row (id integer primary key, body blob)"))
    wal = path.with_name(path.name + "-wal")
    sizes = []
    for _ in range(20):
        row = sql("insert into row (body) values (zeroblob(10000))")
        await asyncio.gather(*(database.write(row) for _ in range(10)))
        sizes.append(wal.stat().st_size)
    assert max(sizes) < 500_000
    await database.aclose()


async def test_the_log_is_emptied_when_idle(path: Path) -> None:
    database = SqliteDatabase(path, idle_s=0.01)
    await database.write(sql("create table row (id integer primary key)"))
    wal = path.with_name(path.name + "-wal")
    async with asyncio.timeout(10):
        while wal.stat().st_size:
            await database.read(ids)
    await database.aclose()


async def test_a_folder_that_is_missing_is_reported_and_got_over(tmp_path: Path) -> None:
    database = SqliteDatabase(tmp_path / "later" / "gateway.db")
    for call in (database.write, database.read):
        with pytest.raises(DatabaseUnavailable, match="cannot be read or written"):
            await call(sql("select 1"))
    (tmp_path / "later").mkdir()
    await database.write(sql("create table row (id integer primary key)"))
    await database.aclose()


async def test_errors_do_not_repeat_what_people_wrote(database: SqliteDatabase) -> None:
    with pytest.raises(OperationalError) as caught:
        await database.write(lambda c: c.exec_driver_sql("insert into nowhere values (?)", ("my prompt",)))
    assert "my prompt" not in str(caught.value)


CHILD = """
import asyncio, sys
from pathlib import Path
from gateway.db.sqlite import SqliteDatabase

async def main():
    database = SqliteDatabase(Path(sys.argv[1]))
    await database.write(lambda c: c.exec_driver_sql("create table row (id integer primary key)"))
    async def work(first):
        for number in range(first, 10**9, 16):
            await database.write(lambda c: c.exec_driver_sql("insert into row (id) values (?)", (number,)))
            print(number, flush=True)
    await asyncio.gather(*(work(n) for n in range(16)))

asyncio.run(main())
"""


def test_a_killed_process_loses_no_acknowledged_row(path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(path)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    with child, child.stdout:
        acknowledged = [int(child.stdout.readline()) for _ in range(500)]
        child.kill()
        acknowledged += [int(line) for line in child.stdout if line.endswith("\n")]
    with closing(sqlite3.connect(path)) as connection:
        kept = {row[0] for row in connection.execute("select id from row")}
        assert connection.execute("pragma integrity_check").fetchone() == ("ok",)
    assert set(acknowledged) <= kept


@pytest.mark.parametrize(
    ("version", "warns"),
    [((3, 6, 23), 0), ((3, 7, 0), 1), ((3, 40, 1), 1), ((3, 51, 2), 1), ((3, 51, 3), 0), ((3, 53, 0), 0)],
)
def test_the_wal_reset_bug_is_named_once(
    version: tuple[int, int, int], warns: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    warn_of_wal_reset_bug.cache_clear()
    warn_of_wal_reset_bug(version)
    warn_of_wal_reset_bug(version)
    assert caplog.text.count("WAL-reset") == warns
