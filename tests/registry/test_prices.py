"""What an image costs at a size."""

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from registry.prices import MEGAPIXEL, image_dollars, megapixels, price_for, reduced
from registry.schema import Price, Rate


@pytest.mark.parametrize(
    ("width", "height", "count"),
    [
        (1, 1, 1),
        (512, 512, 1),
        (1024, 1024, 1),
        (1024, 1025, 2),
        (1448, 1448, 2),
        (2048, 2048, 4),
        (14142, 14142, 191),
    ],
)
def test_megapixels_round_up(width: int, height: int, count: int) -> None:
    assert megapixels(width, height) == count
    assert (count - 1) * MEGAPIXEL < width * height <= count * MEGAPIXEL


@pytest.mark.parametrize(
    ("row", "size", "dollars"),
    [
        ({"per_image": "0.05"}, (2048, 2048), "0.05"),
        ({"per_megapixel": "0.03"}, (1024, 768), "0.03"),
        ({"per_megapixel": "0.03"}, (1024, 1025), "0.06"),
        ({"per_gpu_second": "0.000542", "typical_seconds": "60"}, (64, 64), "0.032520"),
        ({"per_image": 0}, (64, 64), "0"),
        ({"per_image": 0.1}, (64, 64), "0.1"),
    ],
)
def test_an_image_costs(row: dict[str, str], size: tuple[int, int], dollars: str) -> None:
    assert image_dollars(msgspec.convert(row, Price), *size) == Decimal(dollars)


@pytest.mark.parametrize(
    "row",
    [
        {},
        {"per_image": "1", "per_gpu_second": "1", "typical_seconds": "1"},
        {"per_image": "-0.01"},
        {"per_image": "NaN"},
        {"per_image": "Infinity"},
        {"per_image": "1", "typical_seconds": "1"},
        {"per_gpu_second": "1"},
        {"per_gpu_second": "1", "typical_seconds": "0"},
        {"per_gpu_second": "1", "typical_seconds": "NaN"},
        {"per_image": True},
        {"per_image": "1", "round": "down"},
    ],
)
def test_what_is_no_price(row: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(row, Price)


RATES = Price(
    per_image=Decimal("0.2"),
    rates=(
        Rate(when={"quality": "low", "size": "1024x1024"}, per_image=Decimal("0.01")),
        Rate(when={"quality": "low"}, per_megapixel=Decimal("0.02")),
        Rate(when={"search": True}, per_image=Decimal("0.3")),
        Rate(when={"steps": 4}, per_image=Decimal("0.4")),
    ),
)


@pytest.mark.parametrize(
    ("sent", "dollars"),
    [
        ({}, "0.2"),
        ({"quality": "high"}, "0.2"),
        ({"quality": "low", "size": "1024x1024"}, "0.01"),
        ({"quality": "low", "size": "2048x1024"}, "0.04"),
        ({"search": True}, "0.3"),
        ({"search": False}, "0.2"),
        ({"search": 1}, "0.2"),
        ({"steps": 4}, "0.4"),
        ({"steps": "4"}, "0.4"),
    ],
)
def test_a_price_that_depends_on_what_is_sent(sent: dict[str, Any], dollars: str) -> None:
    price = price_for(RATES, sent)
    assert price.rates == ()
    assert image_dollars(price, 2048, 1024) == Decimal(dollars)


def test_the_first_megapixel_may_cost_more() -> None:
    price = Price(per_megapixel=Decimal("0.015"), first_megapixel=Decimal("0.03"))
    assert [image_dollars(price, edge, 1024) for edge in (512, 1024, 1025, 3072)] == [
        Decimal(dollars) for dollars in ("0.03", "0.03", "0.045", "0.06")
    ]


@pytest.mark.parametrize(
    ("row", "percent", "dollars"),
    [
        ({"per_image": "0.03"}, 20, "0.024"),
        ({"per_image": "0.03"}, 100, "0"),
        ({"per_megapixel": "0.01", "first_megapixel": "0.03"}, 50, "0.025"),
        ({"per_megapixel": "0.015"}, 1, "0.04455"),
        ({"per_gpu_second": "0.0005", "typical_seconds": "6"}, 10, "0.0027"),
    ],
)
def test_a_price_that_is_reduced(row: dict[str, str], percent: int, dollars: str) -> None:
    price = Price(**{name: Decimal(value) for name, value in row.items()})
    assert image_dollars(reduced(price, percent), 3072, 1024) == Decimal(dollars)
    assert reduced(price, 0) == price


@pytest.mark.parametrize(
    "row",
    [
        {"per_image": Decimal(1), "first_megapixel": Decimal(1)},
        {"per_megapixel": Decimal(1), "first_megapixel": Decimal("-1")},
        {"per_megapixel": Decimal(1), "first_megapixel": Decimal("NaN")},
    ],
)
def test_a_first_megapixel_of_nothing(row: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="first_megapixel"):
        Price(**row)


@pytest.mark.parametrize("row", [{"when": {}, "per_image": Decimal(1)}, {"when": {"a": 1}}])
def test_a_rate_that_is_none(row: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"when|exactly one"):
        Rate(**row)
