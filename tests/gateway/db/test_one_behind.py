"""On a server a transaction may begin before another ends, and wait for it: what it looked at has changed then."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import pytest
from sqlalchemy import Connection, func, select, update
from support.databases import plain_engine
from support.gateway_process import until
from support.new_jobs import new_job
from support.postgres import PostgresServer

from billing import ledger
from gateway.accounts import rows
from gateway.db.tables import attempt, image, job
from gateway.jobs import admit, settle, store, taken
from gateway.jobs.records import NewImage
from providers.base import Handle
from providers.errors import JobCanceled, SubmitUnknown

T = TypeVar("T")
U = TypeVar("U")
HANDLE = Handle(provider="first", remote_id="r-1")
NO_ANSWER = SubmitUnknown("no answer")
IMAGE = NewImage(
    id="img1",
    position=0,
    storage_key="images/img1.png",
    content_type="image/png",
    width=64,
    height=48,
    byte_size=9,
    sha256="0" * 64,
    seed=1,
)


@pytest.fixture
def url(postgres: PostgresServer) -> Iterator[str]:
    with postgres.empty_database() as url:
        yield url


def one_behind(url: str, first: Callable[[Connection], T], second: Callable[[Connection], U]) -> tuple[T, U]:
    """Run two functions in transactions; the first commits when the second waits for it."""
    engine = plain_engine(url)
    waits = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
    begun = threading.Event()

    def behind() -> U:
        with engine.begin() as connection:
            # Its first look at the tables is before the first has ended.
            connection.execute(select(func.count()).select_from(job)).scalar_one()
            begun.set()
            return second(connection)

    with ThreadPoolExecutor(1) as threads, engine.connect() as watcher:
        with engine.begin() as connection:
            done = first(connection)
            later = threads.submit(behind)
            assert begun.wait(20)
            until(
                "the second waits for the first, or has ended",
                lambda: later.done() or watcher.exec_driver_sql(waits).scalar_one() or watcher.rollback(),
            )
        result = later.result(20)
    engine.dispose()
    return done, result


def with_job(url: str, *, sent: bool = True, status: str = "running") -> None:
    engine = plain_engine(url)
    with engine.begin() as conn:
        rows.ensure_account(conn, account_id="ann", name="Ann", postpaid=False, at=1)
        ledger.top_up(conn, account_id="ann", amount_micros=100, reference="pay1", at=1)
        admit.admit(conn, new_job(), 2)
        conn.execute(update(job).values(status=status))
        conn.execute(update(attempt).values(status="sent" if sent else "unknown"))
    engine.dispose()


def found_in(url: str, query: Any) -> list[tuple[Any, ...]]:
    engine = plain_engine(url)
    with engine.connect() as conn:
        assert ledger.verify(conn) == []
        found = [tuple(row) for row in conn.execute(query)]
    engine.dispose()
    return found


STATE = select(job.c.status, attempt.c.status, attempt.c.handle.is_not(None)).join_from(job, attempt)


def test_a_word_that_comes_while_a_job_becomes_unknown_is_heard(url: str) -> None:
    with_job(url)
    noted, handles = one_behind(
        url,
        lambda c: taken.note_taken(c, "job1", "att1.1", HANDLE, 99),
        lambda c: taken.leave_unknown(c, "job1", [("att1.1", NO_ANSWER)], ["att1.1"], 9),
    )
    assert (noted, handles) == (False, {"att1.1": HANDLE})
    assert found_in(url, STATE) == [("running", "accepted", True)]


def test_so_is_one_that_comes_just_after(url: str) -> None:
    with_job(url)
    handles, noted = one_behind(
        url,
        lambda c: taken.leave_unknown(c, "job1", [("att1.1", NO_ANSWER)], ["att1.1"], 9),
        lambda c: taken.note_taken(c, "job1", "att1.1", HANDLE, 99),
    )
    assert (handles, noted) == ({}, True)
    assert found_in(url, STATE) == [("running", "accepted", True)]


def test_an_adopted_job_is_not_failed_by_another_operator(url: str) -> None:
    with_job(url, sent=False, status="unknown")
    assert one_behind(
        url, lambda c: settle.adopt(c, "job1", HANDLE, 99), lambda c: settle.fail(c, "job1", 9)
    ) == (True, False)
    assert found_in(url, STATE) == [("running", "accepted", True)]


def test_a_job_that_ended_gets_no_picture(url: str) -> None:
    with_job(url)
    share = store.Share(
        attempt_id="att1.1", images=(IMAGE,), run_seconds=None, load_seconds=None, provider_cost_micros=0
    )
    stopped = JobCanceled("stopped")
    assert one_behind(
        url,
        lambda c: store.end_without_images(c, "job1", [("att1.1", stopped)], stopped, 9),
        lambda c: store.keep_share(c, "job1", share, 9),
    ) == (True, False)
    assert found_in(url, select(image.c.id)) == []
