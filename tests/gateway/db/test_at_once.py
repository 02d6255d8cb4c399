"""Functions of the store that run at the same moment: what one could do on a file alone, it does on a server."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from msgspec.structs import replace
from sqlalchemy import Connection, func, select
from support.new_jobs import new_job

from billing import ledger
from gateway import limits
from gateway.accounts import rows
from gateway.db.engine import Database, open_database
from gateway.db.tables import account
from gateway.jobs import admit, store
from gateway.limits import Limit
from providers.errors import JobCanceled

pytestmark = pytest.mark.every_database


@pytest.fixture
async def dbs(database_url: str) -> AsyncIterator[list[Database]]:
    """What processes that share a database have; Ann has paid 100 in. The books are checked."""
    # A file has one writer, and so one process.
    opened = [open_database(database_url) for _ in range(1 if database_url.startswith("sqlite") else 3)]
    await opened[0].write(ann)
    yield opened
    assert await opened[0].read(ledger.verify) == []
    for one in opened:
        await one.aclose()


def ann(conn: Connection) -> None:
    rows.ensure_account(conn, account_id="ann", name="Ann", postpaid=False, at=1)
    ledger.top_up(conn, account_id="ann", amount_micros=100, reference="pay1", at=1)


async def at_once(dbs: list[Database], *fns: Callable[[Connection], Any]) -> list[Any]:
    """What each function returned, or raised."""
    calls = [dbs[number % len(dbs)].write(fn) for number, fn in enumerate(fns)]
    return await asyncio.gather(*calls, return_exceptions=True)


async def test_a_wallet_is_never_overspent(dbs: list[Database]) -> None:
    def hold(number: int) -> Callable[[Connection], None]:
        return lambda c: ledger.place_hold(c, job_id=f"j{number}", account_id="ann", amount_micros=9, at=2)

    ended = await at_once(dbs, *(hold(number) for number in range(30)))
    assert ended.count(None) == 11
    assert {type(one) for one in ended} == {type(None), ledger.InsufficientFunds}
    found = await dbs[0].read(lambda c: ledger.balance(c, "ann"))
    assert (found.available_micros, found.held_micros) == (1, 99)


async def test_a_hold_ends_once(dbs: list[Database]) -> None:
    await dbs[0].write(lambda c: admit.admit(c, new_job(), 2))
    broke = JobCanceled("stopped")
    ends = [
        lambda c: store.complete(c, "job1", [], 40, 5),
        lambda c: store.end_without_images(c, "job1", [("att1.1", broke)], broke, 5),
    ]
    assert sorted(await at_once(dbs, *ends * 6)) == [False] * 11 + [True]


async def test_no_more_jobs_than_an_account_may_have(dbs: list[Database]) -> None:
    new = [replace(new_job(number, ceiling=1), max_open=3) for number in range(12)]
    ended = await at_once(dbs, *((lambda c, one=one: admit.admit(c, one, 2)) for one in new))
    assert ended.count(None) == 3
    assert {type(one) for one in ended} == {type(None), admit.TooManyJobs}


async def test_a_limit_lets_through_what_it_says(dbs: list[Database]) -> None:
    limit = Limit(name="x", burst=7, per_s=1)
    ended = await at_once(dbs, *[lambda c: limits.take(c, limit, "ann", 1_000)] * 20)
    assert sum(one.allowed for one in ended) == 7


async def test_an_account_is_made_once(dbs: list[Database]) -> None:
    def ensure(conn: Connection) -> None:
        rows.ensure_account(conn, account_id="bob", name="Bob", postpaid=True, at=2)

    assert await at_once(dbs, *[ensure] * 9) == [None] * 9
    count = select(func.count()).select_from(account).where(account.c.id == "bob")
    assert await dbs[0].read(lambda c: c.execute(count).scalar_one()) == 1


async def test_a_job_that_waits_is_released_to_one(dbs: list[Database]) -> None:
    for number in range(6):
        new = replace(new_job(number, ceiling=1), status="scheduled")
        await dbs[0].write(lambda c, new=new: admit.admit(c, new, 2))
    released = await at_once(dbs, *[lambda c: admit.release_scheduled(c, "ann", 9)] * 6)
    assert sorted(job_id for ids in released for job_id in ids) == [f"job{number}" for number in range(6)]
