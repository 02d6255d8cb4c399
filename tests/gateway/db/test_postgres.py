"""PostgreSQL behind the two calls: one transaction each, run again where that is safe, and never twice."""

import asyncio
import gc
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import psycopg
import pytest
from blockbuster import blockbuster_ctx
from sqlalchemy import Connection, make_url
from sqlalchemy.exc import DBAPIError, IntegrityError, InternalError
from support.cut_proxy import CutProxy
from support.gateway_process import free_port
from support.postgres import PostgresServer

from gateway.db.engine import (
    DatabaseClosed,
    DatabaseError,
    DatabaseUnavailable,
    OutcomeUnknown,
    open_database,
)
from gateway.db.postgres import TRIES, PostgresDatabase
from gateway.db.postgres_server import name_of, open_engine, postgres_url

Fn = Callable[[Connection], Any]
TABLE = (
    "create table row (id integer primary key, text text check (text <> 'bad'), n integer not null default 0)"
)


def sql(statement: str, *values: Any) -> Fn:
    return lambda connection: connection.exec_driver_sql(statement, values or None)


def insert(number: int) -> Fn:
    return lambda c: c.exec_driver_sql("insert into row (id) values (%s)", (number,)).rowcount


def ids(connection: Connection) -> list[int]:
    return [row[0] for row in connection.exec_driver_sql("select id from row order by id")]


@pytest.fixture(scope="module")
def tables(postgres: PostgresServer) -> Iterator[str]:
    """A database with a table for these tests, by its URL."""
    with postgres.database(migrated=False) as url:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(TABLE)
        yield url


@pytest.fixture
def url(tables: str) -> str:
    with psycopg.connect(tables, autocommit=True) as connection:
        connection.execute("truncate row")
    return tables


@pytest.fixture
async def database(url: str) -> AsyncIterator[PostgresDatabase]:
    database = PostgresDatabase(url)
    yield database
    await database.aclose()


@pytest.fixture
async def proxied(url: str, postgres: PostgresServer) -> AsyncIterator[tuple[PostgresDatabase, CutProxy]]:
    """A database whose connections a test can cut."""
    with CutProxy(postgres.socket) as proxy:
        where = f"127.0.0.1:{proxy.port}/{make_url(url).database}?sslmode=disable&gssencmode=disable"
        database = PostgresDatabase(f"postgresql://postgres@{where}")
        yield database, proxy
        await database.aclose()


async def test_opening_reading_writing_and_closing_never_block_the_loop(url: str) -> None:
    with blockbuster_ctx():
        database = open_database(url)
        assert isinstance(database, PostgresDatabase)
        assert await asyncio.gather(*(database.write(insert(n)) for n in range(100))) == [1] * 100
        assert await database.read(ids) == list(range(100))
        await database.aclose()


async def test_a_function_that_raises_leaves_nothing(database: PostgresDatabase) -> None:
    def bad(connection: Connection) -> None:
        insert(7)(connection)
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        await database.write(bad)
    await database.write(insert(1))
    with pytest.raises(IntegrityError):
        await database.write(insert(1))
    assert await database.read(ids) == [1]
    assert database.retries.total() == 0


@pytest.mark.parametrize("end", ["commit", "rollback", "begin_nested", "close"])
async def test_a_function_may_not_end_the_transaction(database: PostgresDatabase, end: str) -> None:
    def rogue(connection: Connection) -> None:
        insert(1)(connection)
        getattr(connection, end)()

    with pytest.raises(DatabaseError):
        await database.write(rogue)
    assert await database.read(ids) == []
    await database.write(insert(2))


@pytest.mark.parametrize("end", ["commit", "rollback"])
async def test_nor_by_a_statement(database: PostgresDatabase, end: str) -> None:
    with pytest.raises(DatabaseError, match="state of its own"):
        await database.write(sql(end))
    await database.write(insert(2))


async def test_nor_go_on_after_a_statement_that_failed(database: PostgresDatabase) -> None:
    """The server answers such a commit with a rollback, and no error."""

    def careless(connection: Connection) -> None:
        insert(1)(connection)
        with pytest.raises(IntegrityError):
            insert(1)(connection)

    with pytest.raises(DatabaseError, match="nothing of it was kept"):
        await database.write(careless)
    assert await database.read(ids) == []


async def test_a_savepoint_in_a_function_is_its_own_affair(database: PostgresDatabase) -> None:
    def careful(connection: Connection) -> None:
        insert(1)(connection)
        with pytest.raises(IntegrityError), connection.begin_nested():
            insert(1)(connection)

    await database.write(careful)
    assert await database.read(ids) == [1]


