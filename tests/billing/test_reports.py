"""Usage reports against the jobs themselves: whatever is asked for, nothing is lost and nothing is counted twice."""

from collections import Counter
from collections.abc import Iterator
from datetime import date
from itertools import combinations

import pytest
from sqlalchemy import Connection

from billing.reports import (
    Counts,
    Dimension,
    TooManyGroups,
    UsageFilter,
    date_of,
    day_number,
    month_span,
    usage_report,
)
from billing.tables import COUNTS
from billing.usage import DAY_MS, Ended, record_end, record_refund

pytestmark = pytest.mark.every_database

FIRST = day_number(date(2026, 1, 30))
EVERY: tuple[Dimension, ...] = ("account", "day", "month", "model", "provider", "key", "user")


def ended(number: int) -> tuple[Ended, int]:
    """A job, and when it ended: all kinds of them over four months, some without a key or a user."""
    status = ("completed", "completed", "failed", "canceled")[number % 4]
    done = status == "completed"
    job = Ended(
        account_id=("ann", "bob")[number % 7 == 0],
        model=("fast", "slow", "big")[number % 3],
        provider=("fal", "own")[number % 2],
        key_id=(None, "key1", "key2")[number % 5 % 3],
        end_user=(None, "u1", "=u2", "u3")[number % 6 % 4],
        status=status,
        images=number % 3 + 1 if done else 0,
        quote_micros=10 + number,
        charge_micros=7 + number if done else 0,
        cost_micros=3 + number if done else number % 2,
        listed_micros=3 + number if done else 0,
    )
    return job, (FIRST + number * 2) * DAY_MS + number


JOBS = [ended(number) for number in range(60)]
REFUNDS = [(job, at + 3 * DAY_MS) for job, at in JOBS if job.charge_micros and job.charge_micros % 5 == 0]


@pytest.fixture
def conn(conn: Connection) -> Iterator[Connection]:
    for job, at in JOBS:
        record_end(conn, job, at)
    for job, at in REFUNDS:
        record_refund(
            conn,
            account_id=job.account_id,
            model=job.model,
            provider=job.provider,
            key_id=job.key_id,
            end_user=job.end_user,
            amount_micros=2,
            at=at,
        )
    return conn


def places(job: Ended, at: int) -> dict[Dimension, str | None]:
    day = date_of(at // DAY_MS)
    return {
        "account": job.account_id, "day": day, "month": day[:7], "model": job.model, "provider": job.provider,
        "key": job.key_id, "user": job.end_user,
    }  # fmt: skip


def counted(job: Ended) -> Counter[str]:
    named = ("images", "quote_micros", "charge_micros", "cost_micros", "listed_micros")
    return Counter({"jobs": 1, job.status: 1} | {name: getattr(job, name) for name in named})


def expected(by: tuple[Dimension, ...], **only: str | None) -> dict[tuple[str | None, ...], Counter[str]]:
    """What a report must say, from the jobs one by one."""
    found: dict[tuple[str | None, ...], Counter[str]] = {}
    rows = [(places(job, at), counted(job)) for job, at in JOBS]
    rows += [(places(job, at), Counter(refund_micros=2)) for job, at in REFUNDS]
    for place, counts in rows:
        if all(place[name] == value for name, value in only.items()):  # type: ignore[index]
            found.setdefault(tuple(place[one] for one in by), Counter()).update(counts)
    return found


def as_counts(counter: Counter[str]) -> Counts:
    return Counts(**{name: counter[name] for name in COUNTS})


def said(
    conn: Connection, by: tuple[Dimension, ...], only: UsageFilter
) -> dict[tuple[str | None, ...], Counts]:
    report = usage_report(conn, by, only)
    found = {row.of: row.counts for row in report.rows}
    assert len(found) == len(report.rows)
    total: Counter[str] = Counter()
    for counts in found.values():
        total.update({name: getattr(counts, name) for name in COUNTS})
    assert report.total == as_counts(total)
    return found


def test_every_combination_of_dimensions_says_what_the_jobs_say(conn) -> None:
    for size in range(4):
        for by in combinations(EVERY, size):
            wanted = {of: as_counts(counter) for of, counter in expected(by).items()}
            assert said(conn, by, UsageFilter()) == wanted, by


@pytest.mark.parametrize(
    ("only", "same"),
    [
        (UsageFilter(account_id="bob"), {"account": "bob"}),
        (UsageFilter(models=("slow",)), {"model": "slow"}),
        (UsageFilter(providers=("own",), models=("big",)), {"provider": "own", "model": "big"}),
        (UsageFilter(keys=("key2",)), {"key": "key2"}),
        (UsageFilter(keys=("",)), {"key": None}),
        (UsageFilter(users=("=u2",)), {"user": "=u2"}),
        (UsageFilter(users=("u1",), account_id="ann"), {"user": "u1", "account": "ann"}),
    ],
)
def test_filters(conn, only, same) -> None:
    for by in ((), ("day",), ("month", "model"), ("user", "key"), ("user",)):
        wanted = {of: as_counts(counter) for of, counter in expected(by, **same).items()}
        assert wanted
        assert said(conn, by, only) == wanted, by


def test_days_are_within(conn) -> None:
    first, last = FIRST + 10, FIRST + 20
    only = UsageFilter(first_day=first, last_day=last)
    wanted = {
        of: as_counts(counter)
        for of, counter in expected(("day",)).items()
        if date_of(first) <= str(of[0]) <= date_of(last)
    }
    assert said(conn, ("day",), only) == wanted
    assert {date_of(first), date_of(last)} <= {of[0] for of in wanted}
    assert sum(c.jobs for c in said(conn, ("month", "user"), only).values()) == 6


def test_rows_are_in_order_and_what_has_no_name_comes_last(conn) -> None:
    rows = [row.of for row in usage_report(conn, ("month", "key"), UsageFilter()).rows]
    assert rows[:4] == [("2026-01", None), ("2026-02", "key1"), ("2026-02", "key2"), ("2026-02", None)]
    assert [of[0] for of in rows] == sorted(str(of[0]) for of in rows)


def test_nothing_is_nothing(conn) -> None:
    nobody = UsageFilter(account_id="nobody")
    for by in ((), ("day",), ("month",), ("user",)):
        report = usage_report(conn, by, nobody)
        assert report.total == Counts()
        assert all(row.counts == Counts() for row in report.rows)
    assert usage_report(conn, ("month",), nobody).rows == ()


def test_no_more_rows_than_asked_for(conn) -> None:
    whole = len(usage_report(conn, ("day", "user"), UsageFilter()).rows)
    assert len(usage_report(conn, ("day", "user"), UsageFilter(), most=whole).rows) == whole
    with pytest.raises(TooManyGroups):
        usage_report(conn, ("day", "user"), UsageFilter(), most=whole - 1)


def test_months() -> None:
    assert [date_of(at // DAY_MS) for at in month_span("2024-02")] == ["2024-02-01", "2024-03-01"]
    assert [date_of(at // DAY_MS) for at in month_span("2026-12")] == ["2026-12-01", "2027-01-01"]
    with pytest.raises(ValueError, match="unconverted data"):
        month_span("2026-13")
