"""What providers billed beside our list of their prices, by day, provider and model."""

from decimal import Decimal

import pytest
from sqlalchemy import Connection

from billing.usage import DAY_MS, Ended, record_end, record_refund
from billing.variance import Variance, variances

pytestmark = pytest.mark.every_database

DAY = 20_000


def end(conn: Connection, cost: int, listed: int, **changed: object) -> None:
    """A job ends on the day."""
    day = changed.pop("day", DAY)
    assert isinstance(day, int)
    plain = {
        "account_id": "ann", "model": "flux-dev", "provider": "fal", "key_id": None, "end_user": None,
        "status": "completed", "images": 1, "quote_micros": 30_000, "charge_micros": 30_000,
    }  # fmt: skip
    record_end(conn, Ended(cost_micros=cost, listed_micros=listed, **(plain | changed)), day * DAY_MS + 5)


def facts(found: list[Variance]) -> list[tuple[int, str, str | None, int, bool]]:
    return [(one.day - DAY, one.provider, one.model, one.difference_micros, one.reported) for one in found]


def test_what_agrees_is_left_out(conn: Connection) -> None:
    end(conn, 25_000, 25_000)
    end(conn, 0, 0, status="failed")
    assert variances(conn, DAY, DAY) == []


def test_jobs_of_all_accounts_are_added(conn: Connection) -> None:
    for account in ("ann", "bob"):
        end(conn, 50_000, 25_000, account_id=account, key_id="k" if account == "bob" else None)
    (found,) = variances(conn, DAY, DAY)
    assert (found.jobs, found.cost_micros, found.listed_micros) == (2, 100_000, 50_000)
    assert (found.difference_micros, found.percent, found.reported) == (50_000, Decimal("100.0"), True)


@pytest.mark.parametrize(
    ("cost", "listed", "reported"),
    [
        (105_000, 100_000, False),
        (105_001, 100_000, True),
        (95_000, 100_000, False),
        (94_999, 100_000, True),
        (101_000_000, 100_000_000, False),
        (101_000_001, 100_000_000, True),  # a dollar, of a percent
        (98_999_999, 100_000_000, True),
        (1, 0, True),
        (0, 1, True),
    ],
)
def test_five_percent_or_a_dollar_a_day(conn: Connection, cost: int, listed: int, reported: bool) -> None:
    end(conn, cost, listed)
    (found,) = variances(conn, DAY, DAY)
    assert found.reported is reported


def test_of_nothing_there_is_no_percent(conn: Connection) -> None:
    end(conn, 7, 0)
    (found,) = variances(conn, DAY, DAY)
    assert found.percent is None


def test_a_provider_of_several_models_has_a_row_of_its_day(conn: Connection) -> None:
    """Each model stays below a dollar, and the day does not."""
    for model in ("a", "b", "c"):
        end(conn, 20_400_000, 20_000_000, model=model)
    end(conn, 1_000, 1_000, provider="openai", model="a")
    assert facts(variances(conn, DAY, DAY)) == [
        (0, "fal", "a", 400_000, False),
        (0, "fal", "b", 400_000, False),
        (0, "fal", "c", 400_000, False),
        (0, "fal", None, 1_200_000, True),
    ]


def test_each_day_is_by_itself(conn: Connection) -> None:
    for day, cost in ((DAY - 1, 2), (DAY, 3), (DAY + 1, 4), (DAY + 2, 5)):
        end(conn, cost, 1, day=day)
    assert facts(variances(conn, DAY, DAY + 1)) == [
        (0, "fal", "flux-dev", 2, True),
        (1, "fal", "flux-dev", 3, True),
    ]


def test_a_refund_is_no_cost(conn: Connection) -> None:
    record_refund(
        conn, account_id="ann", model="flux-dev", provider="fal", key_id=None, end_user=None,
        amount_micros=5, at=DAY * DAY_MS,
    )  # fmt: skip
    assert variances(conn, DAY, DAY) == []
