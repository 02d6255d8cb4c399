"""The keys of requests: one job each, on a real database of either kind."""

import pickle
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from msgspec.structs import replace
from sqlalchemy import Connection, Engine, insert, select, update
from support.databases import plain_engine

from gateway.db.tables import account, idempotency, job
from gateway.jobs import idempotency as keys
from gateway.jobs.idempotency import KEEP_MS, Claim, Earlier, Repeated

pytestmark = pytest.mark.every_database

AT = 1_795_000_000_000


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """Ann's and Bob's database."""
    made = plain_engine(database_url)
    with made.begin() as conn:
        for name in ("ann", "bob"):
            conn.execute(insert(account).values(id=name, name=name, tier="premium", created_at=1))
    yield made
    made.dispose()


@pytest.fixture
def conn(engine: Engine) -> Iterator[Connection]:
    with engine.connect() as connection:
        yield connection


def claim(number: int = 1, key: str = "key:k", *, given: bool = True, account_id: str = "ann") -> Claim:
    return Claim(
        account_id=account_id,
        key=key,
        given=given,
        request_sha256="a" * 64,
        job_id=f"job{number}",
        answer_ms=30_000,
        keep_ms=KEEP_MS if given else 60_000,
    )


def auto(number: int = 1) -> Claim:
    return claim(number, "auto:k", given=False)


def put_job(conn: Connection, number: int, status: str) -> None:
    texts = dict.fromkeys(("request", "report", "warnings", "routing"), "{}")
    numbers = dict.fromkeys(("quote_micros", "ceiling_micros", "deadline_at", "created_at"), 1)
    names = dict.fromkeys(("model", "provider", "registry_version"), "x")
    conn.execute(
        insert(job).values(
            id=f"job{number}", account_id="ann", status=status, cancel_requested=False, **texts, **numbers, **names
        )
    )  # fmt: skip


def refused(conn: Connection, new: Claim, at: int = AT) -> Earlier:
    with pytest.raises(Repeated) as caught:
        keys.take(conn, new, at)
    return caught.value.earlier


def test_the_first_takes_a_key_and_the_second_finds_it(conn) -> None:
    assert keys.find(conn, claim(), AT) is None
    put_job(conn, 1, "running")
    keys.take(conn, claim(), AT)
    first = Earlier(
        request_sha256="a" * 64, job_id="job1", answer_by=AT + 30_000, answered_at=None, ended=False
    )
    assert keys.find(conn, claim(2), AT + 1) == first == refused(conn, claim(2), AT + 1)
    assert keys.find(conn, claim(2), AT) == first


def test_a_key_is_that_of_its_account_and_never_a_fingerprint(conn) -> None:
    keys.take(conn, claim(), AT)
    for other in (claim(2, account_id="bob"), claim(3, "auto:k"), claim(4, "key:K")):
        assert keys.find(conn, other, AT) is None
        keys.take(conn, other, AT)


def test_an_expired_key_is_as_if_it_were_not_there(conn) -> None:
    keys.take(conn, claim(), AT)
    keys.note_answered(conn, claim(), AT + 5)
    assert refused(conn, claim(2), AT + KEEP_MS - 1).job_id == "job1"
    assert keys.find(conn, claim(2), AT + KEEP_MS) is None
    keys.take(conn, claim(2), AT + KEEP_MS)
    again = keys.find(conn, claim(3), AT + KEEP_MS)
    assert again is not None
    assert (again.job_id, again.answered_at) == ("job2", None)


@pytest.mark.parametrize("status", ["failed", "canceled"])
def test_a_failure_uses_up_a_key_and_no_fingerprint(conn, status) -> None:
    put_job(conn, 1, status)
    for first in (claim(), auto()):
        keys.take(conn, first, AT)
    assert refused(conn, claim(2)).ended
    assert keys.find(conn, auto(2), AT) is None
    keys.take(conn, auto(2), AT)
    assert conn.execute(
        select(idempotency.c.job_id).where(idempotency.c.key == "auto:k")
    ).scalars().all() == ["job2"]


@pytest.mark.parametrize("status", ["scheduled", "queued", "running", "storing", "completed", "unknown"])
def test_a_fingerprint_stands_for_a_job_that_did_not_fail(conn, status) -> None:
    put_job(conn, 1, status)
    keys.take(conn, auto(), AT)
    found = refused(conn, auto(2))
    assert found == keys.find(conn, auto(2), AT)
    assert (found.job_id, found.ended) == ("job1", status == "completed")
    assert keys.find(conn, auto(2), AT + 60_000) is None


def test_who_is_still_being_answered() -> None:
    waits = Earlier(request_sha256="a", job_id="j", answer_by=AT, answered_at=None, ended=False)
    assert waits.in_flight(AT - 1)
    assert not waits.in_flight(AT)
    assert not replace(waits, answered_at=AT - 2).in_flight(AT - 1)
    assert not replace(waits, ended=True).in_flight(AT - 1)


def test_only_the_request_that_took_a_key_is_noted_as_answered(conn) -> None:
    keys.take(conn, claim(), AT)
    keys.note_answered(conn, claim(2), AT + 1)
    assert keys.find(conn, claim(), AT).answered_at is None
    keys.note_answered(conn, claim(1), AT + 2)
    assert keys.find(conn, claim(), AT).answered_at == AT + 2


def test_what_has_expired_is_forgotten_a_part_at_a_time(conn) -> None:
    for number in range(5):
        keys.take(conn, claim(number, f"key:{number}"), AT)
    keys.take(conn, claim(9, "key:kept"), AT + 1)
    assert [keys.forget_expired(conn, AT + KEEP_MS, 2) for _ in range(4)] == [2, 2, 1, 0]
    assert conn.execute(select(idempotency.c.key)).scalars().all() == ["key:kept"]


def test_the_refusal_survives_pickling() -> None:
    earlier = Earlier(request_sha256="a", job_id="j", answer_by=1, answered_at=None, ended=False)
    again = pickle.loads(pickle.dumps(Repeated(earlier)))
    assert (str(again), again.earlier) == ("the key is that of j", earlier)


@pytest.mark.parametrize("before", ["nothing", "an expired key", "a failure"])
def test_of_many_at_once_one_takes_the_key(engine, before) -> None:
    given = before != "a failure"
    if before != "nothing":
        with engine.begin() as conn:
            put_job(conn, 0, "failed")
            keys.take(conn, claim(0, given=given), AT - KEEP_MS if given else AT - 1)
    many = 8
    ready = threading.Barrier(many)

    def send(number: int) -> str:
        with engine.connect() as conn:
            ready.wait()
            try:
                with conn.begin():
                    keys.take(conn, claim(number, given=given), AT)
                    conn.execute(
                        update(account).where(account.c.id == "ann").values(name=account.c.name + "x")
                    )
            except Repeated as error:
                return error.earlier.job_id
            return f"job{number}"

    with ThreadPoolExecutor(many) as pool:
        answers = list(pool.map(send, range(1, many + 1)))
    assert len(set(answers)) == 1
    with engine.connect() as conn:
        (row,) = conn.execute(select(idempotency)).all()
        assert row.job_id == answers[0] != "job0"
        # What the others did in their transactions was undone.
        assert conn.execute(select(account.c.name).where(account.c.id == "ann")).scalar_one() == "annx"
