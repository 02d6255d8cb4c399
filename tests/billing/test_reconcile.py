"""What a provider billed beside what the books have: each kind of difference, and nothing else."""

from collections.abc import Iterable
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from billing.reconcile import Attempt, Charge, Comparison, Difference, Sum, Tolerance, Totals
from billing.recosts import request_reference, sum_reference

DAY = 86_400_000
NOON = 20_000 * DAY + DAY // 2
FAR = 1 << 50
DEV = "fal-ai/flux/dev"


def ours(number: int = 1, **changed: object) -> Attempt:
    """`att_1` of `job_1`, which is the request `r1`."""
    plain = Attempt(
        id=f"att_{number}", job_id=f"job_{number}", endpoint=DEV, status="succeeded", request_id=f"r{number}",
        started_at=NOON, ended_at=NOON + 5000, micros=25_000,
    )  # fmt: skip
    return replace(plain, **changed)


def theirs(number: int = 1, **changed: object) -> Charge:
    plain = Charge(request_id=f"r{number}", endpoint=DEV, at=NOON + 4000, micros=25_000)
    return replace(plain, **changed)


def compare(
    attempts: Iterable[Attempt] = (),
    charges: Iterable[Charge] = (),
    sums: Iterable[Sum] = (),
    booked: Iterable[tuple[str, int]] = (),
    **how: object,
) -> tuple[list[Difference], Totals]:
    with Comparison("fal", **{"now": FAR, "start": NOON - DAY, "end": NOON + DAY, **how}) as comparison:
        comparison.add_charges(charges)
        comparison.add_sums(sums)
        comparison.add_attempts(attempts)
        comparison.add_corrections(booked)
        return list(comparison.differences()), comparison.totals


def kinds(found: tuple[list[Difference], Totals]) -> list[tuple[str, int]]:
    """What differs, and by how much."""
    assert found[1].differ == sum(one.counts for one in found[0])
    assert found[1].difference_micros == found[1].theirs_micros - found[1].ours_micros
    return [(one.kind, one.difference_micros) for one in found[0]]


# -- by attempt ------------------------------------------------------------------------------------


def test_what_agrees_is_not_told() -> None:
    found, totals = compare([ours(1), ours(2, micros=0)], [theirs(1), theirs(2, micros=0)])
    assert found == []
    assert (totals.lines, totals.attempts, totals.ours_micros, totals.theirs_micros) == (2, 2, 25_000, 25_000)


def test_another_amount() -> None:
    (found,), totals = compare([ours()], [theirs(micros=30_000, units=Decimal("1.2"))])
    assert (found.kind, found.difference_micros, found.total_micros) == ("amount_differs", 5000, 30_000)
    assert (found.attempt_id, found.job_id, found.request_id) == ("att_1", "job_1", "r1")
    assert (found.ours_units, found.theirs_units, found.counts) == (None, "1.2", True)
    assert (totals.difference_micros, totals.kinds) == (5000, {"amount_differs": 1})


def test_a_micro_dollar_is_rounding() -> None:
    assert kinds(compare([ours()], [theirs(micros=25_001)])) == []
    assert kinds(compare([ours()], [theirs(micros=24_998)])) == [("amount_differs", -2)]


@pytest.mark.parametrize(
    ("within", "micros", "told"),
    [
        (Tolerance(micros=500), 25_500, False),
        (Tolerance(micros=500), 25_501, True),
        (Tolerance(percent=Decimal(2)), 25_500, False),
        (Tolerance(percent=Decimal(2)), 25_511, True),
        (Tolerance(percent=Decimal(2)), 24_500, False),
        (Tolerance(percent=Decimal(2)), 24_489, True),
    ],
)
def test_what_is_tolerated(within: Tolerance, micros: int, told: bool) -> None:
    assert bool(kinds(compare([ours()], [theirs(micros=micros)], each=within))) is told


def test_other_units_of_the_same_amount_are_told_and_do_not_count() -> None:
    found = compare([ours(units=Decimal(1))], [theirs(units=Decimal("2"))])
    assert kinds(found) == [("units_differ", 0)]
    assert not found[0][0].counts
    assert kinds(compare([ours(units=Decimal("1.0"))], [theirs(units=Decimal(1))])) == []
    assert kinds(compare([ours(units=None)], [theirs(units=Decimal(1))])) == []


