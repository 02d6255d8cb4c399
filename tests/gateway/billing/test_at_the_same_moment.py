"""What moves money at the same moment: on a server it really is, on a file one comes after the other."""

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from msgspec.structs import replace
from sqlalchemy import Connection, func, select
from support.paid_jobs import KEYS, NOON, PEOPLE, open_accounts, paid_job, share_of

from billing import budgets, corrections, ledger
from billing.budgets import EACH, Budget
from billing.findings import Finding
from gateway import books
from gateway.db.engine import Database, open_database
from gateway.db.tables import account, job
from gateway.jobs import admit, refunds, store
from providers.errors import ProviderFailed

pytestmark = pytest.mark.every_database

Change = Callable[[Connection], Any]
PAID_IN = 400


@pytest.fixture
async def dbs(database_url: str) -> AsyncIterator[list[Database]]:
    """What processes that share a database have; everybody has paid in. The books are right at the end."""
    # A file has one writer, and so one process.
    opened = [open_database(database_url) for _ in range(1 if database_url.startswith("sqlite") else 3)]
    await opened[0].write(begin)
    yield opened
    assert await wrong(opened[0]) == []
    for one in opened:
        await one.aclose()


def begin(conn: Connection) -> None:
    open_accounts(conn)
    for name in PEOPLE:
        ledger.top_up(conn, account_id=name, amount_micros=PAID_IN, reference=f"first {name}", at=1)


async def wrong(db: Database) -> list[Finding]:
    return await db.read(lambda c: books.verify(c, NOON))


async def at_once(dbs: list[Database], fns: list[Change]) -> list[Any]:
    """What each function returned, or raised."""
    calls = [dbs[number % len(dbs)].write(fn) for number, fn in enumerate(fns)]
    return await asyncio.gather(*calls, return_exceptions=True)


def charged(conn: Connection, number: int, charge: int) -> None:
    """A job of Ann's that was charged."""
    admit.admit(conn, paid_job(number, "ann", 100, key="annkey", user="eve"), NOON)
    end(conn, number, charge)


