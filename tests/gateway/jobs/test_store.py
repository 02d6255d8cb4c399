"""Each step of a job's life, on a real database; the ledger adds up after each."""

import pickle
from collections.abc import Iterator
from typing import Any

import pytest
from msgspec.structs import replace
from sqlalchemy import Connection, select
from support.new_jobs import CHARGE, new_attempt, new_job

from billing import ledger
from billing.budgets import Budget, BudgetExhausted, set_budget
from billing.tables import hold
from gateway.accounts import rows
from gateway.db.tables import attempt, image, job
from gateway.jobs import admit, leases, queries, store
from gateway.jobs.records import NewImage
from providers.base import Handle
from providers.errors import JobCanceled, ProviderFailed, SubmitUnknown

BROKE = ProviderFailed("it broke", provider="first")
CANCELED = JobCanceled("stopped")
BUDGET = Budget(kind="key", subject="k", period="all", limit_micros=3)


pytestmark = pytest.mark.every_database


@pytest.fixture
def conn(conn: Connection) -> Iterator[Connection]:
    """Ann has paid 100 in."""
    rows.ensure_account(conn, account_id="ann", name="Ann", postpaid=False, at=1)
    ledger.top_up(conn, account_id="ann", amount_micros=100, reference="pay1", at=1)
    yield conn
    assert ledger.verify(conn) == []


def test_a_job_may_wait_for_its_turn(conn) -> None:
    admit.admit(conn, replace(new_job(), status="scheduled"), at=5)
    assert leases.adopt(conn, "own_1", 9) == []
    assert queries.waiting_accounts(conn) == ["ann"]
    assert admit.release_scheduled(conn, "bob", at=500) == []
    assert admit.release_scheduled(conn, "ann", at=500) == ["job1"]
    found = queries.find_job(conn, "job1")
    # It was let in at 5, to end at 99.
    assert (found.status, found.deadline_at) == ("queued", 500 + 99 - 5)
    assert leases.adopt(conn, "own_1", 9) == [("job1", 1)]
    assert queries.waiting_accounts(conn) == []


def test_one_that_waits_is_canceled_at_once(conn) -> None:
    admit.admit(conn, replace(new_job(), status="scheduled"), at=5)
    assert store.request_cancel(conn, "job1", "bob", at=6) is None
    assert store.request_cancel(conn, "job1", "ann", at=6) == "canceled"
    found = queries.find_job(conn, "job1")
    assert (found.status, found.charge_micros, found.completed_at) == ("canceled", 0, 6)
    assert [tried.status for tried in found.attempts] == ["failed"]
    assert ledger.balance(conn, "ann").held_micros == 0
    assert admit.release_scheduled(conn, "ann", at=500) == []


def test_no_more_jobs_at_once_than_an_account_may_have(conn) -> None:
    admit.admit(conn, replace(new_job(1, ceiling=10), max_open=2), at=5)
    admit.admit(conn, replace(new_job(2, ceiling=10), max_open=2, status="scheduled"), at=5)
    with pytest.raises(admit.TooManyJobs):
        admit.admit(conn, replace(new_job(3, ceiling=10), max_open=2), at=5)
    store.end_without_images(conn, "job1", [("att1", BROKE)], BROKE, at=6)
    admit.admit(conn, replace(new_job(3, ceiling=10), max_open=2), at=7)


def test_no_more_than_a_keys_budget(conn) -> None:
    for key, most in (("key1", 90), ("key2", 10)):
        new = Budget(kind="key", subject=key, period="all", limit_micros=most)
        set_budget(conn, "ann", new, {key: 0}, at=4)
    keyed = {"key_id": "key1"}
    admit.admit(conn, replace(new_job(1, ceiling=60), **keyed), at=5)
    with pytest.raises(BudgetExhausted) as caught, conn.begin_nested():
        admit.admit(conn, replace(new_job(2, ceiling=31), **keyed), at=5)
    assert (caught.value.left, caught.value.needed) == (30, 31)
    # What counts in the end is what was charged.
    store.end_without_images(conn, "job1", [("att1", BROKE)], BROKE, at=6)
    admit.admit(conn, replace(new_job(2, ceiling=90), **keyed), at=7)
    # Another key has its own.
    admit.admit(conn, replace(new_job(3, ceiling=10), key_id="key2"), at=7)


