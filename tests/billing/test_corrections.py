"""Money that moves beside jobs: what each leaves in the ledger, and what is refused."""

import pickle
from collections.abc import Callable

import pytest
from sqlalchemy import Connection, select
from sqlalchemy.exc import DBAPIError, IntegrityError

from billing.corrections import (
    NothingToRefund,
    Posting,
    ReferenceUsed,
    RefundTooLarge,
    adjust,
    find_posting,
    pay_out,
    promote,
    refund,
    refunded_of,
)
from billing.ledger import (
    InsufficientFunds,
    LedgerError,
    UnknownHold,
    UnknownWallet,
    balance,
    capture,
    open_wallet,
    place_hold,
    release,
    top_up,
    verify,
)
from billing.tables import ledger_entry

pytestmark = pytest.mark.every_database


@pytest.fixture
def conn(conn: Connection) -> Connection:
    """Ann has paid 100 in and was charged 40 for `done`; the operator pays later."""
    open_wallet(conn, "ann", postpaid=False)
    open_wallet(conn, "operator", postpaid=True)
    top_up(conn, account_id="ann", amount_micros=100, reference="pay1", at=1)
    place_hold(conn, job_id="done", account_id="ann", amount_micros=60, at=2)
    capture(conn, job_id="done", amount_micros=40, at=3)
    return conn


def available(conn: Connection, account: str = "ann") -> int:
    return balance(conn, account).available_micros


def entries(conn: Connection, reference: str) -> list[tuple]:
    e = ledger_entry.c
    columns = (e.kind, e.ledger_account, e.amount_micros, e.job_id, e.note)
    query = select(*columns).where(e.reference == reference).order_by(e.id)
    return [tuple(row) for row in conn.execute(query)]


def test_a_promotion_is_credit_that_nobody_paid(conn: Connection) -> None:
    promote(conn, account_id="ann", amount_micros=7, reference="gift", at=4, note="welcome")
    assert available(conn) == 67
    assert entries(conn, "gift") == [
        ("promotion", "promotions", -7, None, "welcome"),
        ("promotion", "available:ann", 7, None, "welcome"),
    ]
    assert verify(conn) == []


def test_a_pay_out_takes_what_there_is_and_no_more(conn: Connection) -> None:
    pay_out(conn, account_id="ann", amount_micros=60, reference="out", at=4)
    assert available(conn) == 0
    assert entries(conn, "out") == [
        ("payout", "available:ann", -60, None, None),
        ("payout", "funding", 60, None, None),
    ]
    with pytest.raises(InsufficientFunds) as caught:
        pay_out(conn, account_id="ann", amount_micros=1, reference="more", at=4)
    assert (caught.value.available, caught.value.needed) == (0, 1)
    pay_out(conn, account_id="operator", amount_micros=5, reference="op", at=4)
    assert available(conn, "operator") == -5
    assert verify(conn) == []


def test_an_adjustment_goes_either_way_and_says_why(conn: Connection) -> None:
    adjust(conn, account_id="ann", amount_micros=5, reference="up", at=4, note="a")
    adjust(conn, account_id="ann", amount_micros=-65, reference="down", at=4, note="b")
    assert available(conn) == 0
    assert entries(conn, "up") == [
        ("adjustment", "adjustments", -5, None, "a"),
        ("adjustment", "available:ann", 5, None, "a"),
    ]
    assert entries(conn, "down") == [
        ("adjustment", "available:ann", -65, None, "b"),
        ("adjustment", "adjustments", 65, None, "b"),
    ]
    with pytest.raises(InsufficientFunds):
        adjust(conn, account_id="ann", amount_micros=-1, reference="x", at=4, note="c")
    for amount, note in ((0, "c"), (1, "")):
        with pytest.raises(ValueError, match="says why"):
            adjust(conn, account_id="ann", amount_micros=amount, reference="x", at=4, note=note)
    assert entries(conn, "x") == []
    assert verify(conn) == []