async def test_a_read_is_one_snapshot_and_cannot_write(database: PostgresDatabase, url: str) -> None:
    def twice(connection: Connection) -> tuple[list[int], list[int]]:
        before = ids(connection)
        with psycopg.connect(url) as other:
            other.execute("insert into row (id) values (1)")
        return before, ids(connection)

    assert await database.read(twice) == ([], [])
    assert await database.read(ids) == [1]
    with pytest.raises(InternalError, match="read-only"):
        await database.read(insert(2))


async def test_a_deadlock_is_run_again(database: PostgresDatabase) -> None:
    for number in (1, 2):
        await database.write(insert(number))
    both = threading.Barrier(2)
    runs: list[int] = []

    def crossing(first: int, second: int) -> Fn:
        def fn(connection: Connection) -> None:
            runs.append(first)
            connection.exec_driver_sql("set local deadlock_timeout = '10ms'")
            connection.exec_driver_sql("update row set n = n + 1 where id = %s", (first,))
            if runs.count(first) == 1:
                both.wait(20)
            connection.exec_driver_sql("update row set n = n + 1 where id = %s", (second,))

        return fn

    await asyncio.gather(database.write(crossing(1, 2)), database.write(crossing(2, 1)))
    assert await database.read(lambda c: c.exec_driver_sql("select n from row").scalars().all()) == [2, 2]
    assert database.retries == {"40P01": 1}
    assert len(runs) == 3


def conflict(connection: Connection) -> None:
    connection.exec_driver_sql("do $$ begin raise exception 'again' using errcode = '40001'; end $$")


async def test_a_conflict_is_run_again_and_not_for_ever(database: PostgresDatabase) -> None:
    runs: list[int] = []

    def fn(connection: Connection) -> int:
        runs.append(1)
        insert(len(runs))(connection)
        if len(runs) < 3:
            conflict(connection)
        return len(runs)

    assert await database.write(fn) == 3
    assert await database.read(ids) == [3]
    assert database.retries == {"40001": 2}
    with pytest.raises(DatabaseUnavailable, match="same rows"):
        await database.write(conflict)
    assert database.retries == {"40001": 2 + TRIES - 1}


async def test_a_connection_that_was_lost_while_it_idled_is_not_noticed(
    database: PostgresDatabase, url: str
) -> None:
    together = threading.Barrier(4)
    await asyncio.gather(*(database.write(lambda _: together.wait(20)) for _ in range(4)))
    with psycopg.connect(url, autocommit=True) as other:
        killed = other.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = current_database() and pid <> pg_backend_pid()"
        )
        assert killed.rowcount == 4
    assert await database.write(insert(1)) == 1
    assert await database.read(ids) == [1]
    # The others that idled were let go with the first.
    assert database.retries == {"lost": 1}


async def test_one_that_is_lost_before_the_commit_is_run_again(database: PostgresDatabase) -> None:
    runs: list[int] = []

    def fn(connection: Connection) -> int:
        runs.append(1)
        insert(1)(connection)
        if len(runs) == 1:
            connection.exec_driver_sql("select pg_terminate_backend(pg_backend_pid())")
        return len(runs)

    assert await database.write(fn) == 2
    assert await database.read(ids) == [1]


async def test_one_that_is_lost_after_the_commit_is_not(proxied: tuple[PostgresDatabase, CutProxy]) -> None:
    database, proxy = proxied
    runs: list[int] = []

    def fn(connection: Connection) -> int:
        runs.append(insert(1)(connection))
        return len(runs)

    proxy.cuts.append("after")
    assert await database.write(fn) == 1
    assert proxy.cuts == []
    assert await database.read(ids) == [1]
    assert database.retries.total() == 0


async def test_one_whose_commit_never_came_is(proxied: tuple[PostgresDatabase, CutProxy]) -> None:
    database, proxy = proxied
    runs: list[int] = []

    def fn(connection: Connection) -> int:
        runs.append(insert(1)(connection))
        return len(runs)

    proxy.cuts += ["before", "before"]
    assert await database.write(fn) == 3
    assert proxy.cuts == []
    assert await database.read(ids) == [1]
    assert database.retries == {"lost": 2}


async def test_a_server_that_loses_each_commit_is_given_up(
    proxied: tuple[PostgresDatabase, CutProxy],
) -> None:
    database, proxy = proxied
    proxy.cuts += ["before"] * TRIES
    with pytest.raises(DatabaseUnavailable, match="at each commit"):
        await database.write(insert(1))
    assert await database.read(ids) == []


async def test_what_cannot_be_learned_before_the_end_is_said(
    proxied: tuple[PostgresDatabase, CutProxy],
) -> None:
    """The server goes away with the answer; whoever closes is not kept waiting for it."""
    database, proxy = proxied
    proxy.cuts.append("after")
    reached, gate = threading.Event(), threading.Event()

    def fn(connection: Connection) -> None:
        insert(1)(connection)
        reached.set()
        gate.wait(20)

    write = asyncio.create_task(database.write(fn))
    await asyncio.to_thread(reached.wait, 20)
    proxy.refuses = True
    gate.set()
    await asyncio.sleep(0)
    await database.aclose()
    with pytest.raises(OutcomeUnknown):
        await write


