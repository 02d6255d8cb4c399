"""An account's ledger as its owner reads it, and a month of it: each sum is that of the entries."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, func, select

from billing import ledger
from billing.movements import (
    KINDS,
    Movement,
    MovementFilter,
    Sides,
    active_months,
    balance_at,
    list_movements,
    sums_by_kind,
)
from billing.reports import month_span
from billing.statements import statement
from billing.tables import ledger_entry
from billing.usage import Ended, record_end, record_refund

pytestmark = pytest.mark.every_database

MAY, JUNE, JULY, AUGUST = (month_span(f"2026-0{month}")[0] for month in (5, 6, 7, 8))


def run_job(
    conn: Connection, name: str, at: int, charge: int | None, hold: int = 60, whose: str = "ann"
) -> None:
    """Let in, and ended a second later: charged, or released."""
    ledger.place_hold(conn, job_id=name, account_id=whose, amount_micros=hold, at=at)
    done = at + 1000
    if charge is None:
        ledger.release(conn, job_id=name, at=done)
    else:
        ledger.capture(conn, job_id=name, amount_micros=charge, at=done)
    job = Ended(
        account_id=whose, model="fast" if hold == 60 else "slow", provider="p", key_id="k" if hold == 60 else None,
        end_user=None, status="failed" if charge is None else "completed", images=0 if charge is None else 1,
        quote_micros=hold, charge_micros=charge or 0, cost_micros=1, listed_micros=1,
    )  # fmt: skip
    record_end(conn, job, done)


def move(conn: Connection, reference: str, kind: str, source: str, micros: int, at: int, **more: str) -> None:
    """To Ann's available side, with her wallet."""
    entries = ledger.transfer(reference, kind, source, "available:ann", micros, at, **more)
    ledger.record(conn, entries)
    conn.execute(
        ledger.wallet.update()
        .where(ledger.wallet.c.account_id == "ann")
        .values(available_micros=ledger.wallet.c.available_micros + micros)
    )


@pytest.fixture
def conn(conn: Connection) -> Iterator[Connection]:
    """Ann's May to July, beside Bob's."""
    for whose in ("ann", "bob"):
        ledger.open_wallet(conn, whose, postpaid=False)
        ledger.top_up(conn, account_id=whose, amount_micros=1000, reference=f"pay-{whose}", at=MAY + 5)
    run_job(conn, "job1", MAY + 10, 40)
    run_job(conn, "job2", MAY + 20, None)
    run_job(conn, "job3", JUNE - 500, 60)  # let in in May, charged in June
    run_job(conn, "job4", JUNE + 30, 80, hold=100)
    run_job(conn, "bobs", JUNE + 30, 10, whose="bob")
    move(conn, "ref1", "refund", "revenue", 40, JUNE + 40, job_id="job1", note="it was late")
    record_refund(
        conn,
        account_id="ann",
        model="fast",
        provider="p",
        key_id="k",
        end_user=None,
        amount_micros=40,
        at=JUNE + 40,
    )
    move(conn, "gift", "promotion", "promotions", 7, JUNE + 50, note="welcome")
    move(conn, "fix", "adjustment", "adjustments", -3, JUNE + 60, note="put right")
    ledger.place_hold(conn, job_id="job5", account_id="ann", amount_micros=5, at=JULY - 1)
    assert ledger.verify(conn) == []
    return conn


def moved(found: list[Movement]) -> list[tuple[str, int, int]]:
    return [(one.id, one.moved.available_micros, one.moved.held_micros) for one in found]


NEWEST = [
    ("job5:hold", -5, 5),
    ("job4:release", 20, -20),
    ("job4:capture", 0, -80),
    ("job3:capture", 0, -60),
    ("fix:adjustment", -3, 0),
    ("gift:promotion", 7, 0),
    ("ref1:refund", 40, 0),
    ("job4:hold", -100, 100),
    ("job3:hold", -60, 60),
    ("job2:release", 60, -60),
    ("job1:release", 20, -20),
    ("job1:capture", 0, -40),
    ("job2:hold", -60, 60),
    ("job1:hold", -60, 60),
    ("pay-ann:topup", 1000, 0),
]


