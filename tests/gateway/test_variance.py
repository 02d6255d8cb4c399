"""What providers billed too much yesterday is told in the log, once."""

import logging
from collections.abc import AsyncIterator

import pytest

from billing.usage import DAY_MS, Ended, record_end
from gateway.ambient import Ambient
from gateway.db.engine import Database, open_database
from gateway.variance import VarianceWatch

DAY = 20_000  # 2024-10-04


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    found = open_database(database_url)
    yield found
    await found.aclose()


async def end(db: Database, cost: int, listed: int, day: int = DAY, model: str = "flux-dev") -> None:
    """A job ends on a day, and its provider has billed so much of what is listed."""
    ended = Ended(
        account_id="ann", model=model, provider="fal", key_id=None, end_user=None, status="completed",
        images=1, quote_micros=1, charge_micros=1, cost_micros=cost, listed_micros=listed,
    )  # fmt: skip
    await db.write(lambda c: record_end(c, ended, day * DAY_MS + 5))


async def test_yesterday_is_told_once(db: Database, caplog: pytest.LogCaptureFixture) -> None:
    now = (DAY + 1) * DAY_MS
    watch = VarianceWatch(db, Ambient(now_ms=lambda: now))
    await end(db, 60_000, 30_000)
    await end(db, 30_001, 30_000, model="flux-pro")
    await end(db, 9, 1, day=DAY + 1)
    with caplog.at_level(logging.WARNING, logger="gateway.variance"):
        assert await watch.look()
        assert await watch.look()
        # Of two models, the provider's day is told too.
        assert [record.getMessage().partition(" USD. ")[0] for record in caplog.records] == [
            "fal billed 0.06 USD for flux-dev on 2024-10-04, and our list of its prices says 0.03 USD, +100.0 %. "
            "See whether provider_cost in the registry is right, and what the bill says: gateway billing "
            "reconcile --provider fal",
            "fal billed 0.090001 USD for all its models on 2024-10-04, and our list of its prices says 0.06 USD, "
            "+50.0 %. See whether provider_cost in the registry is right, and what the bill says: gateway "
            "billing reconcile --provider fal",
        ]
        caplog.clear()
        now += DAY_MS
        assert await watch.look()
        assert [record.getMessage()[:20] for record in caplog.records] == ["fal billed 0.000009 "]


async def test_a_very_bad_day_is_cut_short(db: Database, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(30):
        await end(db, 60_000, 30_000, model=f"m{number:02}")
    with caplog.at_level(logging.WARNING, logger="gateway.variance"):
        assert await VarianceWatch(db, Ambient(now_ms=lambda: (DAY + 1) * DAY_MS)).look()
    assert len(caplog.records) == 21
    assert caplog.records[-1].getMessage() == "... and 11 more: gateway billing variance"