async def test_a_server_that_restarts_is_away_and_comes_back(
    database: PostgresDatabase, postgres: PostgresServer
) -> None:
    await database.write(insert(1))
    await asyncio.to_thread(postgres.stop)
    try:
        for call in (database.write, database.read):
            with pytest.raises(DatabaseUnavailable, match="cannot be reached") as caught:
                await call(ids)
            assert caught.value.retry_after > 0
    finally:
        await asyncio.to_thread(postgres.start)
    assert await database.write(insert(2)) == 1
    assert await database.read(ids) == [1, 2]


async def test_nobody_listens() -> None:
    database = PostgresDatabase(f"postgresql://me:secret@127.0.0.1:{free_port()}/db")
    with pytest.raises(DatabaseUnavailable) as caught:
        await database.write(ids)
    assert "secret" not in str(caught.value)
    await database.aclose()


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("set local statement_timeout = '1ms'; select pg_sleep(20)", "too much to do"),
        ("set local lock_timeout = '1ms'; lock table row in share mode", "is locked"),
    ],
)
async def test_what_takes_too_long_is_unavailable(
    database: PostgresDatabase, url: str, statement: str, says: str
) -> None:
    with psycopg.connect(url) as other:
        other.execute("lock table row in access exclusive mode")
        with pytest.raises(DatabaseUnavailable, match=says):
            await database.write(sql(statement))


async def test_a_canceled_caller_does_not_lose_the_commit(database: PostgresDatabase, url: str) -> None:
    reports: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reports.append(context))
    reached, gate = threading.Event(), threading.Event()

    def slow(connection: Connection) -> None:
        insert(1)(connection)
        reached.set()
        gate.wait(20)

    def fails(_: Connection) -> None:
        gate.wait(20)
        raise ValueError

    # More than there are connections: the last have not begun.
    tasks = [asyncio.create_task(database.write(fn)) for fn in (slow, *[fails] * 8, insert(2))]
    await asyncio.to_thread(reached.wait, 20)
    for task in tasks:
        task.cancel()
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(e) for e in ended] == [asyncio.CancelledError] * 10
    gate.set()
    await database.aclose()
    gc.collect()
    await asyncio.sleep(0)
    assert reports == []
    again = PostgresDatabase(url)
    assert await again.read(ids) == [1, 2]
    await again.aclose()


async def test_closing_finishes_what_was_asked_for(url: str) -> None:
    database = PostgresDatabase(url)
    writes = [asyncio.create_task(database.write(insert(n))) for n in range(50)]
    await asyncio.sleep(0)
    await asyncio.gather(database.aclose(), database.aclose())
    assert await asyncio.gather(*writes) == [1] * 50
    for call in (database.write, database.read):
        with pytest.raises(DatabaseClosed):
            await call(ids)
    assert not any(t.name.startswith("database") for t in threading.enumerate())
    with psycopg.connect(url) as other:
        left = other.execute("select count(*) from pg_stat_activity where datname = current_database()")
        assert left.fetchone() == (1,)


async def test_errors_do_not_repeat_what_people_wrote(database: PostgresDatabase) -> None:
    """The server itself repeats the row that is wrong."""
    for number, table in ((1, "row"), (2, "nowhere")):
        with pytest.raises(DBAPIError, match=f'relation "{table}"') as caught:
            await database.write(sql(f"insert into {table} values (%s, %s)", number, "bad"))
        for said in (str(caught.value), str(caught.value.orig)):
            assert "'bad'" not in said
            assert ", bad," not in said


async def test_text_may_hold_what_json_may(database: PostgresDatabase) -> None:
    await database.write(sql("insert into row (id, text) values (1, %s)", "a\0b \N{PILE OF POO}"))
    found = await database.read(lambda c: c.exec_driver_sql("select text from row").scalar_one())
    assert found == "a\N{REPLACEMENT CHARACTER}b \N{PILE OF POO}"


def test_a_database_is_named_without_its_password() -> None:
    url = postgres_url("postgres://me:secret@db.example.org/images?password=hush")
    assert name_of(url) == "the database 'images' at db.example.org"


def test_settings_of_the_url_overrule_ours(url: str) -> None:
    given = "&application_name=mine&options=-c%20lock_timeout%3D7s"
    engine = open_engine(postgres_url(url + given), connections=1)
    with engine.connect() as connection:
        shown = [
            connection.exec_driver_sql(f"show {name}").scalar_one()
            for name in ("application_name", "lock_timeout", "statement_timeout", "transaction_isolation")
        ]
    engine.dispose()
    assert shown == ["mine", "7s", "30s", "read committed"]
