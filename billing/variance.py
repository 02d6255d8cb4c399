"""What providers billed by day and model, beside what our list of their prices says: where a price has
changed, or the list is wrong.
"""

from collections.abc import Iterator
from decimal import Decimal
from itertools import groupby

from msgspec import Struct
from sqlalchemy import Connection, func, or_, select

from billing.tables import usage_day

__all__ = ["MOST_MICROS", "MOST_PERCENT", "Variance", "variances"]

MOST_PERCENT = 5
"""More than so many percent of what the list says is reported."""
MOST_MICROS = 1_000_000
"""And more than so much in a day."""


class Variance(Struct, frozen=True, kw_only=True):
    """One day of a provider's model, or of the provider. Money is micro-dollars."""

    day: int
    """UTC, in days since 1970"""
    provider: str
    model: str | None
    """None: all of the provider's that day, where it has several."""
    jobs: int
    """That ended."""
    cost_micros: int
    """What the provider billed, as its answers said."""
    listed_micros: int
    """What it should have by our list of its prices."""

    @property
    def difference_micros(self) -> int:
        """Above 0: it billed more."""
        return self.cost_micros - self.listed_micros

    @property
    def percent(self) -> Decimal | None:
        """Of what the list says, with one decimal; None where that is nothing."""
        if not self.listed_micros:
            return None
        return round(Decimal(100 * self.difference_micros) / self.listed_micros, 1)

    @property
    def reported(self) -> bool:
        """It is more than is left to chance."""
        apart = abs(self.difference_micros)
        return apart > MOST_MICROS or 100 * apart > MOST_PERCENT * self.listed_micros


def variances(conn: Connection, first: int, last: int) -> list[Variance]:
    """By day, provider and model, where the two differ at all; a provider of several models has a row of its
    day too.

    Args:
        conn: a connection.
        first: the first day (UTC), in days since 1970.
        last: the last day.
    """
    u = usage_day.c
    sums = [func.sum(column).label(column.name) for column in (u.jobs, u.cost_micros, u.listed_micros)]
    query = (
        select(u.day, u.provider, u.model, *sums)
        .where(u.day >= first, u.day <= last, or_(u.cost_micros != 0, u.listed_micros != 0))
        .group_by(u.day, u.provider, u.model)
        .order_by(u.day, u.provider, u.model)
    )
    rows = [
        Variance(
            day=row.day,
            provider=row.provider,
            model=row.model,
            jobs=int(row.jobs),
            cost_micros=int(row.cost_micros),
            listed_micros=int(row.listed_micros),
        )
        for row in conn.execute(query)
    ]
    return [one for one in _with_days(rows) if one.difference_micros]


def _with_days(rows: list[Variance]) -> Iterator[Variance]:
    for (day, provider), group in groupby(rows, key=lambda one: (one.day, one.provider)):
        models = list(group)
        yield from models
        if len(models) > 1:
            yield Variance(
                day=day,
                provider=provider,
                model=None,
                jobs=sum(one.jobs for one in models),
                cost_micros=sum(one.cost_micros for one in models),
                listed_micros=sum(one.listed_micros for one in models),
            )
