"""A price of fal's is compared where the registry has a word for its unit, and said not to be elsewhere."""

from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace
from support.loopback_fal_platform import PRICES

from providers.fal.findings import CODES, Finding
from providers.fal.live_check import fal_routes
from providers.fal.price_diff import UnitPrice, diff_price, read_unit
from registry.load import load_registry
from registry.schema import Price, Rate, Table

SHIPPED = load_registry()
MODEL, ROUTE = next(both for both in fal_routes(SHIPPED) if both[1].endpoint == "fal-ai/flux/dev")
RATES = (Rate(when={"quality": "low"}, per_image=Decimal("0.03")),)
BY_MEGAPIXEL = {"per_megapixel": Decimal("0.025")}
BY_IMAGE = {"per_image": Decimal("0.06")}
BY_SECOND = {"per_gpu_second": Decimal("0.00125"), "typical_seconds": Decimal(3)}
BY_COMPUTE_SECOND = {"per_compute_second": Decimal("0.00125"), "typical_seconds": Decimal(3)}
IN_DOLLARS = BY_IMAGE | {"unit_price": Decimal(1)}
TABLE = Table(by=("quality",), per_image={"low": Decimal("0.02")})
FIRST = {"per_megapixel": Decimal("0.015"), "first_megapixel": Decimal("0.03")}


def diff(cost: dict[str, Any], amount: str, unit: str, currency: str = "USD") -> list[str]:
    """The codes of what is found."""
    route = replace(ROUTE, provider_cost=Price(**cost))
    price = UnitPrice(amount=Decimal(amount), unit=read_unit(unit), currency=currency)
    return [finding.code for finding in diff_price(MODEL, route, price)]


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("image", "image"),
        ("images", "image"),
        ("Images", "image"),
        ("megapixels", "megapixel"),
        ("processed megapixels", "megapixel"),
        ("MP", "megapixel"),
        ("compute seconds", "compute second"),
        ("compute_second", "compute second"),
        ("1m tokens", "1m token"),
        ("", ""),
    ],
)
def test_a_unit_has_one_spelling(text, unit) -> None:
    assert read_unit(text) == unit


@pytest.mark.parametrize(
    ("cost", "amount", "unit", "expected"),
    [
        (BY_MEGAPIXEL, "0.025", "megapixels", []),
        (BY_MEGAPIXEL, "0.0250", "megapixel", []),
        (BY_MEGAPIXEL, "0.02500000000000000138", "megapixel", []),
        (BY_MEGAPIXEL, "0.0251", "megapixels", ["price_raised"]),
        (BY_MEGAPIXEL, "0.02", "megapixels", ["price_lower"]),
        (BY_MEGAPIXEL, "0.025", "images", ["price_unit_changed"]),
        (BY_IMAGE, "0.06", "megapixels", ["price_unit_changed"]),
        (BY_IMAGE, "0.06", "seconds", ["price_not_comparable"]),
        (BY_IMAGE, "1", "units", ["price_not_comparable"]),
        (BY_IMAGE, "0.06", "", ["price_not_comparable"]),
        (BY_SECOND, "0.00125", "compute seconds", []),
        (BY_SECOND, "0.0013", "compute seconds", ["price_raised"]),
        (BY_SECOND, "0.00125", "GPU seconds", []),
        (BY_COMPUTE_SECOND, "0.00125", "compute seconds", []),
        (BY_COMPUTE_SECOND, "0.00125", "GPU seconds", []),
        (BY_COMPUTE_SECOND, "0.0013", "compute seconds", ["price_raised"]),
        (BY_COMPUTE_SECOND, "0.06", "images", ["price_unit_changed"]),
        ({"flat": Decimal("0.06")}, "0.06", "images", ["price_unit_changed"]),
        (IN_DOLLARS, "1", "units", []),
        (IN_DOLLARS, "2", "units", ["price_not_comparable"]),
        (IN_DOLLARS, "0.06", "images", ["price_not_comparable"]),
        (FIRST, "0.03", "megapixels", []),
        (FIRST, "0.015", "megapixels", []),
        (FIRST, "0.031", "megapixels", ["price_raised"]),
        (BY_IMAGE | {"rates": RATES}, "0.03", "images", []),
        (BY_IMAGE | {"table": TABLE}, "0.02", "images", []),
        (BY_IMAGE | {"rates": RATES}, "0.061", "images", ["price_raised"]),
        (BY_IMAGE | {"rates": RATES}, "0.05", "images", ["price_lower"]),
    ],
)
def test_what_is_found(cost, amount, unit, expected) -> None:
    assert diff(cost, amount, unit) == expected


def test_another_currency_is_not_compared() -> None:
    assert diff(BY_MEGAPIXEL, "0.025", "megapixels", "EUR") == ["price_not_comparable"]


def test_no_price_is_a_note() -> None:
    (found,) = diff_price(MODEL, ROUTE, None)
    assert (found.level, found.code) == ("note", "price_not_comparable")


def test_the_message_has_both_amounts_and_what_to_do() -> None:
    (found,) = diff_price(MODEL, ROUTE, UnitPrice(amount=Decimal("0.05"), unit="megapixel"))
    assert found.message == "fal bills 0.05 USD per megapixel, and provider_cost says 0.025 USD per megapixel"
    assert "raise provider_cost" in found.todo


@pytest.mark.parametrize("endpoint", PRICES)
def test_the_shipped_costs_are_fals_prices(endpoint) -> None:
    amount, unit = PRICES[endpoint]
    price = UnitPrice(amount=Decimal(amount), unit=read_unit(unit))
    routes = [(model, route) for model, route in fal_routes(SHIPPED) if route.endpoint == endpoint]
    assert routes
    found = [finding for model, route in routes for finding in diff_price(model, route, price)]
    assert found == []


def test_a_finding_has_a_code_of_its_level() -> None:
    more = {"model": "m", "endpoint": "e", "message": "m", "todo": "t"}
    assert Finding(level=CODES["field_gone"], code="field_gone", **more).level == "breaks"
    for level, code in (("note", "field_gone"), ("breaks", "none")):
        with pytest.raises(ValueError, match=code):
            Finding(level=level, code=code, **more)
