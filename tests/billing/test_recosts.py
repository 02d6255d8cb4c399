"""Corrections of what a provider bills: entered until the books say what was billed, and not again."""

import pytest
from sqlalchemy import Connection, func, select
from sqlalchemy.exc import IntegrityError

from billing import ledger
from billing.costs import record_cost
from billing.recosts import (
    MOST,
    TooOften,
    base_of,
    correct,
    request_reference,
    sum_reference,
)
from billing.tables import ledger_entry

pytestmark = pytest.mark.every_database

ATTEMPT = "att_" + "0" * 32
REQUEST = request_reference("fal", "764c-4f1e")


def billed(conn: Connection, total: int, *references: str) -> int:
    return correct(
        conn,
        provider="fal",
        references=references or (ATTEMPT, REQUEST),
        job_id="job_1",
        total_micros=total,
        note="fal's bill",
        at=7,
    )


def entries(conn: Connection) -> list[tuple[str, str, int]]:
    e = ledger_entry.c
    rows = conn.execute(
        select(e.reference, e.ledger_account, e.amount_micros)
        .where(e.kind == "recost", e.ledger_account.startswith("cost:"))
        .order_by(e.reference)
    )
    return [tuple(row) for row in rows]


def expense(conn: Connection) -> int:
    e = ledger_entry.c
    return int(
        conn.execute(select(func.sum(e.amount_micros)).where(e.ledger_account == "cost:fal")).scalar_one()
        or 0
    )


@pytest.fixture
def booked(conn: Connection) -> Connection:
    """The attempt cost 25,000 as far as was known."""
    record_cost(conn, attempt_id=ATTEMPT, job_id="job_1", provider="fal", amount_micros=25_000, at=1)
    return conn


def test_what_is_missing_is_entered_once(booked: Connection) -> None:
    assert [billed(booked, 30_000), billed(booked, 30_000)] == [5000, 0]
    assert entries(booked) == [(ATTEMPT, "cost:fal", 5000)]
    assert expense(booked) == 30_000
    row = booked.execute(select(ledger_entry).where(ledger_entry.c.kind == "recost")).mappings().all()
    assert {(one["job_id"], one["note"], one["created_at"]) for one in row} == {("job_1", "fal's bill", 7)}
    assert sorted(one["ledger_account"] for one in row) == ["cost:fal", "payable:fal"]
    assert ledger.verify(booked) == []


def test_less_is_entered_the_other_way(booked: Connection) -> None:
    assert billed(booked, 0) == -25_000
    assert expense(booked) == 0
    assert ledger.verify(booked) == []


def test_a_bill_that_changes_is_corrected_again(booked: Connection) -> None:
    assert [billed(booked, total) for total in (30_000, 20_000, 25_000)] == [5000, -10_000, 5000]
    assert entries(booked) == [
        (ATTEMPT, "cost:fal", 5000),
        (f"{ATTEMPT}~2", "cost:fal", -10_000),
        (f"{ATTEMPT}~3", "cost:fal", 5000),
    ]
    assert {base_of(reference) for reference, _, _ in entries(booked)} == {ATTEMPT}
    assert billed(booked, 25_000) == 0


def test_what_was_entered_for_the_request_counts_for_its_attempt(conn: Connection) -> None:
    """It was billed while nobody knew whose it was; then its attempt was adopted and booked its cost."""
    assert billed(conn, 25_000, REQUEST) == 25_000
    record_cost(conn, attempt_id=ATTEMPT, job_id="job_1", provider="fal", amount_micros=25_000, at=1)
    assert billed(conn, 25_000) == -25_000
    assert (expense(conn), billed(conn, 25_000)) == (25_000, 0)


def test_of_another_provider_or_kind_nothing_counts(booked: Connection) -> None:
    record_cost(booked, attempt_id="att_2", job_id="job_2", provider="other", amount_micros=9, at=1)
    assert billed(booked, 9, "att_2") == 9


def test_it_ends_somewhere(booked: Connection) -> None:
    for number in range(MOST):
        assert billed(booked, number % 2) != 0
    with pytest.raises(TooOften):
        billed(booked, 7)
    assert billed(booked, 1) == 0  # what needs no entry is no matter
    longest = max(len(one.id) for one in booked.execute(select(ledger_entry.c.id)))
    assert longest <= 60
    assert max(len(reference) for reference, _, _ in entries(booked)) <= 40


def test_two_at_once_do_not_both_enter_it(conn: Connection) -> None:
    """What the second has seen is from before the first: its entry has the id of the first's."""
    billed(conn, 30_000)
    entry = {"id": "x", "reference": ATTEMPT, "kind": "recost", "ledger_account": "cost:fal"}
    with pytest.raises(IntegrityError), conn.begin_nested():
        conn.execute(ledger_entry.insert(), entry | {"amount_micros": 1, "created_at": 1})


def test_references_are_of_one_thing() -> None:
    found = {
        request_reference("fal", "a"),
        request_reference("fal2", "a"),
        request_reference("fal", "b"),
        sum_reference("fal", "a", 1),
        sum_reference("fal", "a", 2),
        sum_reference("fal", "b", 1),
    }
    assert len(found) == 6
    assert {len(one) for one in found} == {36}
    assert base_of(REQUEST) == REQUEST
