"""Accounts on a real database, with a clock that a test turns."""

from collections.abc import AsyncIterator

import pytest
from support.people import BY

from gateway.accounts.service import Accounts
from gateway.ambient import Ambient
from gateway.db.engine import Database, open_database


class Clock:
    """Milliseconds that stand still until a test moves them."""

    now = 1_795_000_000_000

    def ambient(self) -> Ambient:
        return Ambient(now_ms=lambda: self.now)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    database = open_database(database_url)
    yield database
    await database.aclose()


@pytest.fixture
def accounts(db: Database, clock: Clock) -> Accounts:
    return Accounts(db, clock.ambient())


@pytest.fixture
async def ann(accounts: Accounts) -> str:
    """A prepaid account of nothing."""
    made = await accounts.create("Ann", tier="premium", admin=False, postpaid=False, balance=None, by=BY)
    return made.account.id
