"""What an operator does with accounts, their money and their keys."""

from decimal import Decimal

import pytest

from billing import ledger
from gateway.problems import Problem


async def test_an_account_and_its_money(accounts, db) -> None:
    made = await accounts.create(
        "Ann", tier="normal", admin=True, postpaid=False, balance=Decimal("12.345678")
    )
    assert (made.account.name, made.account.tier, made.account.admin) == ("Ann", "normal", True)
    assert made.balance == ledger.Balance(available_micros=12_345_678, held_micros=0, postpaid=False)
    assert await accounts.find(made.account.id) == made
    assert await accounts.all() == [made]
    assert await db.read(ledger.verify) == []


async def test_a_payment_counts_once(accounts, ann, db) -> None:
    assert (await accounts.top_up(ann, Decimal(5), "payment 1")).balance.available_micros == 5_000_000
    with pytest.raises(Problem) as caught:
        await accounts.top_up(ann, Decimal(5), "payment 1")
    assert caught.value.document.code == "reference_used"
    assert (await accounts.find(ann)).balance.available_micros == 5_000_000
    assert (await accounts.top_up(ann, Decimal("0.000001"), None)).balance.available_micros == 5_000_001
    assert await db.read(ledger.verify) == []


@pytest.mark.parametrize("text", ["0", "-1", "NaN", "Infinity", "0.0000001", "1000000.01", "1E+30"])
async def test_what_is_no_amount(accounts, ann, text) -> None:
    with pytest.raises(Problem, match="no amount") as caught:
        await accounts.top_up(ann, Decimal(text), None)
    assert caught.value.document.errors[0].pointer == "/amount"
    with pytest.raises(Problem, match="no amount"):
        await accounts.create("Bob", tier="normal", admin=False, postpaid=False, balance=Decimal(text))
    assert [found.account.id for found in await accounts.all()] == [ann]


async def test_keys_are_listed_by_account(accounts, ann, clock) -> None:
    bob = (await accounts.create("Bob", tier="normal", admin=False, postpaid=True, balance=None)).account.id
    row, key = await accounts.create_key(ann, "laptop", expires_in_days=90)
    clock.now += 1
    other, _ = await accounts.create_key(bob, "server", expires_in_days=None)
    assert (row.id, row.name, row.expires_at) == (key.id, "laptop", clock.now - 1 + 90 * 86_400_000)
    assert other.expires_at is None
    assert await accounts.keys(ann) == [row]
    assert await accounts.keys(None) == [row, other]


async def test_only_a_digest_is_kept(accounts, ann, tmp_path) -> None:
    _, key = await accounts.create_key(ann, "laptop", expires_in_days=None)
    secret = key.text.split("_")[2]
    files = [path for path in tmp_path.iterdir() if path.is_file()]
    assert any(key.digest.encode() in path.read_bytes() for path in files)
    assert not any(secret[:20].encode() in path.read_bytes() for path in files)


async def test_a_key_is_revoked_once(accounts, ann, clock) -> None:
    row, _ = await accounts.create_key(ann, "laptop", expires_in_days=None)
    first = await accounts.revoke(row.id)
    clock.now += 5_000
    assert await accounts.revoke(row.id) == first
    assert first.revoked_at == clock.now - 5_000


async def test_what_is_not_there(accounts) -> None:
    for call, step in (
        (accounts.find("acc_none"), "gateway account list"),
        (accounts.top_up("acc_none", Decimal(1), None), "gateway account list"),
        (accounts.create_key("acc_none", "x", expires_in_days=None), "gateway account list"),
        (accounts.keys("acc_none"), "gateway account list"),
        (accounts.revoke("none"), "gateway keys list ACCOUNT"),
    ):
        with pytest.raises(Problem) as caught:
            await call
        assert caught.value.document.code == "not_found"
        assert f"`{step}`" in caught.value.document.detail