def test_a_request_that_no_attempt_has() -> None:
    (found,), _ = compare([ours(1)], [theirs(1), theirs(2)])
    assert (found.kind, found.request_id, found.attempt_id) == ("missing_here", "r2", None)
    assert (found.ours_micros, found.theirs_micros, found.command) == (0, 25_000, None)


def test_an_attempt_that_is_not_billed() -> None:
    (found,), _ = compare([ours(1), ours(2)], [theirs(1)])
    assert (found.kind, found.attempt_id, found.total_micros) == ("missing_there", "att_2", 0)
    assert found.difference_micros == -25_000


def test_what_cost_nothing_need_not_be_billed() -> None:
    free = [ours(2, micros=0), ours(3, micros=None, status="failed"), ours(4, micros=None, status="accepted")]
    assert kinds(compare([ours(1), *free], [theirs(1)])) == []


def test_an_attempt_outside_of_the_time_is_not_missing() -> None:
    early = ours(2, started_at=NOON - DAY - 9000, ended_at=NOON - DAY - 1)
    late = ours(3, ended_at=NOON + DAY)
    assert kinds(compare([ours(1), early, late], [theirs(1)])) == []


def test_a_row_outside_of_the_time_only_keeps_an_attempt_from_missing() -> None:
    """It is asked about days, and a job that ends at midnight is billed on one of two."""
    edge = ours(2, ended_at=NOON + DAY - 1)
    assert kinds(compare([ours(1), edge], [theirs(1), theirs(2, at=NOON + DAY)])) == []
    # Other days' rows are other days' business.
    assert kinds(compare([ours(1)], [theirs(1), theirs(3, at=NOON + DAY)])) == []
    assert kinds(compare([ours(1)], [theirs(1), theirs(3, at=NOON + DAY - 1)])) == [("missing_here", 25_000)]


def test_without_days_it_is_the_time_of_the_rows() -> None:
    rows = [theirs(1, at=NOON), theirs(2, at=NOON + 5000)]
    books = [ours(1), ours(2), ours(3, ended_at=NOON + 5000), ours(4, ended_at=NOON + 5001)]
    assert kinds(compare(books, rows, start=None, end=None)) == [("missing_there", -25_000)]


def test_what_failed_here_and_is_billed() -> None:
    (found,), _ = compare([ours(status="failed", micros=None)], [theirs()])
    assert (found.kind, found.ours_micros, found.theirs_micros) == ("failed_but_billed", 0, 25_000)


def test_what_is_under_way_is_not_compared() -> None:
    found = compare([ours(1, status="accepted", micros=None, ended_at=None)], [theirs()])
    assert kinds(found) == []
    assert (found[1].pending, found[1].theirs_micros) == (1, 0)


def test_an_attempt_without_an_answer_is_found() -> None:
    lost = ours(1, status="unknown", request_id=None, micros=None, ended_at=None)
    (found,), _ = compare([lost], [theirs(7, at=NOON + 12_000)])
    assert (found.kind, found.attempt_id, found.difference_micros) == ("unknown_attempt", "att_1", 25_000)
    assert found.command == "gateway jobs adopt job_1 --request-id r7"
    assert "12 s before" in found.words


def test_each_attempt_without_an_answer_is_found_for_one_request() -> None:
    lost = [
        ours(n, status="unknown", request_id=None, micros=None, ended_at=None, started_at=NOON + n * 60_000)
        for n in (1, 2)
    ]
    rows = [theirs(7, at=NOON + 70_000), theirs(8, at=NOON + 130_000), theirs(9, at=NOON + 140_000)]
    found, _ = compare(lost, rows)
    assert [(one.kind, one.attempt_id) for one in found] == [
        ("unknown_attempt", "att_1"),
        ("unknown_attempt", "att_2"),
        ("missing_here", None),
    ]


@pytest.mark.parametrize(
    "changed", [{"endpoint": "fal-ai/other"}, {"started_at": NOON + 70_000}, {"started_at": NOON - 2 * DAY}]
)
def test_an_attempt_that_it_cannot_be_is_not_found(changed: dict[str, object]) -> None:
    lost = ours(1, **{"status": "unknown", "request_id": None, "micros": None, "ended_at": None, **changed})
    assert kinds(compare([lost], [theirs(7, at=NOON)])) == [("missing_here", 25_000)]


