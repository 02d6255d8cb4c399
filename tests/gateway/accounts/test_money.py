"""Refunds, credits, pay-outs and adjustments as an operator enters them."""

import asyncio
from decimal import Decimal

import pytest
from sqlalchemy import select
from support.new_jobs import new_job
from support.paid_jobs import share_of
from support.people import BY

from billing import ledger
from billing.tables import usage_day, usage_user
from gateway import books
from gateway.accounts import rows
from gateway.accounts.money import Money
from gateway.jobs import admit, queries, store
from gateway.problems import Problem

pytestmark = pytest.mark.every_database

HALF = Decimal("0.00002")


@pytest.fixture
def money(db, clock) -> Money:
    return Money(db, clock.ambient())


@pytest.fixture
async def charged(db, clock) -> str:
    """A job of `ann`'s, which paid 40 micro-dollars of 100 for it."""

    def run(conn) -> None:
        books_of_ann(conn)
        admit.admit(conn, new_job(), clock.now)
        store.complete(conn, "job1", [share_of("job1", "att1.1", range(1), 7)], 40, clock.now)

    await db.write(run)
    return "job1"


def books_of_ann(conn) -> None:
    rows.ensure_account(conn, account_id="ann", name="Ann", postpaid=False, at=1)
    ledger.top_up(conn, account_id="ann", amount_micros=100, reference="pay1", at=1)


async def problem(call) -> tuple[str, str]:
    """The code and the words of a refusal."""
    with pytest.raises(Problem) as caught:
        await call
    return caught.value.document.code, caught.value.document.detail


async def test_a_refund_counts_as_usage_of_its_day(money, charged, db, clock) -> None:
    day = clock.now // 86_400_000
    clock.now += 86_400_000
    moved = await money.refund(charged, HALF, None, "blurred", BY)
    assert moved.posting.reference.startswith("ref_")
    assert (moved.posting.amount_micros, moved.refunded_micros) == (20, 20)
    assert moved.funded.balance.available_micros == 80
    assert (await money.refund(charged, None, "rest", None, BY)).refunded_micros == 40
    for usage in (usage_day, usage_user):
        query = select(usage.c.day, usage.c.jobs, usage.c.charge_micros, usage.c.refund_micros)
        found = await db.read(lambda c, query=query: c.execute(query).all())
        assert sorted(tuple(row) for row in found) == [(day, 1, 40, 0), (day + 1, 0, 0, 40)]
    assert await db.read(lambda c: books.verify(c, clock.now)) == []


async def test_a_job_shows_what_was_given_back(money, charged, db) -> None:
    assert (await db.read(lambda c: queries.find_job(c, charged))).refunded_micros == 0
    await money.refund(charged, HALF, None, None, BY)
    assert (await db.read(lambda c: queries.find_job(c, charged))).refunded_micros == 20
    listed = await db.read(lambda c: queries.list_jobs(c, "ann", limit=5))
    assert [one.refunded_micros for one in listed] == [20]


async def test_what_cannot_be_given_back(money, charged, db, clock) -> None:
    code, words = await problem(money.refund(charged, Decimal("0.000041"), None, None, BY))
    assert code == "refund_too_large"
    assert "0.00004 USD of the job's charge are left" in words
    assert (await problem(money.refund("job_none", None, None, None, BY)))[0] == "not_found"
    await db.write(lambda c: admit.admit(c, new_job(2, ceiling=5), clock.now))
    assert (await problem(money.refund("job2", None, None, None, BY)))[0] == "nothing_to_refund"
    assert (await problem(money.refund(charged, Decimal(0), None, None, BY)))[0] == "invalid_body"


