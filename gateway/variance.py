"""What providers bill beside our list of their prices: for who asks, and in the log once a day."""

import logging
from datetime import UTC, date, timedelta
from decimal import Decimal
from functools import partial

from msgspec import Struct, field

from billing.money import usd
from billing.usage import day_of
from billing.variance import Variance, variances
from gateway.ambient import Ambient, moment
from gateway.db.engine import Database

__all__ = ["MOST_DAYS", "VarianceView", "VarianceWatch", "read_variance", "today"]

log = logging.getLogger(__name__)

MOST_DAYS = 366
MOST_TOLD = 20
"""Lines of the log a day."""
_EPOCH = date(1970, 1, 1)


class VarianceRow(Struct, frozen=True, kw_only=True, rename="camel"):
    """A day of a provider's model."""

    day: str
    """2026-01-31 (UTC)"""
    provider: str
    model: str | None
    """Null: all of the provider's that day, where it has several."""
    jobs: int
    cost_micros: int
    """What was billed."""
    listed_micros: int
    """What should have been, by our list of the provider's prices."""
    difference_micros: int
    percent: Decimal | None
    """Of what the list says; null where that is nothing."""
    reported: bool
    """It is more than 5 %, or more than a dollar."""


class VarianceTotal(Struct, frozen=True, kw_only=True, rename="camel"):
    """All rows of models."""

    jobs: int
    cost_micros: int
    listed_micros: int
    difference_micros: int
    reported: int
    """Rows."""


class VarianceView(Struct, frozen=True, kw_only=True, rename="camel"):
    """What was billed beside what the list says, where the two differ."""

    first: str = field(name="from")
    to: str
    total: VarianceTotal
    rows: tuple[VarianceRow, ...]


def today(ambient: Ambient) -> date:
    """The day that it is (UTC)."""
    return moment(ambient.now_ms()).astimezone(UTC).date()


async def read_variance(db: Database, first: date, last: date) -> VarianceView:
    """What differs in some days.

    Args:
        db: has the usage.
        first: the first day (UTC).
        last: the last.
    """
    span = (first - _EPOCH).days, (last - _EPOCH).days
    rows = await db.read(partial(variances, first=span[0], last=span[1]))
    models = [one for one in rows if one.model is not None]
    return VarianceView(
        first=first.isoformat(),
        to=last.isoformat(),
        total=VarianceTotal(
            jobs=sum(one.jobs for one in models),
            cost_micros=sum(one.cost_micros for one in models),
            listed_micros=sum(one.listed_micros for one in models),
            difference_micros=sum(one.difference_micros for one in models),
            reported=sum(one.reported for one in rows),
        ),
        rows=tuple(map(_row, rows)),
    )


def _row(one: Variance) -> VarianceRow:
    return VarianceRow(
        day=_iso(one.day),
        provider=one.provider,
        model=one.model,
        jobs=one.jobs,
        cost_micros=one.cost_micros,
        listed_micros=one.listed_micros,
        difference_micros=one.difference_micros,
        percent=one.percent,
        reported=one.reported,
    )


def _iso(day: int) -> str:
    return (_EPOCH + timedelta(days=day)).isoformat()


class VarianceWatch:
    """Says in the log what of yesterday is reported: soon after midnight (UTC), and at a start.

    Args:
        db: has the usage.
        ambient: time.
    """

    def __init__(self, db: Database, ambient: Ambient) -> None:
        self._db = db
        self._ambient = ambient
        self._told: int | None = None

    async def look(self) -> bool:
        """Look at yesterday, once; True: it is done."""
        day = day_of(self._ambient.now_ms()) - 1
        if self._told != day:
            rows = [
                one for one in await self._db.read(partial(variances, first=day, last=day)) if one.reported
            ]
            for one in rows[:MOST_TOLD]:
                log.warning("%s", _said(one))
            if len(rows) > MOST_TOLD:
                log.warning("... and %d more: gateway billing variance", len(rows) - MOST_TOLD)
            self._told = day
        return True


def _said(one: Variance) -> str:
    """What a row says, and what to do next."""
    day = _iso(one.day)
    share = "" if one.percent is None else f", {one.percent:+f} %"
    what = one.model or "all its models"
    return (
        f"{one.provider} billed {usd(one.cost_micros)} USD for {what} on {day}, and our list of its prices "
        f"says {usd(one.listed_micros)} USD{share}. See whether provider_cost in the registry is right, and "
        f"what the bill says: gateway billing reconcile --provider {one.provider}"
    )
