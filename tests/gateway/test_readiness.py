"""Whether the database takes writes is tried, seldom, and told as it is."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import select

from gateway.ambient import Ambient
from gateway.db.migrate import upgrade
from gateway.db.sqlite import SqliteDatabase
from gateway.db.tables import bucket
from gateway.readiness import EVERY_S, LATE_S, WriteProbe


class Clock:
    """Time that stands unless a test lets it go on."""

    def __init__(self) -> None:
        self.s = 1000.0
        self.ambient = Ambient(monotonic=lambda: self.s, now_ms=lambda: int(self.s * 1000))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    upgrade(f"sqlite:///{tmp_path / 'gateway.db'}", at=1)
    return tmp_path / "gateway.db"


@pytest.fixture
async def database(path: Path) -> AsyncIterator[SqliteDatabase]:
    database = SqliteDatabase(path, busy_timeout_s=0.05)
    yield database
    await database.aclose()


async def written(database: SqliteDatabase) -> list[int]:
    """When its row was last written."""
    return await database.read(lambda c: list(c.execute(select(bucket.c.at)).scalars()))


async def test_a_write_is_tried_at_most_once_in_a_while(database, clock) -> None:
    probe = WriteProbe(database, clock.ambient)
    for seconds, at in ((0, 1000), (EVERY_S - 0.1, 1000), (EVERY_S, 1005), (EVERY_S + 1, 1005)):
        clock.s = 1000 + seconds
        assert await probe.fault() is None
        assert await written(database) == [at * 1000]


async def test_a_lock_is_told_until_it_is_gone(database, path, clock) -> None:
    probe = WriteProbe(database, clock.ambient)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("begin exclusive")
        assert "locked by another program" in (await probe.fault() or "")
        other.execute("rollback")
    assert "locked by another program" in (await probe.fault() or "")  # as it was found
    clock.s += EVERY_S
    assert await probe.fault() is None


async def test_a_write_that_hangs_counts_once_it_is_late(path, clock) -> None:
    database = SqliteDatabase(path, busy_timeout_s=60)
    probe = WriteProbe(database, clock.ambient)
    assert await probe.fault() is None
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("begin exclusive")
        clock.s += EVERY_S
        assert await probe.fault() is None  # a short lock is waited out
        clock.s += LATE_S
        assert await probe.fault() == "a write takes very long"
        other.execute("rollback")
    async with asyncio.timeout(30):
        while await probe.fault() is not None:
            await asyncio.sleep(0.01)
    await probe.aclose()
    await database.aclose()
