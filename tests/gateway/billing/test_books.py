"""When the books are looked at, what the log says, and what is kept."""

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text

from billing import ledger
from gateway.accounts import rows
from gateway.ambient import Ambient
from gateway.books import SAID, Books
from gateway.cleaning import Cleaner, Keep
from gateway.db.engine import Database, open_database
from gateway.housekeeping import EVERY_S, Housekeeper
from gateway.storage import open_store


class Clock:
    """Seconds that stand still until a test moves them."""

    now = 1000.0

    def ambient(self) -> Ambient:
        return Ambient(monotonic=lambda: self.now)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    """Thirty accounts, each with what one payment says."""
    database = open_database(database_url)

    def begin(conn) -> None:
        for number in range(SAID + 10):
            name = f"acc{number}"
            rows.ensure_account(conn, account_id=name, name=name, postpaid=False, at=1)
            ledger.top_up(conn, account_id=name, amount_micros=9, reference=name, at=1)

    await database.write(begin)
    yield database
    await database.aclose()


async def harm(db: Database) -> None:
    await db.write(lambda c: c.execute(text("update wallet set available_micros = 8")))


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]


async def test_what_is_wrong_is_a_line_each_up_to_a_bound(db, clock, caplog) -> None:
    books = Books(db, clock.ambient())
    assert (await books.look()).findings == ()
    assert lines(caplog) == []
    await harm(db)
    clock.now += 1
    found = await books.look()
    assert len(found.findings) == SAID + 10
    said = lines(caplog)
    assert len(said) == SAID + 1
    assert "wallet_sum: acc" in said[0]
    assert said[-1] == "the books: and 10 more: `gateway billing verify` shows them"
    assert books.last == found


async def test_who_asks_at_once_shares_a_look_that_is_not_older(db, clock) -> None:
    books = Books(db, clock.ambient())
    first = asyncio.create_task(books.look())
    await asyncio.sleep(0)
    await harm(db)
    clock.now += 1
    others = await asyncio.gather(*(books.look() for _ in range(3)))
    # Whatever the one under way found, who asked after the harm is told of it; and all by one look.
    assert await first is not others[0]
    assert others[0] is others[1] is others[2]
    assert others[0].findings


async def test_the_housekeeper_looks_every_hour(db, clock, tmp_path) -> None:
    store = await asyncio.to_thread(open_store, tmp_path.as_uri())
    cleaner = Cleaner(db, store, clock.ambient(), Keep(image_days=None, upload_days=None), alone=True)
    housekeeper, books = Housekeeper(db, clock.ambient(), cleaner), Books(db, clock.ambient())
    housekeeper.add(books.duty, EVERY_S)
    looks = []
    for ahead in (0.0, 60.0, EVERY_S):
        clock.now += ahead
        await housekeeper.round()
        looks.append(books.last)
    assert looks[0] is not None
    assert looks[0] is looks[1]
    assert looks[1] is not looks[2]