def test_both_sides_are_one_movement_and_the_newest_comes_first(conn) -> None:
    found = list_movements(conn, "ann", limit=100)
    assert moved(found) == NEWEST
    by_id = {one.id: one for one in found}
    assert (by_id["job1:hold"].job_id, by_id["job1:hold"].at) == ("job1", MAY + 10)
    assert (by_id["ref1:refund"].job_id, by_id["ref1:refund"].note) == ("job1", "it was late")
    assert by_id["pay-ann:topup"].job_id is None
    assert sum(one.moved.total_micros for one in found) == 1000 - 40 - 60 - 80 + 40 + 7 - 3
    assert {one.kind for one in found} <= set(KINDS)


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 7, 15, 16])
def test_pages_leave_nothing_out_and_repeat_nothing(conn, limit) -> None:
    found: list[Movement] = []
    while page := list_movements(conn, "ann", limit=limit, before=found[-1].cursor if found else None):
        assert len(page) <= limit
        found += page
    assert moved(found) == NEWEST


def test_filters(conn) -> None:
    def ids(only: MovementFilter) -> list[str]:
        return [one.id for one in list_movements(conn, "ann", limit=100, only=only)]

    assert ids(MovementFilter(kinds=("topup", "refund"))) == ["ref1:refund", "pay-ann:topup"]
    assert ids(MovementFilter(start=JULY - 1)) == ["job5:hold"]
    assert ids(MovementFilter(end=MAY + 11)) == ["job1:hold", "pay-ann:topup"]
    assert ids(MovementFilter(job_id="job1")) == ["ref1:refund", "job1:release", "job1:capture", "job1:hold"]
    assert ids(MovementFilter(job_id="job1", kinds=("capture",))) == ["job1:capture"]
    assert ids(MovementFilter(job_id="bobs")) == []
    assert ids(MovementFilter(job_id="none")) == []


def test_a_balance_then_is_the_sum_of_what_was(conn) -> None:
    found = list_movements(conn, "ann", limit=100)
    for at in (MAY, MAY + 6, MAY + 11, MAY + 1015, JUNE, JUNE + 45, JULY, AUGUST):
        sums = Sides()
        for one in found:
            if one.at < at:
                sums += one.moved
        assert balance_at(conn, "ann", at) == sums
    now = ledger.balance(conn, "ann")
    assert balance_at(conn, "ann", AUGUST) == Sides(
        available_micros=now.available_micros, held_micros=now.held_micros
    )


def test_the_months_that_have_something(conn) -> None:
    assert active_months(conn, "ann") == ["2026-06", "2026-05"]
    ledger.release(conn, job_id="job5", at=AUGUST)
    assert active_months(conn, "ann") == ["2026-08", "2026-06", "2026-05"]
    assert active_months(conn, "nobody") == []


def test_a_statement_adds_up(conn) -> None:
    may, june = statement(conn, "ann", "2026-05"), statement(conn, "ann", "2026-06")
    assert may.opening == Sides()
    assert (
        may.closing
        == june.opening
        == balance_at(conn, "ann", JUNE)
        == Sides(available_micros=900, held_micros=60)
    )
    assert june.closing == balance_at(conn, "ann", JULY)
    sums = {
        one.kind: (one.count, one.moved.available_micros, one.moved.held_micros) for one in june.movements
    }
    assert sums == {
        "promotion": (1, 7, 0),
        "refund": (1, 40, 0),
        "adjustment": (1, -3, 0),
        "hold": (2, -105, 105),
        "capture": (2, 0, -140),
        "release": (1, 20, -20),
    }
    assert [one.id for one in june.others] == ["ref1:refund", "gift:promotion", "fix:adjustment"]
    assert june.others_left_off == 0


@pytest.mark.parametrize("month", ["2026-05", "2026-06", "2026-07"])
def test_charges_by_model_and_by_key_are_what_the_ledger_captured(conn, month) -> None:
    found = statement(conn, "ann", month)
    start, end = month_span(month)
    e = ledger_entry.c
    captured = conn.execute(
        select(func.coalesce(-func.sum(e.amount_micros), 0)).where(
            e.ledger_account == "held:ann", e.kind == "capture", e.created_at >= start, e.created_at < end
        )
    ).scalar_one()
    refunded = sum(one.moved.total_micros for one in found.movements if one.kind == "refund")
    for rows in (found.models, found.keys):
        assert sum(row.counts.charge_micros for row in rows) == captured
        assert sum(row.counts.refund_micros for row in rows) == refunded


def test_a_quiet_month_closes_as_it_opened(conn) -> None:
    july = statement(conn, "ann", "2026-07")
    assert july.opening == july.closing == balance_at(conn, "ann", JULY)
    assert (july.movements, july.models, july.keys, july.others) == ((), (), (), ())


def test_sums_are_by_kind_and_within(conn) -> None:
    assert [one.kind for one in sums_by_kind(conn, "ann", MAY, JUNE)] == [
        "topup",
        "hold",
        "capture",
        "release",
    ]
    assert sums_by_kind(conn, "ann", AUGUST, AUGUST + 1) == []
