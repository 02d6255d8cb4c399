"""Holds what a route is said to cost against what fal's pricing API says. Pure.

That API has one number and one unit for an endpoint. What a price depends on (resolution, quality, a first
megapixel) stands on fal's pages alone, so a number that is one of ours is taken as right.
"""

from decimal import Decimal

from msgspec import Struct

from providers.fal.findings import Finding, Level
from registry.prices_schema import UNITS as RATES
from registry.schema import Model, Price, Route

__all__ = ["SECONDS", "UNITS", "UnitPrice", "diff_price", "read_unit"]

UNITS = {
    "image": "per_image",
    "megapixel": "per_megapixel",
    "compute second": "per_compute_second",
    "gpu second": "per_gpu_second",
}
"""fal's units that the registry has a word for."""
SPELLINGS = {"mp": "megapixel", "processed megapixel": "megapixel"}
SECONDS = ("per_compute_second", "per_gpu_second")
"""The same to whoever pays fal."""
MICRO_DIGITS = Decimal("1e-9")


class UnitPrice(Struct, frozen=True, kw_only=True):
    """What fal bills an endpoint by."""

    amount: Decimal
    """Of `currency`, for one unit; with the discounts of the account that asks."""
    unit: str
    """In the singular: `image`, `megapixel`, `compute second`, or another of fal's."""
    currency: str = "USD"


def read_unit(text: str) -> str:
    """A unit in one spelling: fal writes `image` and `images`."""
    words = " ".join(text.lower().replace("_", " ").split())
    words = words[:-1] if words.endswith("s") else words
    return SPELLINGS.get(words, words)


def diff_price(model: Model, route: Route, price: UnitPrice | None) -> tuple[Finding, ...]:
    """What differs between a route's `provider_cost` and fal's price.

    Args:
        model: whose route it is.
        route: of fal.
        price: fal's; None when it names none.
    """
    found = _compare(route.provider_cost, price)
    if found is None:
        return ()
    level, code, message, todo = found
    return (
        Finding(level=level, code=code, model=model.id, endpoint=route.endpoint, message=message, todo=todo),
    )


def _compare(cost: Price, price: UnitPrice | None) -> tuple[Level, str, str, str] | None:
    if price is None:
        return (
            "note",
            "price_not_comparable",
            "fal names no price of it",
            "look on fal's page of the model whether provider_cost is right",
        )
    ours = _unit(cost)
    said = f"{price.amount:f} {price.currency} per {price.unit or 'unit'}"
    if price.currency == "USD" and cost.unit_price is not None and price.amount == cost.unit_price:
        return None
    if price.currency != "USD" or price.unit not in UNITS or cost.unit_price is not None:
        return (
            "note",
            "price_not_comparable",
            f"fal bills {said}, which cannot be compared with our {_shown(cost)}",
            "look on fal's page of the model whether provider_cost is right",
        )
    said_unit = UNITS[price.unit]
    if said_unit != ours and not (said_unit in SECONDS and ours in SECONDS):
        return (
            "breaks",
            "price_unit_changed",
            f"fal bills {said}, and provider_cost says {_shown(cost)}",
            f"write provider_cost with {said_unit}, and look at the price of the model",
        )
    base = cost.first_megapixel if cost.first_megapixel is not None else getattr(cost, ours)
    amount = price.amount.quantize(MICRO_DIGITS)
    if amount in (base, *_others(cost, ours)):
        return None
    if amount > base:
        return (
            "breaks",
            "price_raised",
            f"fal bills {said}, and provider_cost says {_shown(cost)}",
            "raise provider_cost, and look at its rates and at the price of the model",
        )
    return (
        "note",
        "price_lower",
        f"fal bills {said}, and provider_cost says {_shown(cost)}",
        "lower provider_cost, unless it is a discount of this account alone",
    )


def _others(cost: Price, unit: str) -> list[Decimal]:
    """The other amounts that a cost has of this unit."""
    listed = cost.table.rates() if cost.table is not None else ()
    named = [getattr(rate, unit, None) for rate in (*listed, *cost.rates)]
    return [amount for amount in (getattr(cost, unit), *named) if amount is not None]


def _unit(cost: Price) -> str:
    return next(unit for unit in RATES if getattr(cost, unit) is not None)


def _shown(cost: Price) -> str:
    unit = _unit(cost)
    first = f", the first {cost.first_megapixel}" if cost.first_megapixel is not None else ""
    rates = " (and by its rates)" if cost.conditional else ""
    unit_price = f", {cost.unit_price} for a unit of fal's" if cost.unit_price is not None else ""
    return f"{getattr(cost, unit)} USD {unit.replace('_', ' ')}{first}{rates}{unit_price}"