def test_a_charge_is_given_back_in_parts_and_never_more_than_it(conn: Connection) -> None:
    given = refund(conn, job_id="done", amount_micros=15, reference="r1", at=4, note="blurred")
    assert given == Posting(
        kind="refund", reference="r1", account_id="ann", amount_micros=15, at=4, job_id="done"
    )
    assert entries(conn, "r1") == [
        ("refund", "revenue", -15, "done", "blurred"),
        ("refund", "available:ann", 15, "done", "blurred"),
    ]
    with pytest.raises(RefundTooLarge) as caught:
        refund(conn, job_id="done", amount_micros=26, reference="r2", at=4)
    assert (caught.value.left, caught.value.asked) == (25, 26)
    assert refund(conn, job_id="done", amount_micros=None, reference="r2", at=5).amount_micros == 25
    assert (refunded_of(conn, "done"), available(conn)) == (40, 100)
    for amount in (1, None):
        with pytest.raises(NothingToRefund):
            refund(conn, job_id="done", amount_micros=amount, reference="r3", at=5)
    assert verify(conn) == []


def test_what_was_not_charged_is_not_given_back(conn: Connection) -> None:
    place_hold(conn, job_id="open", account_id="ann", amount_micros=5, at=2)
    place_hold(conn, job_id="failed", account_id="ann", amount_micros=5, at=2)
    release(conn, job_id="failed", at=3)
    place_hold(conn, job_id="free", account_id="ann", amount_micros=0, at=2)
    capture(conn, job_id="free", amount_micros=0, at=3)
    for job in ("open", "failed", "free"):
        with pytest.raises(NothingToRefund):
            refund(conn, job_id=job, amount_micros=None, reference="r1", at=4)
    with pytest.raises(UnknownHold):
        refund(conn, job_id="none", amount_micros=None, reference="r1", at=4)


MOVES: dict[str, Callable[[Connection, str], object]] = {
    "promotion": lambda c, r: promote(c, account_id="ann", amount_micros=1, reference=r, at=4),
    "payout": lambda c, r: pay_out(c, account_id="ann", amount_micros=60, reference=r, at=4),
    "adjustment": lambda c, r: adjust(c, account_id="ann", amount_micros=-60, reference=r, at=4, note="x"),
    "refund": lambda c, r: refund(c, job_id="done", amount_micros=None, reference=r, at=4),
}


@pytest.mark.parametrize("kind", MOVES)
def test_a_reference_counts_once_of_its_kind(conn: Connection, kind) -> None:
    # That of the payment is of another kind.
    MOVES[kind](conn, "pay1")
    before = available(conn)
    # Known also where it could not be done a second time.
    with pytest.raises(ReferenceUsed) as caught:
        MOVES[kind](conn, "pay1")
    found = find_posting(conn, kind, "pay1")
    assert found == caught.value.found
    assert (found.kind, found.account_id, found.at) == (kind, "ann", 4)
    assert available(conn) == before
    assert find_posting(conn, kind, "other") is None


def test_what_is_no_movement(conn: Connection) -> None:
    for amount in (0, -1):
        for move in (promote, pay_out):
            with pytest.raises(ValueError, match="more than nothing"):
                move(conn, account_id="ann", amount_micros=amount, reference="x", at=4)
        with pytest.raises(ValueError, match="more than nothing"):
            refund(conn, job_id="done", amount_micros=amount, reference="x", at=4)
    for move in (promote, pay_out):
        with pytest.raises(UnknownWallet):
            move(conn, account_id="nobody", amount_micros=1, reference="x", at=4)
    with pytest.raises(UnknownWallet):
        adjust(conn, account_id="nobody", amount_micros=1, reference="x", at=4, note="x")


def test_the_longest_reference_fits(conn: Connection) -> None:
    adjust(conn, account_id="ann", amount_micros=1, reference="r" * 40, at=4, note="x")
    assert find_posting(conn, "adjustment", "r" * 40) is not None


@pytest.mark.parametrize("change", ["update ledger_entry set note = 'other'", "delete from ledger_entry"])
def test_what_was_written_stays(conn: Connection, change) -> None:
    promote(conn, account_id="ann", amount_micros=1, reference="gift", at=4)
    with pytest.raises((IntegrityError, DBAPIError), match="append-only"), conn.begin_nested():
        conn.exec_driver_sql(change)


MOVEMENT = Posting(kind="refund", reference="r", account_id="ann", amount_micros=1, at=1)


@pytest.mark.parametrize("error", [RefundTooLarge(1, 2), ReferenceUsed(MOVEMENT)])
def test_errors_survive_pickling(error: LedgerError) -> None:
    assert vars(pickle.loads(pickle.dumps(error))) == vars(error)
