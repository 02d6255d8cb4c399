"""Budgets of an account, its keys and its users: what is used of each, from when on."""

from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace
from sqlalchemy import select
from support.new_jobs import new_job
from support.people import BY

from billing.budgets import BudgetExhausted
from billing.tables import spend
from gateway.accounts.budget_rows import month_end
from gateway.accounts.budget_schemas import BudgetView
from gateway.accounts.budgets import Budgets
from gateway.ambient import DAY_MS, iso
from gateway.jobs import admit, store
from gateway.problems import Problem
from providers.errors import ProviderFailed

pytestmark = pytest.mark.every_database

BROKE = ProviderFailed("it broke", provider="first")
NOVEMBER = 1_795_000_000_000  # 2026-11-18
DECEMBER_1 = 1_796_083_200_000


@pytest.fixture
def budgets(db, clock) -> Budgets:
    return Budgets(db, clock.ambient())


@pytest.fixture
async def rich(accounts, ann) -> str:
    """Ann, who has paid 1,000 dollars in."""
    await accounts.top_up(ann, Decimal(1000), None, BY)
    return str(ann)


@pytest.fixture
async def key(accounts, rich) -> str:
    """A key of hers."""
    return str((await accounts.create_key(rich, "laptop", expires_in_days=None, by=BY))[0].id)


@pytest.fixture
def job(db, rich, clock) -> Any:
    """Lets a job in that may cost so many dollars."""
    numbers = iter(range(1, 1000))

    async def let_in(dollars: str, **more: Any) -> str:
        new = new_job(next(numbers), int(Decimal(dollars) * 1_000_000))
        new = replace(new, account_id=rich, **{"end_user": None, **more})
        await db.write(lambda c: admit.admit(c, new, clock.now))
        return new.id

    return let_in


def shown(view: BudgetView) -> tuple[Any, ...]:
    return view.kind, view.subject, view.period, view.limit, view.used, view.left


async def test_what_was_used_before_a_budget_was_set_counts(budgets, rich, key, job, db, clock) -> None:
    await job("1", key_id=key, end_user="u1")
    await job("2", end_user="u2")
    broken = await job("4", key_id=key)
    done = await job("8", end_user="u1")
    await db.write(lambda c: store.end_without_images(c, broken, [], BROKE, clock.now))
    await db.write(lambda c: store.complete(c, done, (), 5_000_000, clock.now))
    for kind, subject, used in (("account", None, 8), ("key", key, 1), ("user", "u1", 6), ("user", "u3", 0)):
        for period in ("month", "all"):
            found = await budgets.set(rich, kind, subject, period, Decimal(10), BY)
            assert shown(found) == (kind, subject, period, 10, used, 10 - used)
            assert found.starts_anew == (None if period == "all" else "2026-12-01T00:00:00.000Z")
    assert len(await budgets.all(rich)) == 8


async def test_a_month_is_the_calendars_and_the_next_begins_at_nothing(budgets, rich, job, clock) -> None:
    clock.now = DECEMBER_1 - DAY_MS
    await job("3")
    clock.now = DECEMBER_1
    await job("1")
    assert shown(await budgets.set(rich, "account", None, "month", Decimal(5), BY))[3:] == (5, 1, 4)
    assert shown(await budgets.set(rich, "account", None, "all", Decimal(5), BY))[3:] == (5, 4, 1)
    with pytest.raises(BudgetExhausted, match=r"the account's budget has 1\.00 USD left"):
        await job("2")
    await budgets.remove(rich, "account", None, "all", BY)
    await job("4")
    with pytest.raises(BudgetExhausted, match=r"the account's budget for 2026-12 has 0\.00 USD left"):
        await job("0.000001")
    clock.now += 31 * DAY_MS
    (found,) = await budgets.all(rich)
    assert (shown(found)[3:], found.starts_anew) == ((5, 0, 5), "2027-02-01T00:00:00.000Z")
    await job("5")


async def test_a_job_that_is_late_at_the_turn_of_a_month_is_counted_where_it_belongs(
    budgets, rich, job, clock, db
) -> None:
    clock.now = DECEMBER_1 - 1000
    await job("1")
    clock.now = DECEMBER_1 + 1000
    await job("2")
    await budgets.set(rich, "account", None, "month", Decimal(10), BY)
    clock.now = DECEMBER_1 - 500
    await job("4")
    found = await db.read(lambda c: {row.period: row.used_micros for row in c.execute(select(spend))})
    assert found == {"2026-11": 5_000_000, "2026-12": 2_000_000}


async def test_each_user_and_one_that_has_its_own(budgets, rich, job) -> None:
    await job("3", end_user="u1")
    found = await budgets.set(rich, "user", "*", "month", Decimal(5), BY)
    assert shown(found) == ("user", "*", "month", 5, None, None)
    await budgets.set(rich, "user", "u2", "month", Decimal(50), BY)
    await job("2", end_user="u1")
    await job("40", end_user="u2")
    await job("500")  # nobody's
    with pytest.raises(BudgetExhausted, match="the user u1's budget for 2026-11"):
        await job("1", end_user="u1")
    assert [shown(one)[1:] for one in await budgets.all(rich, "u1")] == [("u1", "month", 5, 5, 0)]
    assert [shown(one)[1:] for one in await budgets.all(rich, "u2")] == [("u2", "month", 50, 40, 10)]
    # Without its own it is one of each, and what it used counts.
    await budgets.remove(rich, "user", "u2", "month", BY)
    assert [shown(one)[1:] for one in await budgets.all(rich, "u2")] == [("u2", "month", 5, 40, 0)]