@pytest.mark.parametrize("error", [admit.TooManyJobs(3), BudgetExhausted(BUDGET, "k", "all", 1, 2)])
def test_a_refusal_can_be_handed_from_a_thread(error) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again)) == (type(error), str(error))


def new_image(position: int = 0) -> NewImage:
    return NewImage(
        id=f"img{position}",
        position=position,
        storage_key=f"images/img{position}.png",
        content_type="image/png",
        width=64,
        height=48,
        byte_size=9,
        sha256="0" * 64,
        seed=1,
    )


def complete(conn: Connection, job_id: str = "job1") -> bool:
    return store.complete(conn, job_id, [share()], CHARGE, 5)


def share(position: int = 0, attempt_id: str = "att1.1") -> store.Share:
    return store.Share(
        attempt_id=attempt_id,
        images=(new_image(position),),
        run_seconds=1.5,
        load_seconds=None,
        provider_cost_micros=7,
    )


def money(conn: Connection) -> tuple[int, int]:
    found = ledger.balance(conn, "ann")
    return found.available_micros, found.held_micros


def state(conn: Connection, table: Any = job, key: str = "job1") -> str:
    return conn.execute(select(table.c.status).where(table.c.id == key)).scalar_one()


def test_admit(conn) -> None:
    admit.admit(conn, new_job(), 2)
    found = queries.find_job(conn, "job1", "ann")
    assert found is not None
    assert (found.status, found.end_user, found.warnings, found.created_at) == (
        "queued",
        "u1",
        ("careful",),
        2,
    )
    assert [(a.id, a.status, a.handle) for a in found.attempts] == [("att1.1", "not_sent", None)]
    assert money(conn) == (40, 60)


def test_admit_without_the_money_leaves_nothing(conn) -> None:
    with pytest.raises(ledger.InsufficientFunds), conn.begin_nested():
        admit.admit(conn, new_job(ceiling=101), 2)
    for table in (job, attempt, hold):
        assert conn.execute(select(table)).first() is None
    assert money(conn) == (100, 0)


def test_an_account_is_made_once(conn) -> None:
    rows.ensure_account(conn, account_id="ann", name="Other", postpaid=True, at=9)
    assert ledger.balance(conn, "ann").postpaid is False


def test_complete_charges_and_stores(conn) -> None:
    admit.admit(conn, new_job(), 2)
    assert complete(conn)
    found = queries.find_job(conn, "job1")
    assert (found.status, found.charge_micros, found.completed_at) == ("completed", CHARGE, 5)
    assert (found.attempts[0].status, found.attempts[0].run_seconds) == ("succeeded", "1.500")
    assert [i.id for i in found.images] == ["img0"]
    assert money(conn) == (60, 0)


def test_complete_twice_charges_once(conn) -> None:
    admit.admit(conn, new_job(), 2)
    assert [complete(conn), complete(conn)] == [True, False]
    assert money(conn) == (60, 0)
    assert len(conn.execute(select(image)).all()) == 1


@pytest.mark.parametrize(("error", "status"), [(BROKE, "failed"), (CANCELED, "canceled")])
def test_an_end_without_images_gives_the_money_back(conn, error, status) -> None:
    admit.admit(conn, new_job(), 2)
    assert store.end_without_images(conn, "job1", [("att1.1", error)], error, 5)
    found = queries.find_job(conn, "job1")
    assert (found.status, found.error_code, found.error_message) == (status, error.code, error.message)
    assert (found.charge_micros, found.error_status) == (0, error.http_status)
    assert (found.attempts[0].status, found.attempts[0].ended_at) == ("failed", 5)
    assert money(conn) == (100, 0)