def test_a_request_of_two_attempts_is_billed_for_the_first() -> None:
    twice = [ours(1), ours(2, request_id="r1")]
    (found,), _ = compare(twice, [theirs(1)])
    assert (found.kind, found.attempt_id) == ("missing_there", "att_2")


def test_a_row_that_is_read_twice_counts_once() -> None:
    found, totals = compare([ours()], [theirs(), theirs()])
    assert (found, totals.lines, totals.repeated) == ([], 1, 1)


def test_several_rows_of_a_request_are_added() -> None:
    rows = [
        theirs(micros=20_000, units=Decimal("0.8")),
        theirs(at=NOON + 9000, micros=5_000, units=Decimal("0.2")),
    ]
    assert kinds(compare([ours(units=Decimal(1))], rows)) == []


def test_a_list_of_requests_says_no_amounts() -> None:
    listed = [theirs(1, micros=None), theirs(2, micros=None)]
    found = compare([ours(1), ours(3)], listed)
    assert kinds(found) == [("missing_here", 0), ("missing_there", -25_000)]
    assert [one.counts for one in found[0]] == [False, True]
    assert found[1].without_cost == 2


# -- what is corrected ------------------------------------------------------------------------------


def test_what_was_corrected_agrees() -> None:
    books = [ours(1), ours(2, status="failed", micros=None), ours(3)]
    rows = [theirs(1, micros=30_000, units=Decimal(2)), theirs(2), theirs(4)]
    booked = [
        ("att_1", 5000),
        ("att_2", 25_000),
        ("att_3", -25_000),
        (request_reference("fal", "r4"), 25_000),
    ]
    assert kinds(compare(books, rows, booked=booked)) == []
    assert len(kinds(compare(books, rows))) == 4


def test_a_bill_that_changes_again_is_told_again() -> None:
    (found,), _ = compare([ours()], [theirs(micros=20_000)], booked=[("att_1", 5000)])
    assert (found.ours_micros, found.difference_micros, found.total_micros) == (30_000, -10_000, 20_000)


def test_a_request_that_was_entered_before_it_was_adopted_counts_once() -> None:
    """It was booked under its own id; then it became an attempt's, which books its cost too."""
    booked = [(request_reference("fal", "r1"), 25_000)]
    (found,), _ = compare([ours()], [theirs()], booked=booked)
    assert (found.kind, found.ours_micros, found.difference_micros) == ("amount_differs", 50_000, -25_000)


# -- sums --------------------------------------------------------------------------------------------

MIDNIGHT = 20_000 * DAY


def day(number: int, micros: int, name: str = DEV, **changed: object) -> Sum:
    return replace(Sum(name=name, start=MIDNIGHT + number * DAY, micros=micros), **changed)


def in_sums(
    attempts: Iterable[Attempt], sums: Iterable[Sum], **how: object
) -> tuple[list[Difference], Totals]:
    return compare(attempts, sums=sums, **{"start": None, "end": None, **how})


def test_sums_by_day_and_endpoint() -> None:
    tomorrow = {"started_at": NOON + DAY, "ended_at": NOON + DAY}
    books = [ours(1), ours(2), ours(3, **tomorrow), ours(4, endpoint="fal-ai/other")]
    rows = [day(0, 50_000), day(1, 20_000), day(0, 25_000, "fal-ai/other")]
    found, totals = in_sums(books, rows)
    assert [(one.kind, one.at, one.endpoint, one.difference_micros) for one in found] == [
        ("sum_differs", MIDNIGHT + DAY, DEV, -5000)
    ]
    assert found[0].attempts == ("att_3",)
    assert (totals.ours_micros, totals.theirs_micros, totals.attempts) == (100_000, 95_000, 4)


def test_five_percent_of_a_sum_are_tolerated() -> None:
    assert kinds(in_sums([ours()], [day(0, 26_315)])) == []
    assert kinds(in_sums([ours()], [day(0, 26_320)])) == [("sum_differs", 1320)]


def test_a_sum_names_what_is_furthest_from_our_list() -> None:
    books = [ours(n, micros=20_000 + n, listed_micros=20_000) for n in range(1, 9)]
    (found,), _ = in_sums([*books, ours(9, micros=None, status="failed")], [day(0, 400_000)])
    assert found.attempts == ("att_8", "att_7", "att_6")


def test_rows_of_a_sum_are_added_and_one_that_is_there_twice_counts_once() -> None:
    rows = [day(0, 10_000, identity="gpu"), day(0, 15_000, identity="cpu"), day(0, 10_000, identity="gpu")]
    found = in_sums([ours()], rows)
    assert (kinds(found), found[1].repeated) == ([], 1)