def end(conn: Connection, number: int, charge: int) -> bool:
    share = share_of(f"job{number}", f"att{number}.1", range(1), charge // 2)
    return store.complete(conn, f"job{number}", [share], charge, NOON)


async def test_no_more_is_refunded_than_was_charged(dbs: list[Database]) -> None:
    await dbs[0].write(lambda c: charged(c, 1, 90))

    def back(number: int) -> Change:
        about = {"job_id": "job1", "amount_micros": 20, "reference": f"r{number}", "at": NOON}
        return lambda c: refunds.refund(c, **about)

    ended = await at_once(dbs, [back(number) for number in range(12)])
    kinds = Counter(type(one).__name__ for one in ended)
    assert kinds == {"Posting": 4, "RefundTooLarge": 8}
    whole = {"job_id": "job1", "amount_micros": None, "at": NOON}
    ended = await at_once(
        dbs, [lambda c, n=n: refunds.refund(c, reference=f"w{n}", **whole) for n in range(6)]
    )
    kinds = Counter(type(one).__name__ for one in ended)
    assert kinds == {"Posting": 1, "NothingToRefund": 5}
    assert (await dbs[0].read(lambda c: ledger.balance(c, "ann"))).available_micros == PAID_IN


async def test_no_more_is_paid_out_than_there_is(dbs: list[Database]) -> None:
    def out(number: int) -> Change:
        about = {"account_id": "ann", "amount_micros": 90, "reference": f"r{number}", "at": NOON}
        if number % 2:
            return lambda c: corrections.pay_out(c, **about)
        return lambda c: corrections.adjust(c, **about | {"amount_micros": -90, "note": "x"})

    ended = await at_once(dbs, [out(number) for number in range(12)])
    assert Counter(type(one) for one in ended) == {type(None): 4, ledger.InsufficientFunds: 8}


async def test_a_reference_counts_once(dbs: list[Database]) -> None:
    def credit(name: str) -> Change:
        return lambda c: corrections.promote(c, account_id=name, amount_micros=5, reference="gift", at=NOON)

    ended = await at_once(dbs, [credit(name) for name in PEOPLE] * 4)
    assert ended.count(None) == 1
    names = {type(one).__name__ for one in ended if one is not None}
    assert names <= {"ReferenceUsed", "IntegrityError"}


class Players:
    """Random operations on the same accounts, by a seed."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.numbers = itertools.count(1)
        self.known: list[int] = []
        """Jobs that somebody asked for."""

    def plays(self, count: int) -> list[Change]:
        """So many operations."""
        return [self.play() for _ in range(count)]

    def play(self) -> Change:
        kind = self.chance.choice(["let_in"] * 4 + ["end"] * 6 + ["refund"] * 4 + ["move"] * 3 + ["budget"])
        if kind == "let_in" or not self.known:
            self.known.append(next(self.numbers))
            return self.let_in(self.known[-1])
        # Most of the time one that is under way, or has just ended.
        number = self.chance.choice(self.known[-60:])
        return {
            "end": self.end,
            "refund": self.refund,
            "move": self.move,
            "budget": self.set_budget,
        }[kind](number)

    def let_in(self, number: int) -> Change:
        key = self.chance.choice([None, *KEYS])
        name = KEYS[key][0] if key else self.chance.choice(list(PEOPLE))
        user = self.chance.choice([None, "eve", "max"])
        new = paid_job(number, name, self.chance.randrange(60), key=key, user=user)
        return lambda c: admit.admit(c, replace(new, max_open=50), NOON)

    def end(self, number: int) -> Change:
        charge, fails = self.chance.randrange(60), self.chance.random() < 0.2

        def fn(conn: Connection) -> None:
            ceiling = conn.execute(select(job.c.ceiling_micros).where(job.c.id == f"job{number}")).scalar()
            if ceiling is None:
                return
            if fails:
                error = ProviderFailed("no")
                lost = [(f"att{number}.1", error)]
                store.end_without_images(conn, f"job{number}", lost, error, NOON)
            else:
                end(conn, number, min(charge, ceiling))

        return fn

    def refund(self, number: int) -> Change:
        amount = self.chance.choice([None, 5, 20])
        about = {"job_id": f"job{number}", "amount_micros": amount, "reference": f"r{next(self.numbers)}"}
        return lambda c: refunds.refund(c, at=NOON, **about)

    def move(self, number: int) -> Change:
        about = {
            "account_id": self.chance.choice(list(PEOPLE)),
            "amount_micros": self.chance.randrange(1, 90),
        }
        about |= {"reference": f"r{self.chance.randrange(40)}", "at": NOON}
        fn: Any = self.chance.choice([ledger.top_up, corrections.promote, corrections.pay_out])
        return lambda c: fn(c, **about)

    def set_budget(self, number: int) -> Change:
        kind, subject = self.chance.choice(
            [("account", ""), ("key", "annkey"), ("user", "eve"), ("user", EACH)]
        )
        new = Budget(
            kind=kind,
            subject=subject,
            period=self.chance.choice(["month", "all"]),
            limit_micros=self.chance.randrange(40, 300),
        )
        remove = self.chance.random() < 0.4
        return lambda c: change_budget(c, "ann", new, remove)


def change_budget(conn: Connection, name: str, new: Budget, remove: bool) -> None:
    """As an operator does it: no job of the account is let in, or ends, meanwhile."""
    conn.execute(select(account.c.id).where(account.c.id == name).with_for_update())
    if remove:
        budgets.remove_budget(conn, name, new)
        return
    whose = {"account": None, "key": job.c.key_id, "user": job.c.end_user}[new.kind]
    cost = func.sum(func.coalesce(job.c.charge_micros, job.c.ceiling_micros))
    query = select(cost).where(job.c.account_id == name)
    if whose is None:
        used = {"": int(conn.execute(query).scalar() or 0)}
    else:
        of = query.add_columns(whose).where(whose.is_not(None)).group_by(whose)
        used = {subject: int(micros) for micros, subject in conn.execute(of)}
        used = {subject: micros for subject, micros in used.items() if new.subject in (subject, EACH)}
    budgets.set_budget(conn, name, new, used, NOON)


@pytest.mark.parametrize("rounds", [3, pytest.param(30, marks=[pytest.mark.slow, pytest.mark.timeout(600)])])
async def test_whatever_comes_at_once_the_books_are_right(
    dbs: list[Database], rounds: int, figures: Callable[[str], None]
) -> None:
    ended: Counter[str] = Counter()
    players = Players(rounds)
    for _ in range(rounds):
        plays = players.plays(80)
        for one in await at_once(dbs, plays):
            ended[type(one).__name__] += 1
        assert await wrong(dbs[0]) == []
        for name, postpaid in PEOPLE.items():
            found = await dbs[0].read(lambda c, name=name: ledger.balance(c, name))
            assert postpaid or found.available_micros >= 0
    figures(f"{rounds * 80} operations: {dict(ended)}")
    # Whatever was refused was refused for a reason that has a name.
    assert set(ended) <= {
        "NoneType", "bool", "Posting", "InsufficientFunds", "BudgetExhausted", "NothingToRefund",
        "RefundTooLarge", "ReferenceUsed", "IntegrityError", "UnknownHold", "TooManyJobs",
    }  # fmt: skip
    assert ended["Posting"] > 0
