"""Token buckets on a real database: never more than there is, and back at a steady rate."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import limits
from gateway.limits import Limit

LIMIT = Limit(name="x", burst=3, per_s=0.5)
AT = 1_795_000_000_000


pytestmark = pytest.mark.every_database


def test_a_burst_then_one_at_a_time(conn) -> None:
    assert [limits.take(conn, LIMIT, "ann", AT).left for _ in range(3)] == [2, 1, 0]
    refused = limits.take(conn, LIMIT, "ann", AT)
    assert (refused.allowed, refused.retry_after_s) == (False, 2)
    assert not limits.take(conn, LIMIT, "ann", AT + 1_999).allowed
    assert limits.take(conn, LIMIT, "ann", AT + 2_000).allowed
    assert not limits.take(conn, LIMIT, "ann", AT + 2_000).allowed


def test_what_was_told_to_wait_for_is_there_then(conn) -> None:
    slow = Limit(name="slow", burst=1, per_s=1 / 3600)
    assert limits.take(conn, slow, "ann", AT).allowed
    wait = limits.take(conn, slow, "ann", AT + 60_000).retry_after_s
    assert 3500 < wait <= 3545
    assert not limits.take(conn, slow, "ann", AT + (60 + wait - 10) * 1000).allowed
    assert limits.take(conn, slow, "ann", AT + (60 + wait) * 1000).allowed


def test_each_has_a_bucket_of_its_own(conn) -> None:
    other = Limit(name="y", burst=1, per_s=1)
    for _ in range(3):
        assert limits.take(conn, LIMIT, "ann", AT).allowed
    assert limits.take(conn, LIMIT, "bob", AT).allowed
    assert limits.take(conn, other, "ann", AT).allowed


def test_what_did_not_count_is_given_back_and_no_more(conn) -> None:
    for _ in range(3):
        limits.take(conn, LIMIT, "ann", AT)
    limits.give_back(conn, LIMIT, "ann")
    assert limits.take(conn, LIMIT, "ann", AT).allowed
    assert not limits.take(conn, LIMIT, "ann", AT).allowed
    for _ in range(9):
        limits.give_back(conn, LIMIT, "ann")
    assert [limits.take(conn, LIMIT, "ann", AT).allowed for _ in range(4)] == [True, True, True, False]


def test_what_nobody_touches_is_forgotten(conn) -> None:
    limits.take(conn, LIMIT, "ann", AT)
    limits.take(conn, LIMIT, "bob", AT + 10_000)
    assert limits.sweep(conn, AT + 1) == 1
    assert limits.take(conn, LIMIT, "bob", AT + 10_000).left == 1


def test_a_limit_lets_something_through() -> None:
    for burst, per_s in ((0, 1.0), (1, 0.0)):
        with pytest.raises(ValueError, match="lets something through"):
            Limit(name="x", burst=burst, per_s=per_s)


def test_never_more_than_the_burst_and_what_came_since(conn, database_kind: str) -> None:
    @settings(max_examples=100 if database_kind == "sqlite" else 20)
    @given(steps=st.lists(st.integers(0, 9_000), max_size=60))
    def holds(steps: list[int]) -> None:
        at, taken = AT, 0
        savepoint = conn.begin_nested()
        for step in steps:
            at += step
            taken += limits.take(conn, LIMIT, "ann", at).allowed
        savepoint.rollback()
        assert taken <= LIMIT.burst + (at - AT) / 1000 * LIMIT.per_s + 1e-6

    holds()