async def test_a_keys_budgets_can_be_set_when_it_is_made(accounts, budgets, rich, job) -> None:
    row, _ = await accounts.create_key(
        rich, "k", expires_in_days=None, by=BY, budget=Decimal(9), monthly_budget=Decimal(5)
    )
    mine = {"key_id": row.id}
    await job("4", **mine)
    assert [shown(one)[2:] for one in await budgets.all(rich)] == [("all", 9, 4, 5), ("month", 5, 4, 1)]
    limits = (await budgets.of_keys([row]))[row.id]
    assert (limits.total_micros, limits.month_micros) == (9_000_000, 5_000_000)
    with pytest.raises(BudgetExhausted, match="the API key's budget for 2026-11"):
        await job("2", **mine)


async def test_what_a_key_was_made_with_can_be_set_anew_and_is_counted_once(
    accounts, budgets, rich, job, db
) -> None:
    row, _ = await accounts.create_key(rich, "k", expires_in_days=None, by=BY, budget=Decimal(9))
    mine = {"key_id": row.id}
    await job("4", **mine)
    assert shown(await budgets.set(rich, "key", row.id, "all", Decimal(20), BY))[3:] == (20, 4, 16)
    assert [shown(one)[2:] for one in await budgets.all(rich)] == [("all", 20, 4, 16)]
    await job("10", **mine)
    assert [shown(one)[2:] for one in await budgets.all(rich)] == [("all", 20, 14, 6)]
    await budgets.remove(rich, "key", row.id, "all", BY)
    await job("100", **mine)
    assert await budgets.all(rich) == []
    assert await db.read(lambda c: c.execute(select(spend)).all()) == []


async def test_what_a_key_was_made_with_can_be_taken_away(accounts, budgets, rich, job, db) -> None:
    row, _ = await accounts.create_key(rich, "k", expires_in_days=None, by=BY, budget=Decimal(9))
    await job("4", key_id=row.id)
    await budgets.remove(rich, "key", row.id, "all", BY)
    assert await budgets.of_keys([row]) == {}
    assert await db.read(lambda c: c.execute(select(spend)).all()) == []


async def test_nothing_may_be_the_limit(budgets, rich, job) -> None:
    await budgets.set(rich, "account", None, "month", Decimal(0), BY)
    await job("0")
    with pytest.raises(BudgetExhausted):
        await job("0.000001")


@pytest.mark.parametrize(
    ("kind", "subject", "limit", "at"),
    [("account", "x", "1", "/subject"), ("key", None, "1", "/subject"), ("user", None, "1", "/subject"),
     ("account", None, "-1", "/limit"), ("account", None, "NaN", "/limit"), ("account", None, "1000001", "/limit"),
     ("account", None, "0.0000001", "/limit")],
)  # fmt: skip
async def test_what_is_no_budget(budgets, rich, kind, subject, limit, at) -> None:
    with pytest.raises(Problem) as caught:
        await budgets.set(rich, kind, subject, "month", Decimal(limit), BY)
    document = caught.value.document
    assert (document.code, [fault.pointer for fault in document.errors]) == ("invalid_body", [at])
    assert await budgets.all(rich) == []


async def test_what_is_not_there(accounts, budgets, rich) -> None:
    other = await accounts.create("Bob", tier="normal", admin=False, postpaid=True, balance=None, by=BY)
    theirs, _ = await accounts.create_key(other.account.id, "k", expires_in_days=None, by=BY)
    for call in (
        budgets.set("acc_none", "account", None, "month", Decimal(1), BY),
        budgets.set(rich, "key", theirs.id, "month", Decimal(1), BY),
        budgets.remove(rich, "key", theirs.id, "month", BY),
        budgets.remove(rich, "account", None, "month", BY),
        budgets.all("acc_none"),
    ):
        with pytest.raises(Problem) as caught:
            await call
        assert caught.value.document.code == "not_found"


async def test_it_is_written_down_who_set_what_without_a_users_id(accounts, budgets, rich, key) -> None:
    await budgets.set(rich, "key", key, "month", Decimal(1), BY)
    await budgets.set(rich, "user", "ann@example.org", "all", Decimal(2), BY)
    await budgets.remove(rich, "key", key, "month", BY)
    rows = [one for one in await accounts.audit_log(rich, None, 20) if one.action.startswith("budget.")]
    assert sorted((one.action, str(sorted(one.detail.items()))) for one in rows) == [
        ("budget.remove", str([("key", key), ("kind", "key"), ("period", "month")])),
        ("budget.set", str([("key", key), ("kind", "key"), ("micros", 1_000_000), ("period", "month")])),
        ("budget.set", str([("kind", "user"), ("micros", 2_000_000), ("period", "all")])),
    ]
    assert {one.actor for one in rows} == {BY.account_id}


@pytest.mark.parametrize(
    ("at", "ends"),
    [(NOVEMBER, "2026-12-01"), (DECEMBER_1 - 1, "2026-12-01"), (DECEMBER_1, "2027-01-01"),
     (1_801_353_600_000, "2027-02-01"), (1_803_859_199_999, "2027-03-01")],
)  # fmt: skip
def test_months_end(at, ends) -> None:
    assert iso(month_end(at)) == f"{ends}T00:00:00.000Z"