async def test_credits_pay_outs_and_adjustments(money, charged, db, clock) -> None:
    assert (
        await money.credit("ann", Decimal(5), None, "hello", BY)
    ).funded.balance.available_micros == 5_000_060
    out = await money.pay_out("ann", Decimal(3), "transfer 1", None, BY)
    assert (out.posting.amount_micros, out.funded.balance.available_micros) == (-3_000_000, 2_000_060)
    down = await money.adjust("ann", Decimal(-2), None, "typo", BY)
    assert (down.posting.amount_micros, down.funded.balance.available_micros) == (-2_000_000, 60)
    for call in (
        money.pay_out("ann", Decimal(1), None, None, BY),
        money.adjust("ann", Decimal(-1), None, "typo", BY),
    ):
        code, words = await problem(call)
        assert code == "insufficient_funds"
        assert words == "1.00 USD needed, 0.00006 USD available. Nothing was changed"
    assert await db.read(lambda c: books.verify(c, clock.now)) == []


@pytest.mark.parametrize("text", ["0", "-0", "NaN", "0.0000001", "1000000.01", "-1000000.01", "-Infinity"])
async def test_what_is_no_change(money, charged, text) -> None:
    code, words = await problem(money.adjust("ann", Decimal(text), None, "x", BY))
    assert code == "invalid_body"
    assert "either way" in words


async def test_what_was_entered_before_is_told_apart_from_another(money, accounts, charged) -> None:
    await money.credit("ann", Decimal(5), "gift", None, BY)
    await money.pay_out("ann", Decimal(5), "out", None, BY)
    await money.refund(charged, None, "back", None, BY)
    await accounts.top_up("ann", Decimal(5), "paid", BY)
    again = (
        money.credit("ann", Decimal(5), "gift", "other words", BY),
        money.pay_out("ann", Decimal(5), "out", None, BY),
        money.refund(charged, None, "back", None, BY),
        money.refund(charged, Decimal("0.00004"), "back", None, BY),
        accounts.top_up("ann", Decimal(5), "paid", BY),
    )
    for call in again:
        code, words = await problem(call)
        assert code == "reference_used"
        assert "was entered before, at 2026-" in words
    others = (
        money.credit("ann", Decimal(6), "gift", None, BY),
        money.credit("acc_other", Decimal(5), "gift", None, BY),
        money.pay_out("ann", Decimal(4), "out", None, BY),
        money.refund(charged, HALF, "back", None, BY),
        money.refund("job_other", None, "back", None, BY),
        accounts.top_up("ann", Decimal(6), "paid", BY),
    )
    for number, call in enumerate(others):
        code, words = await problem(call)
        # Nobody paid for that job: there is nothing to compare.
        assert code == ("not_found" if number == 4 else "reference_conflict"), words


async def test_the_same_at_once_counts_once(money, charged, db, clock) -> None:
    calls = [money.credit("ann", Decimal(1), "gift", None, BY) for _ in range(8)]
    ended = await asyncio.gather(*calls, return_exceptions=True)
    refused = [one.document.code for one in ended if isinstance(one, Problem)]
    assert (len(ended) - len(refused), refused) == (1, ["reference_used"] * 7)
    assert await db.read(lambda c: books.verify(c, clock.now)) == []


async def test_who_moved_what_is_written_down(money, accounts, charged, clock) -> None:
    for call in (
        money.credit("ann", Decimal(5), "gift", "for a friend", BY),
        money.pay_out("ann", Decimal(3), "out", None, BY),
        money.adjust("ann", Decimal(-1), "less", "typo", BY),
        money.refund(charged, None, "back", None, BY),
    ):
        clock.now += 1
        await call
    rows = await accounts.audit_log("ann", None, 10)
    assert [(row.action, row.actor, row.detail) for row in rows] == [
        ("account.refund", BY.account_id, {"micros": 40, "reference": "back", "job": "job1"}),
        ("account.adjust", BY.account_id, {"micros": -1_000_000, "reference": "less"}),
        ("account.payout", BY.account_id, {"micros": -3_000_000, "reference": "out"}),
        ("account.credit", BY.account_id, {"micros": 5_000_000, "reference": "gift"}),
    ]


async def test_nobody_has_no_money(money) -> None:
    for call in (
        money.credit("acc_none", Decimal(1), None, None, BY),
        money.pay_out("acc_none", Decimal(1), None, None, BY),
        money.adjust("acc_none", Decimal(1), None, "x", BY),
    ):
        code, words = await problem(call)
        assert code == "not_found"
        assert "`gateway account list`" in words
