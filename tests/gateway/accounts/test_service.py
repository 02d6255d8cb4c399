"""What an operator does with accounts, their money and their keys."""

import asyncio
from decimal import Decimal

import pytest
from support.databases import everything_in
from support.people import BY

from billing import ledger
from gateway.accounts.service import Accounts, Change, PremiumRule
from gateway.problems import Problem

pytestmark = pytest.mark.every_database


async def test_an_account_and_its_money(accounts, db) -> None:
    made = await accounts.create(
        "Ann", tier="normal", admin=True, postpaid=False, balance=Decimal("12.345678"), by=BY
    )
    assert (made.account.name, made.account.tier, made.account.admin) == ("Ann", "normal", True)
    assert made.balance == ledger.Balance(available_micros=12_345_678, held_micros=0, postpaid=False)
    assert await accounts.find(made.account.id) == made
    assert await accounts.all() == [made]
    assert await db.read(ledger.verify) == []


async def test_a_payment_counts_once(accounts, ann, db) -> None:
    assert (await accounts.top_up(ann, Decimal(5), "payment 1", by=BY)).balance.available_micros == 5_000_000
    with pytest.raises(Problem) as caught:
        await accounts.top_up(ann, Decimal(5), "payment 1", by=BY)
    assert caught.value.document.code == "reference_used"
    assert (await accounts.find(ann)).balance.available_micros == 5_000_000
    assert (
        await accounts.top_up(ann, Decimal("0.000001"), None, by=BY)
    ).balance.available_micros == 5_000_001
    assert await db.read(ledger.verify) == []


@pytest.mark.parametrize("text", ["0", "-1", "NaN", "Infinity", "0.0000001", "1000000.01", "1E+30"])
async def test_what_is_no_amount(accounts, ann, text) -> None:
    with pytest.raises(Problem, match="no amount") as caught:
        await accounts.top_up(ann, Decimal(text), None, by=BY)
    assert caught.value.document.errors[0].pointer == "/amount"
    with pytest.raises(Problem, match="no amount"):
        await accounts.create("Bob", tier="normal", admin=False, postpaid=False, balance=Decimal(text), by=BY)
    assert [found.account.id for found in await accounts.all()] == [ann]


async def test_keys_are_listed_by_account(accounts, ann, clock) -> None:
    bob = (
        await accounts.create("Bob", tier="normal", admin=False, postpaid=True, balance=None, by=BY)
    ).account.id
    row, key = await accounts.create_key(ann, "laptop", expires_in_days=90, by=BY)
    clock.now += 1
    other, _ = await accounts.create_key(bob, "server", expires_in_days=None, by=BY)
    assert (row.id, row.name, row.expires_at) == (key.id, "laptop", clock.now - 1 + 90 * 86_400_000)
    assert other.expires_at is None
    assert await accounts.keys(ann) == [row]
    assert await accounts.keys(None) == [row, other]


async def test_only_a_digest_is_kept(accounts, ann, db, tmp_path) -> None:
    _, key = await accounts.create_key(ann, "laptop", expires_in_days=None, by=BY)
    secret = key.text.split("_")[2]
    kept = await everything_in(db, tmp_path)
    assert key.digest.encode() in kept
    assert secret[:20].encode() not in kept


async def test_a_key_is_revoked_once(accounts, ann, clock) -> None:
    row, _ = await accounts.create_key(ann, "laptop", expires_in_days=None, by=BY)
    first = await accounts.revoke(row.id, by=BY)
    clock.now += 5_000
    assert await accounts.revoke(row.id, by=BY) == first
    assert first.revoked_at == clock.now - 5_000


async def test_what_is_not_there(accounts) -> None:
    for call, step in (
        (accounts.find("acc_none"), "gateway account list"),
        (accounts.top_up("acc_none", Decimal(1), None, by=BY), "gateway account list"),
        (accounts.create_key("acc_none", "x", expires_in_days=None, by=BY), "gateway account list"),
        (accounts.keys("acc_none"), "gateway account list"),
        (accounts.revoke("none", by=BY), "gateway keys list ACCOUNT"),
    ):
        with pytest.raises(Problem) as caught:
            await call
        assert caught.value.document.code == "not_found"
        assert f"`{step}`" in caught.value.document.detail


DAY_MS = 86_400_000


async def test_a_tier_may_end_by_itself(accounts, clock) -> None:
    made = await accounts.create("Bob", tier="normal", admin=False, postpaid=True, balance=None, by=BY)
    account_id = made.account.id
    changed = await accounts.change(account_id, Change(tier="premium", tier_days=30), BY)
    assert changed.account.tier_until == clock.now + 30 * DAY_MS
    assert changed.account.tier_at(clock.now + 30 * DAY_MS - 1) == "premium"
    assert changed.account.tier_at(clock.now + 30 * DAY_MS) == "normal"
    assert (await accounts.change(account_id, Change(tier="premium"), BY)).account.tier_until is None


