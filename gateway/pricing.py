"""What a call has cost us, and how long it ran: billing's arithmetic on what its provider says."""

from collections.abc import Iterable, Sequence
from decimal import Decimal

from msgspec import Struct

from billing.money import to_micros
from gateway.planning import Candidate
from providers.base import Succeeded
from registry.prices import Size
from registry.schema import Price

__all__ = ["ActualCost", "actual_cost", "charged_seconds", "ran_seconds"]

MOST_UNITS = 40
"""Characters of a count of units that are kept."""


class ActualCost(Struct, frozen=True, kw_only=True):
    """What a provider bills for one call."""

    cost_micros: int
    """By its own count where it gives one, else by the seconds that it ran, else by our list."""
    listed_micros: int
    """By our list of its prices, of what was delivered."""
    billable_units: str | None = None
    """Its own count, a decimal as text."""


def actual_cost(candidate: Candidate, done: Succeeded, sizes: Sequence[Size]) -> ActualCost:
    """What a provider bills for a call.

    Args:
        candidate: that served.
        done: what the provider says.
        sizes: of the pictures that came.
    """
    cost, units = candidate.route.provider_cost, _units(done)
    listed = candidate.call_dollars([sizes])
    dollars = listed
    if units is not None and candidate.unit_price is not None:
        dollars = units * candidate.unit_price
    elif cost.per_second is not None and done.run_seconds is not None:
        dollars = cost.per_second * _measured(done.run_seconds, done.load_seconds)
    return ActualCost(
        cost_micros=to_micros(dollars),
        listed_micros=to_micros(listed),
        billable_units=_kept(done.billable_units),
    )


def ran_seconds(
    candidate: Candidate,
    *,
    run_seconds: float | str | None,
    load_seconds: float | str | None,
    billable_units: str | None,
) -> Decimal | None:
    """The seconds that a call is charged for, by a price by the second; None when nobody knows.

    The provider's own count where that is of seconds, else what it ran and loaded.
    """
    cost = candidate.route.provider_cost
    if billable_units is not None and cost.per_second is not None and candidate.unit_price == cost.per_second:
        return Decimal(billable_units)
    return None if run_seconds is None else _measured(run_seconds, load_seconds)


def charged_seconds(price: Price, calls: Iterable[tuple[int, Decimal | None]]) -> Decimal | None:
    """The seconds that a job is charged for; None where its price is not by the second.

    Args:
        price: of the candidate that served.
        calls: of each, how many pictures came and what they took; where nobody knows, the typical seconds.
    """
    typical = price.typical_seconds
    if price.per_second is None or typical is None:
        return None
    return sum((typical * images if took is None else took for images, took in calls if images), Decimal(0))


def _measured(run: float | str, load: float | str | None) -> Decimal:
    return Decimal(str(run)) + Decimal(str(load or 0))


def _kept(units: str | None) -> str | None:
    return units if units is None or len(units) <= MOST_UNITS else f"{Decimal(units):.6f}"


def _units(done: Succeeded) -> Decimal | None:
    return None if done.billable_units is None else Decimal(done.billable_units)