def test_an_end_with_no_attempt_to_blame(conn) -> None:
    admit.admit(conn, new_job(), 2)
    assert store.end_without_images(conn, "job1", (), BROKE, 5)
    assert state(conn, attempt, "att1.1") == "not_sent"


@pytest.mark.parametrize("complete_first", [True, False])
def test_the_first_end_stands(conn, complete_first) -> None:
    admit.admit(conn, new_job(), 2)
    ends = [
        lambda: complete(conn),
        lambda: store.end_without_images(conn, "job1", [("att1.1", CANCELED)], CANCELED, 6),
    ]
    first, second = ends if complete_first else reversed(ends)
    assert (first(), second()) == (True, False)
    assert state(conn) == ("completed" if complete_first else "canceled")
    assert money(conn) == ((60, 0) if complete_first else (100, 0))


def test_a_wish_to_cancel_is_noted(conn) -> None:
    admit.admit(conn, replace(new_job(), owner="own1"), 2)
    assert store.request_cancel(conn, "job1", "ann", at=6) == "queued"
    assert queries.find_job(conn, "job1").cancel_requested
    assert money(conn) == (40, 60)


def test_what_no_process_ever_had_is_canceled_at_once(conn) -> None:
    admit.admit(conn, new_job(), 2)
    assert store.request_cancel(conn, "job1", "ann", at=6) == "canceled"
    assert money(conn) == (100, 0)


def test_only_the_owner_cancels(conn) -> None:
    admit.admit(conn, new_job(), 2)
    assert store.request_cancel(conn, "job1", "bob", at=6) is None
    assert store.request_cancel(conn, "job9", "ann", at=6) is None
    assert not queries.find_job(conn, "job1").cancel_requested


def test_an_ended_job_is_not_canceled(conn) -> None:
    admit.admit(conn, new_job(), 2)
    complete(conn)
    assert store.request_cancel(conn, "job1", "ann", at=6) == "completed"
    assert not queries.find_job(conn, "job1").cancel_requested


def test_send_and_accept(conn) -> None:
    admit.admit(conn, new_job(), 2)
    store.send_attempt(conn, "att1.1")
    assert (state(conn), state(conn, attempt, "att1.1")) == ("queued", "sent")
    taken = Handle(provider="first", remote_id="r", extra={"url": "u"})
    store.accept_attempt(conn, "job1", "att1.1", taken)
    found = queries.find_job(conn, "job1")
    assert (found.status, found.attempts[0].status, found.attempts[0].handle) == (
        "running",
        "accepted",
        taken,
    )
    store.send_attempt(conn, "att1.1")  # a second time changes nothing
    assert state(conn, attempt, "att1.1") == "accepted"


def test_unknown_keeps_the_hold(conn) -> None:
    admit.admit(conn, new_job(), 2)
    store.mark_unknown(conn, "job1", [("att1.1", SubmitUnknown("no answer"))], 4)
    assert (state(conn), state(conn, attempt, "att1.1")) == ("unknown", "unknown")
    assert money(conn) == (40, 60)
    assert leases.adopt(conn, "own_1", 9) == []


def test_unknown_may_still_end(conn) -> None:
    admit.admit(conn, new_job(), 2)
    store.mark_unknown(conn, "job1", [("att1.1", SubmitUnknown("no answer"))], 4)
    assert complete(conn)
    assert money(conn) == (60, 0)


def test_what_ended_does_not_become_unknown(conn) -> None:
    admit.admit(conn, new_job(), 2)
    complete(conn)
    store.mark_unknown(conn, "job1", [("att1.1", SubmitUnknown("no answer"))], 4)
    assert state(conn) == "completed"


def test_the_next_attempt(conn) -> None:
    admit.admit(conn, new_job(), 2)
    store.next_attempt(conn, "job1", "att1.1", BROKE, new_attempt(tries=2), 4, alone=True)
    found = queries.find_job(conn, "job1")
    assert found.status == "queued"
    assert [(a.number, a.status, a.error_code) for a in found.attempts] == [
        (1, "failed", "provider_failed"),
        (2, "not_sent", None),
    ]
    assert money(conn) == (40, 60)