def test_a_day_that_they_do_not_have_is_compared_too() -> None:
    other = ours(2, started_at=NOON + DAY, ended_at=NOON + DAY)
    assert kinds(in_sums([ours(1), other], [day(0, 25_000), day(2, 0)])) == [("sum_differs", -25_000)]
    # Before the first row and after the last: where it is asked about.
    asked = {"start": MIDNIGHT - DAY, "end": MIDNIGHT + 2 * DAY}
    early = ours(3, started_at=NOON - DAY, ended_at=NOON - DAY)
    found = in_sums([ours(1), other, early], [day(0, 25_000)], **asked)
    assert kinds(found) == [("sum_differs", -25_000), ("sum_differs", -25_000)]


def test_a_time_that_is_not_over_is_not_compared() -> None:
    found = in_sums([ours()], [day(0, 1), day(1, 1)], now=MIDNIGHT + DAY + 9)
    assert (kinds(found), found[1].unfinished) == ([("sum_differs", -24_999)], 1)


def test_sums_by_the_hour() -> None:
    hour = 3_600_000
    rows = [day(0, 25_000, start=NOON), day(0, 9, start=NOON + 3 * hour)]
    later = ours(2, started_at=NOON + hour, ended_at=NOON + hour)
    found, _ = in_sums([ours(1), later], rows)
    assert [(one.at, one.difference_micros) for one in found] == [
        (NOON + hour, -25_000),
        (NOON + 3 * hour, 9),
    ]


def test_what_idles_is_overhead_and_no_fault() -> None:
    how = {"name": "app", "idles": True}
    found, totals = in_sums([ours(endpoint="a"), ours(2, endpoint="b")], [day(0, 90_000, "app")], **how)
    assert [(one.kind, one.difference_micros, one.counts) for one in found] == [("overhead", 40_000, False)]
    assert totals.differ == 0
    assert kinds(in_sums([ours(endpoint="a")], [day(0, 20_000, "app")], **how)) == [("sum_differs", -5000)]


def test_a_sum_that_was_corrected_agrees() -> None:
    how = {"name": "app", "idles": True}
    (found,), _ = in_sums([ours()], [day(0, 90_000, "app")], **how)
    assert found.total_micros == 65_000
    booked = [(sum_reference("fal", "app", MIDNIGHT), 65_000)]
    assert kinds(in_sums([ours()], [day(0, 90_000, "app")], booked=booked, **how)) == []
    # What an attempt was corrected by is in its day's sum.
    assert kinds(in_sums([ours()], [day(0, 90_000, "app")], booked=[("att_1", 65_000)], **how)) == []


# -- whatever both sides have -----------------------------------------------------------------------

AMOUNTS = st.one_of(st.none(), st.integers(0, 5), st.just(25_000))


@given(
    books=st.lists(
        st.tuples(
            AMOUNTS,
            st.sampled_from(["succeeded", "failed", "accepted", "unknown"]),
            st.one_of(st.none(), st.integers(1, 6)),
        ),
        max_size=6,
    ),
    bill=st.lists(st.tuples(st.integers(1, 8), st.integers(0, 30_000), st.integers(-2, 2)), max_size=8),
)
def test_what_is_put_right_agrees(
    books: list[tuple[int | None, str, int | None]], bill: list[tuple[int, int, int]]
) -> None:
    """Whatever differs: with a correction for each difference, nothing does."""
    attempts = [
        ours(n, micros=micros if status == "succeeded" else None, status=status,
             request_id=None if request is None else f"r{request}")
        for n, (micros, status, request) in enumerate(books, 1)
    ]  # fmt: skip
    charges = [theirs(request, micros=micros, at=NOON + hours * DAY // 2) for request, micros, hours in bill]
    found, totals = compare(attempts, charges)
    booked = [
        (
            request_reference("fal", one.request_id or "")
            if one.attempt_id is None or one.kind == "unknown_attempt"
            else one.attempt_id,
            one.difference_micros,
        )
        for one in found
        if one.counts
    ]
    assert totals.difference_micros == totals.theirs_micros - totals.ours_micros
    again, after = compare(attempts, charges, booked=booked)
    assert [one for one in again if one.counts] == []
    assert abs(after.difference_micros) <= len(charges) + len(attempts)
