"""Many at once, by several processes: never more is let in than there is, and what was used is right."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from msgspec.structs import replace
from sqlalchemy import Connection, func, insert, select
from support.new_jobs import new_job

from billing import ledger
from billing.budgets import Budget, BudgetExhausted, Kind
from billing.tables import spend
from gateway.accounts import budget_rows, rows
from gateway.db.engine import Database, open_database
from gateway.db.tables import api_key, job
from gateway.jobs import admit, store
from gateway.jobs.admit import NewJob
from providers.errors import ProviderFailed

pytestmark = pytest.mark.every_database

MANY, FEW, PAID_FOR, PRICE = 1_000, 150, 10, 30_000
AT = 1_795_000_000_000
RICH = 10**12
BROKE = ProviderFailed("it broke", provider="first")


@pytest.fixture
async def replicas(database_url: str) -> AsyncIterator[list[Database]]:
    """The database as two processes have it; as one has it where it is a file."""
    async with AsyncExitStack() as stack:
        opened = [open_database(database_url) for _ in range(1 if database_url.startswith("sqlite") else 2)]
        for db in opened:
            stack.push_async_callback(db.aclose)
        yield opened


async def begin(db: Database, balance: int) -> None:
    """Ann, with a key and so many micro-dollars."""

    def make(conn: Connection) -> None:
        rows.ensure_account(conn, account_id="ann", name="Ann", postpaid=False, at=1)
        ledger.top_up(conn, account_id="ann", amount_micros=balance, reference="pay", at=1)
        row: dict[str, Any] = {"id": "key1", "account_id": "ann", "name": "k", "digest": "0", "created_at": 1}
        conn.execute(insert(api_key).values(**row))

    await db.write(make)


def one(number: int, user: str = "u1") -> NewJob:
    """A job of Ann's key that may cost `PRICE`."""
    return replace(new_job(number, PRICE), key_id="key1", end_user=user, max_open=MANY)


async def let_in(db: Database, new: NewJob) -> str:
    """What became of a request."""
    try:
        await db.write(lambda c: admit.admit(c, new, AT))
    except (ledger.InsufficientFunds, BudgetExhausted) as error:
        return type(error).__name__
    return "admitted"


async def crowd(replicas: list[Database], jobs: list[NewJob]) -> Counter[str]:
    """Everybody at once."""
    became = await asyncio.gather(*(let_in(replicas[i % len(replicas)], new) for i, new in enumerate(jobs)))
    return Counter(became)


async def jobs_in(db: Database) -> int:
    return await db.read(lambda c: c.execute(select(func.count()).select_from(job)).scalar_one())


@pytest.mark.slow
async def test_a_balance_for_ten(replicas: list[Database]) -> None:
    db = replicas[0]
    await begin(db, PAID_FOR * PRICE + PRICE - 1)
    became = await crowd(replicas, [one(number) for number in range(MANY)])
    assert became == {"admitted": PAID_FOR, "InsufficientFunds": MANY - PAID_FOR}
    assert await jobs_in(db) == PAID_FOR
    assert await db.read(ledger.verify) == []
    assert (await db.read(lambda c: ledger.balance(c, "ann"))).available_micros == PRICE - 1


@pytest.mark.parametrize(
    ("kind", "subject"), [("account", ""), ("key", "key1"), ("user", "u1"), ("user", "*")]
)
async def test_a_monthly_budget_for_ten(replicas: list[Database], kind: Kind, subject: str) -> None:
    db = replicas[0]
    await begin(db, RICH)
    limit = PAID_FOR * PRICE + PRICE - 1
    budget = Budget(kind=kind, subject=subject, period="month", limit_micros=limit)
    await db.write(lambda c: set_budget(c, budget))
    became = await crowd(replicas, [one(number) for number in range(FEW)])
    assert became == {"admitted": PAID_FOR, "BudgetExhausted": FEW - PAID_FOR}
    assert await jobs_in(db) == PAID_FOR
    assert await db.read(ledger.verify) == []
    assert await db.read(drift) == []


async def test_each_user_has_a_budget_of_their_own(replicas: list[Database]) -> None:
    db = replicas[0]
    await begin(db, RICH)
    budget = Budget(kind="user", subject="*", period="month", limit_micros=2 * PRICE)
    await db.write(lambda c: set_budget(c, budget))
    jobs = [one(number, f"u{number % 20}") for number in range(100)]
    assert await crowd(replicas, jobs) == {"admitted": 40, "BudgetExhausted": 60}


async def test_budgets_that_are_set_while_jobs_come_and_go(replicas: list[Database]) -> None:
    """Whatever the order: what counts in the end is what the jobs hold or were charged."""
    await begin(replicas[0], RICH)
    dice = random.Random(7)
    wanted = [
        Budget(kind=kind, subject=subject, period=period, limit_micros=RICH)
        for kind, subject in (("account", ""), ("key", "key1"), ("user", "*"), ("user", "u1"))
        for period in ("month", "all")
    ]

    async def live(number: int) -> None:
        new = one(number, f"u{number % 3}")
        assert await let_in(dice.choice(replicas), new) == "admitted"
        if number % 4 == 0:
            return
        db = dice.choice(replicas)
        if number % 4 == 1:
            lost = [(new.attempt.id, BROKE)]
            await db.write(lambda c: store.end_without_images(c, new.id, lost, BROKE, AT + 1))
        else:
            await db.write(lambda c: store.complete(c, new.id, (), number % PRICE, AT + 1))

    async def meddle() -> None:
        for _ in range(3):
            for budget in dice.sample(wanted, len(wanted)):
                db = dice.choice(replicas)
                await db.write(lambda c, budget=budget: set_budget(c, budget))
                assert await db.read(drift) == []

    async with asyncio.TaskGroup() as group:
        group.create_task(meddle())
        for number in range(200):
            group.create_task(live(number))
    assert await replicas[0].read(drift) == []
    assert await replicas[0].read(ledger.verify) == []
    counted = await replicas[0].read(
        lambda c: {(row.kind, row.subject, row.period) for row in c.execute(select(spend))}
    )
    assert {("account", "", "all"), ("key", "key1", "2026-11"), ("user", "u2", "all")} <= counted


def set_budget(conn: Connection, budget: Budget) -> None:
    """As `gateway.accounts.budgets` does."""
    assert budget_rows.lock_account(conn, "ann")
    budget_rows.put_budget(conn, "ann", budget, AT)


def drift(conn: Connection) -> list[Any]:
    """The counts that are not what the jobs say, by the job table in one snapshot."""
    columns = {"account": None, "key": job.c.key_id, "user": job.c.end_user}
    found = []
    for row in conn.execute(select(spend)):
        whose = columns[row.kind]
        which = [job.c.account_id == row.account_id] + ([whose == row.subject] if whose is not None else [])
        counted = func.coalesce(func.sum(func.coalesce(job.c.charge_micros, job.c.ceiling_micros)), 0)
        used = int(conn.execute(select(counted).where(*which)).scalar_one())
        if used != row.used_micros:
            found.append((row.kind, row.subject, row.period, row.used_micros, used))
    return found
