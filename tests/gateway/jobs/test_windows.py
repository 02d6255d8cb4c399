"""Batch windows: whose turn it is, taken once, and what a job says of its window."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from sqlalchemy import Connection, select, update

from billing import ledger
from gateway.accounts import rows
from gateway.db.tables import batch, job
from gateway.jobs import admit, leases, queries, store, windows
from gateway.jobs.records import Admitted, NewAttempt
from gateway.jobs.windows import Batch, Due
from gateway.schemas import RoutingView
from providers.base import Group
from providers.errors import JobCanceled

W1, W2 = 1_000_000, 2_000_000
KEY, OTHER = "a" * 64, "b" * 64

pytestmark = pytest.mark.every_database


def take(conn, new: Batch, ids: list[str], at: int) -> list[str]:
    """Take jobs as one process; each has its own first fence then."""
    fences = windows.take(conn, new, ids, at, "own_1")
    assert set(fences.values()) <= {1}
    return list(fences)


@pytest.fixture
def conn(conn: Connection) -> Iterator[Connection]:
    """Ann and Bob pay afterwards."""
    for name in ("ann", "bob"):
        rows.ensure_account(conn, account_id=name, name=name, postpaid=True, at=1)
    yield conn
    assert ledger.verify(conn) == []


def waits(
    conn: Connection,
    name: str,
    account: str = "ann",
    *,
    key: str = KEY,
    runs_at: int | None = W1,
    at: int = 10,
    schedule: str | None = None,
) -> str:
    """Let in a job that waits."""
    new = admit.NewJob(
        id=name,
        account_id=account,
        end_user=None,
        model="solo",
        registry_version="abc",
        admitted=Admitted(inputs={}, options={}, candidates=(), schedule=schedule),
        report=(),
        warnings=(),
        routing=RoutingView(rule="model", why="named", requested="solo", passed_over=()),
        quote_micros=5,
        ceiling_micros=5,
        deadline_at=at + 90,
        attempt=NewAttempt(
            id=f"att-{name}", number=1, candidate=0, call=0, provider="first", endpoint="first/make"
        ),
        status="scheduled",
        runs_at=runs_at,
        group_key=key,
    )
    admit.admit(conn, new, at)
    return name


def new_batch(name: str = "bat1", window_at: int = W1) -> Batch:
    return Batch(id=name, window_at=window_at, group_key=KEY, model="solo")


def state(conn: Connection, name: str) -> str:
    return str(conn.execute(select(job.c.status).where(job.c.id == name)).scalar_one())


@pytest.mark.parametrize(
    ("at", "every_s", "window"),
    [
        (0, 1800, 1_800_000),
        (1_799_999, 1800, 1_800_000),
        (1_800_000, 1800, 3_600_000),  # this one has begun
        (1_763_683_201_500, 0.5, 1_763_683_202_000),
        (1_763_683_201_501, 0, 1_763_683_201_501),
    ],
)
def test_windows_are_aligned_to_the_clock(at: int, every_s: float, window: int) -> None:
    assert windows.window_after(at, every_s) == window


@given(at=st.integers(0, 2**45), every_ms=st.integers(1, 86_400_000))
def test_the_next_window_is_ahead_and_no_further_than_one(at: int, every_ms: int) -> None:
    window = windows.window_after(at, every_ms / 1000)
    assert at < window <= at + every_ms
    assert window % every_ms == 0


def test_what_is_due(conn: Connection) -> None:
    for name, runs_at in (("later", W2), ("now", W1), ("old", None), ("missed", W1 - 500)):
        waits(conn, name, runs_at=runs_at)
    waits(conn, "stopped")
    store.request_cancel(conn, "stopped", "ann", at=20)
    assert windows.due(conn, W1 - 501) == [
        Due(id="old", account_id="ann", window_at=0, group_key=KEY, created_at=10)
    ]
    assert [found.id for found in windows.due(conn, W1)] == ["old", "missed", "now"]
    assert windows.next_window(conn) == 0
    take(conn, new_batch(), ["old", "missed", "now"], W1)
    assert windows.next_window(conn) == W2
    take(conn, new_batch(), ["later"], W2)
    assert windows.next_window(conn) is None


# -- whose turn it is ----------------------------------------------------------------


def due_job(name: str, account: str = "ann", key: str = KEY, window_at: int = W1, at: int = 10) -> Due:
    return Due(id=name, account_id=account, window_at=window_at, group_key=key, created_at=at)


def arranged(*waiting: Due, most: int = 4) -> list[list[str]]:
    return [[one.id for one in group] for group in windows.arrange(waiting, most)]


def test_a_hundred_jobs_of_one_account_do_not_keep_anothers_single_one_waiting() -> None:
    many = [due_job(f"a{number:03}", at=number) for number in range(100)]
    groups = arranged(*many, due_job("b", "bob", key=OTHER, at=500))
    assert groups[:3] == [["a000", "a001", "a002", "a003"], ["b"], ["a004", "a005", "a006", "a007"]]


def test_jobs_that_one_pipeline_can_serve_run_together_whosever_they_are() -> None:
    groups = arranged(
        due_job("a1"), due_job("a2", key=OTHER), due_job("b1", "bob", key=OTHER), due_job("b2", "bob")
    )
    assert groups == [["a1", "b2"], ["b1", "a2"]]


def test_an_older_window_comes_first_and_is_not_mixed_with_another() -> None:
    groups = arranged(due_job("new", at=5), due_job("old", window_at=W1 - 1, at=9), due_job("new2", at=6))
    assert groups == [["old"], ["new", "new2"]]


_waiting = st.lists(
    st.tuples(st.sampled_from("xyz"), st.sampled_from("kl"), st.sampled_from([1, 2]), st.integers(0, 9)),
    max_size=30,
).map(
    lambda drawn: [
        due_job(f"job{n}", account, key, window, at) for n, (account, key, window, at) in enumerate(drawn)
    ]
)


@given(waiting=_waiting, most=st.integers(1, 5))
def test_each_has_its_turn(waiting: list[Due], most: int) -> None:
    groups = list(windows.arrange(waiting, most))
    served = [one.id for group in groups for one in group]
    assert sorted(served) == sorted(one.id for one in waiting)
    assert all(1 <= len(group) <= most for group in groups)
    assert all(len({(one.window_at, one.group_key) for one in group}) == 1 for group in groups)
    order = [group[0].window_at for group in groups]
    assert order == sorted(order)
    # Nobody's second job begins a group while anybody's first of that window waits.
    turns: dict[str, int] = {}
    for one in sorted(waiting, key=lambda w: (w.created_at, w.id)):
        before = [w for w in waiting if (w.window_at, w.account_id) == (one.window_at, one.account_id)]
        turns[one.id] = sum(w.id in turns for w in before)
    for number, group in enumerate(groups):
        rest = [one for later in groups[number:] for one in later if one.window_at == group[0].window_at]
        assert turns[group[0].id] == min(turns[one.id] for one in rest)


# -- taking them ---------------------------------------------------------------------


def test_each_is_taken_once_and_has_its_time_from_then_on(conn: Connection) -> None:
    for name in ("one", "two", "three"):
        waits(conn, name)
    store.request_cancel(conn, "three", "ann", at=20)
    assert take(conn, new_batch("bat1"), ["two", "three", "one"], at=W1 + 7) == ["two", "one"]
    assert take(conn, new_batch("bat2"), ["one", "two"], at=W1 + 9) == []
    found = queries.find_job(conn, "one")
    assert found is not None
    assert (found.status, found.deadline_at, found.runs_at) == ("queued", W1 + 7 + 90, W1)
    assert found.group == Group(id="bat1", size=2)
    assert state(conn, "three") == "canceled"
    (row,) = conn.execute(select(batch)).all()
    assert row._asdict() == {
        "id": "bat1",
        "window_at": W1,
        "group_key": KEY,
        "model": "solo",
        "jobs": 2,
        "started_at": W1 + 7,
        "ended_at": None,
    }
    leases.let_go(conn, "own_1")
    assert leases.adopt(conn, "own_2", 9) == [("one", 2), ("two", 2)]


def test_a_batch_has_ended_when_its_jobs_have(conn: Connection) -> None:
    stopped = JobCanceled("stopped")
    for name in ("one", "two", "three"):
        waits(conn, name)

    def end(name: str, at: int) -> int | None:
        store.end_without_images(conn, name, [(f"att-{name}", stopped)], stopped, at)
        windows.end_batch(conn, "bat1", at)
        found: int | None = conn.execute(select(batch.c.ended_at)).scalar_one()
        return found

    take(conn, new_batch(), ["one", "two"], at=W1)
    assert end("one", W1 + 1) is None
    assert end("two", W1 + 2) == W1 + 2
    # One more of it, as room allowed; its process did not live to note the end.
    assert take(conn, new_batch(), ["three"], at=W1 + 3) == ["three"]
    assert conn.execute(select(batch.c.jobs, batch.c.ended_at)).one() == (3, None)
    store.end_without_images(conn, "three", [("att-three", stopped)], stopped, W1 + 4)
    assert windows.not_noted(conn) == ["bat1"]
    windows.end_batch(conn, "bat1", W1 + 5)
    assert windows.not_noted(conn) == []


# -- what a job says of it -----------------------------------------------------------


def test_the_place_of_a_job_is_that_of_its_turn(conn: Connection) -> None:
    for number in range(3):
        waits(conn, f"ann{number}", at=10 + number)
    waits(conn, "bob0", "bob", at=50)
    waits(conn, "next", "bob", runs_at=W2, at=51)
    waits(conn, "old", "bob", runs_at=None, at=52)

    def places() -> dict[str, int | None]:
        return {found.id: found.place for found in queries.list_jobs(conn, None, limit=10)}

    assert places() == {"ann0": 1, "bob0": 2, "ann1": 3, "ann2": 4, "next": 1, "old": None}
    store.request_cancel(conn, "ann0", "ann", at=60)
    assert places() == {"ann0": None, "ann1": 1, "bob0": 2, "ann2": 3, "next": 1, "old": None}
    take(conn, new_batch(), ["ann1", "ann2"], at=W1)
    found = queries.find_job(conn, "bob0")
    assert found is not None
    assert (found.place, found.runs_at) == (1, W1)


def test_an_upgrade_releases_what_waits_because_of_the_tier(conn: Connection) -> None:
    waits(conn, "tier")
    waits(conn, "wish", schedule="window")
    assert admit.release_scheduled(conn, "ann", at=500) == ["tier"]
    found = queries.find_job(conn, "tier")
    assert found is not None
    assert (found.status, found.runs_at, found.place) == ("queued", None, None)
    assert state(conn, "wish") == "scheduled"


def test_a_job_of_before_there_were_windows_shares_with_nobody(conn: Connection) -> None:
    waits(conn, "one", runs_at=None)
    waits(conn, "two", runs_at=None)
    conn.execute(update(job).values(group_key=None))
    found = windows.due(conn, 99)
    assert [[one.id for one in group] for group in windows.arrange(found, 4)] == [["one"], ["two"]]


def test_a_job_counts_against_what_an_account_may_have_while_it_waits(conn: Connection) -> None:
    waits(conn, "one")
    second = admit.NewJob(
        id="two",
        account_id="ann",
        end_user=None,
        model="solo",
        registry_version="abc",
        admitted=Admitted(inputs={}, options={}, candidates=()),
        report=(),
        warnings=(),
        routing=RoutingView(rule="model", why="named", requested="solo", passed_over=()),
        quote_micros=5,
        ceiling_micros=5,
        deadline_at=99,
        attempt=NewAttempt(id="att2", number=1, candidate=0, call=0, provider="first", endpoint="x"),
    )
    with pytest.raises(admit.TooManyJobs):
        admit.admit(conn, replace(second, max_open=1), at=11)