async def test_what_is_not_said_stays(accounts, ann) -> None:
    before = await accounts.find(ann)
    assert await accounts.change(ann, Change(), BY) == before
    closed = await accounts.change(ann, Change(closed=True), BY)
    assert closed.account.closed_at is not None
    assert await accounts.change(ann, Change(closed=False), BY) == before
    with pytest.raises(Problem, match="gateway account list"):
        await accounts.change("acc_none", Change(admin=True), BY)


@pytest.fixture
def selling(db, clock) -> Accounts:
    """Nine dollars make an account premium for thirty days."""
    return Accounts(db, clock.ambient(), PremiumRule(dollars=Decimal(9), days=30))


async def test_a_payment_makes_premium_for_a_while_and_a_second_adds_to_it(selling, clock) -> None:
    made = await selling.create("Bob", tier="normal", admin=False, postpaid=False, balance=None, by=BY)
    account_id, began = made.account.id, clock.now
    assert (await selling.top_up(account_id, Decimal("8.99"), None, BY)).account.tier == "normal"
    assert (await selling.top_up(account_id, Decimal(9), None, BY)).account.tier_until == began + 30 * DAY_MS
    clock.now += 10 * DAY_MS
    assert (await selling.top_up(account_id, Decimal(9), None, BY)).account.tier_until == began + 60 * DAY_MS
    clock.now += 100 * DAY_MS
    late = await selling.top_up(account_id, Decimal(9), None, BY)
    assert late.account.tier_until == clock.now + 30 * DAY_MS
    # Entered before: nothing is given twice.
    await selling.top_up(account_id, Decimal(9), "payment 1", BY)
    until = (await selling.find(account_id)).account.tier_until
    with pytest.raises(Problem, match="was entered before"):
        await selling.top_up(account_id, Decimal(9), "payment 1", BY)
    assert (await selling.find(account_id)).account.tier_until == until


async def test_payments_at_once_all_count(selling, clock) -> None:
    made = await selling.create("Bob", tier="normal", admin=False, postpaid=False, balance=None, by=BY)
    await asyncio.gather(*(selling.top_up(made.account.id, Decimal(9), None, BY) for _ in range(6)))
    found = await selling.find(made.account.id)
    assert found.account.tier_until == clock.now + 6 * 30 * DAY_MS
    assert found.balance.available_micros == 54_000_000


async def test_what_is_premium_for_good_stays_so(selling, ann) -> None:
    assert (await selling.top_up(ann, Decimal(9), None, BY)).account.tier_until is None


async def test_a_resend_window_is_ones_own_until_it_is_the_settings_again(accounts, ann) -> None:
    for seconds in (60, 0, None):
        changed = await accounts.change(ann, Change(resend_window_s=seconds), BY)
        assert changed.account.resend_window_s == seconds
        assert (await accounts.change(ann, Change(admin=False), BY)).account.resend_window_s == seconds
        said = (await accounts.audit_log(ann, None, 2))[1].detail
        assert said == {"resend_window_s": seconds}


async def test_what_waits_of_a_new_premium_account_is_let_go(db, clock) -> None:
    released = []

    async def release(account_id: str) -> None:
        released.append(account_id)

    accounts = Accounts(db, clock.ambient(), PremiumRule(dollars=Decimal(9), days=30), release)
    made = await accounts.create("Bob", tier="normal", admin=False, postpaid=False, balance=None, by=BY)
    await accounts.top_up(made.account.id, Decimal(1), None, BY)
    await accounts.change(made.account.id, Change(admin=True), BY)
    assert released == []
    await accounts.top_up(made.account.id, Decimal(9), None, BY)
    await accounts.change(made.account.id, Change(tier="premium"), BY)
    assert released == [made.account.id] * 2


async def test_what_was_done_to_whom_is_written_down(accounts, ann, clock) -> None:
    clock.now += 1
    row, _ = await accounts.create_key(ann, "laptop", expires_in_days=None, budget=Decimal("1.5"), by=BY)
    clock.now += 1
    await accounts.revoke(row.id, by=BY)
    clock.now += 1
    await accounts.revoke(row.id, by=BY)
    await accounts.top_up(ann, Decimal(5), "p1", BY)
    clock.now += 1
    await accounts.change(ann, Change(tier="normal"), BY)
    rows = await accounts.audit_log(ann, None, 10)
    assert [(found.action, found.actor, found.address) for found in rows] == [
        (action, BY.account_id, BY.address)
        for action in ("account.change", "account.topup", "key.revoke", "key.create", "account.create")
    ]
    assert rows[0].detail == {"tier": "normal"}
    assert rows[1].detail == {"micros": 5_000_000, "reference": "p1"}
    assert await accounts.audit_log(ann, rows[1].id, 2) == rows[2:4]


async def test_a_key_of_anothers_is_not_there(accounts, ann) -> None:
    row, _ = await accounts.create_key(ann, "laptop", expires_in_days=None, by=BY)
    with pytest.raises(Problem, match="GET /api/keys"):
        await accounts.revoke(row.id, BY, "acc_other")
    assert (await accounts.keys(ann))[0].revoked_at is None
    assert (await accounts.revoke(row.id, BY, ann)).revoked_at is not None
