"""What an image costs at a size."""

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from registry.load import load_registry
from registry.prices import (
    MEGAPIXEL,
    billed_unit,
    call_dollars,
    image_dollars,
    input_dollars,
    megapixels,
    price_for,
    reduced,
    scaled,
)
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
        ({"per_compute_second": "0.00125", "typical_seconds": "3"}, (64, 64), "0.00375"),
        ({"flat": "0.5"}, (64, 64), "0"),
        ({"flat": "0.5", "surcharges": [{"per_image": "0.01"}]}, (64, 64), "0.01"),
        (
            {"per_image": "0.05", "surcharges": [{"per_image": "0.01"}, {"per_image": "0.002"}]},
            (64, 64),
            "0.062",
        ),
        ({"per_megapixel": "0.03", "surcharges": [{"per_image": "0.01"}]}, (2048, 1024), "0.07"),
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
        {"flat": "1", "per_image": "1"},
        {"flat": "-1"},
        {"per_compute_second": "1"},
        {"per_compute_second": "1", "per_gpu_second": "1", "typical_seconds": "1"},
        {"per_image": "1", "max_seconds": "9"},
        {"per_gpu_second": "1", "typical_seconds": "3", "max_seconds": "2"},
        {"per_gpu_second": "1", "typical_seconds": "3", "max_seconds": "NaN"},
        {"per_gpu_second": "1", "typical_seconds": "3", "rates": [{"when": {"a": 1}, "per_image": "1"}]},
        {"per_image": "1", "input_megapixels": True},
        {"per_image": "1", "input_megapixels": "yes"},
        {"per_image": "1", "unit_price": "-1"},
        {"per_image": "1", "multipliers": [{"when": {}, "factor": "2"}]},
        {"per_image": "1", "multipliers": [{"when": {"a": 1}, "factor": "0"}]},
        {"per_image": "1", "multipliers": [{"when": {"a": 1}, "factor": "Infinity"}]},
        {"per_image": "1", "multipliers": [{"when": {"a": 1}}]},
        {"per_image": "1", "multipliers": [{"when": {"a": 1}, "factor": "2", "per_image": "1"}]},
        {"per_image": "1", "surcharges": [{"when": {"a": 1}}]},
        {"per_image": "1", "surcharges": [{"per_image": "-1"}]},
        {"per_image": "1", "surcharges": [{"per_megapixel": "1"}]},
        {"per_image": "1", "table": {"by": [], "per_image": {"a": "1"}}},
        {"per_image": "1", "table": {"by": ["a", "a"], "per_image": {"x": {"x": "1"}}}},
        {"per_image": "1", "table": {"by": ["a", "b", "c"], "per_image": {"x": {"x": "1"}}}},
        {"per_image": "1", "table": {"by": ["a"]}},
        {"per_image": "1", "table": {"by": ["a"], "per_image": {}}},
        {"per_image": "1", "table": {"by": ["a"], "per_image": {"x": "1"}, "per_megapixel": {"x": "1"}}},
        {"per_image": "1", "table": {"by": ["a"], "per_image": {"x": {"y": "1"}}}},
        {"per_image": "1", "table": {"by": ["a", "b"], "per_image": {"x": "1"}}},
        {"per_image": "1", "table": {"by": ["a"], "per_image": {"x": "-1"}}},
        {"per_image": "1", "table": {"by": ["a"], "per_image": {"x": "cheap"}}},
        {"per_image": "1", "table": {"by": ["a"], "per_image": {"x": "1"}, "else": "1"}},
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


# -- tables, multipliers, surcharges ----------------------------------------------------------

EVERYTHING = msgspec.convert(
    {
        "per_image": "0.2",
        "table": {
            "by": ["quality", "size"],
            "per_image": {"low": {"1024x1024": "0.01"}, "high": {"1024x1024": "0.1"}},
        },
        "rates": [{"when": {"quality": "low"}, "per_megapixel": "0.03"}],
        "multipliers": [
            {"when": {"resolution": "4K"}, "factor": "2"},
            {"when": {"vector": True}, "factor": "1.5"},
        ],
        "surcharges": [{"when": {"search": True}, "per_image": "0.015"}, {"per_image": "0.001"}],
    },
    Price,
)


@pytest.mark.parametrize(
    ("sent", "dollars"),
    [
        ({}, "0.201"),
        ({"quality": "low", "size": "1024x1024"}, "0.011"),
        ({"quality": "high", "size": "1024x1024"}, "0.101"),
        # Not in the table: the first rate that holds, else the base rate.
        ({"quality": "low", "size": "2048x1024"}, "0.061"),
        ({"quality": "high", "size": "2048x1024"}, "0.201"),
        ({"quality": "high"}, "0.201"),
        # All multipliers, then all surcharges.
        ({"resolution": "4K"}, "0.401"),
        ({"resolution": "4K", "vector": True}, "0.601"),
        ({"resolution": "4K", "vector": True, "search": True}, "0.616"),
        ({"quality": "low", "size": "2048x1024", "resolution": "4K", "search": True}, "0.136"),
    ],
)
def test_the_table_then_rates_then_multipliers_then_surcharges(sent: dict[str, Any], dollars: str) -> None:
    price = price_for(EVERYTHING, sent)
    assert not price.conditional
    assert image_dollars(price, 2048, 1024) == Decimal(dollars)
    # What holds once, holds whatever is asked of it afterwards.
    assert price_for(price, {"resolution": "4K", "quality": "low", "search": True}) == price


def test_a_table_by_one_word() -> None:
    price = msgspec.convert(
        {"per_image": "1", "table": {"by": ["n"], "per_megapixel": {"2": "0.1", "3": "0.2"}}}, Price
    )
    found = [image_dollars(price_for(price, sent), 2048, 1024) for sent in ({"n": 2}, {"n": "3"}, {"n": 4})]
    assert found == [Decimal("0.2"), Decimal("0.4"), Decimal(1)]


@pytest.mark.parametrize("sent", [{}, {"quality": "low"}, {"resolution": "4K", "search": True}])
def test_to_scale_a_price_is_to_scale_what_it_comes_to(sent: dict[str, Any]) -> None:
    for factor in (Decimal("1.5"), Decimal("0.9"), Decimal(3)):
        whole = image_dollars(price_for(scaled(EVERYTHING, factor), sent), 2048, 1024)
        assert whole == image_dollars(price_for(EVERYTHING, sent), 2048, 1024) * factor
    assert reduced(EVERYTHING, 10) == scaled(EVERYTHING, Decimal("0.9"))


def test_a_scaled_amount_is_written_as_people_write_it() -> None:
    assert [
        str(scaled(Price(per_image=Decimal(text)), Decimal("0.8")).per_image) for text in ("0.05", "125")
    ] == [
        "0.04",
        "100",
    ]


# The prices of 2026-11, as eight and three rates: tables of multipliers and surcharges come to the same.
AS_RATES = {
    ("nano-banana-2", "0.5K"): ("0.06", "0.075", "0.072", "0.09"),
    ("nano-banana-2", "1K"): ("0.08", "0.095", "0.096", "0.114"),
    ("nano-banana-2", "2K"): ("0.12", "0.135", "0.144", "0.162"),
    ("nano-banana-2", "4K"): ("0.16", "0.175", "0.192", "0.21"),
    ("nano-banana-pro", "1K"): ("0.15", "0.165", "0.18", "0.198"),
    ("nano-banana-pro", "2K"): ("0.15", "0.165", "0.18", "0.198"),
    ("nano-banana-pro", "4K"): ("0.30", "0.315", "0.36", "0.378"),
}


@pytest.mark.parametrize(("model", "resolution"), AS_RATES)
def test_nano_banana_costs_what_it_did(model: str, resolution: str) -> None:
    found = load_registry().models[model]
    plain = {"resolution": resolution, "enable_web_search": False}
    search = {"resolution": resolution, "enable_web_search": True}
    for route in found.routes:
        dollars = [
            image_dollars(price_for(price, sent), 1024, 1024)
            for price in (route.provider_cost, found.price)
            for sent in (plain, search)
        ]
        assert dollars == [Decimal(text) for text in AS_RATES[model, resolution]]


# -- inputs, calls, units ---------------------------------------------------------------------

INPUTS = Price(per_megapixel=Decimal("0.015"), first_megapixel=Decimal("0.03"), input_megapixels=True)


def test_each_input_is_rounded_up_and_counts_as_further_megapixels() -> None:
    assert input_dollars(INPUTS, []) == 0
    assert input_dollars(INPUTS, [(512, 512), (1025, 1024), (2048, 2048)]) == Decimal("0.015") * 7
    assert input_dollars(Price(per_megapixel=Decimal("0.015")), [(512, 512)]) == 0


def test_a_rate_by_the_megapixel_keeps_that_inputs_count() -> None:
    rates = (
        Rate(when={"fast": True}, per_megapixel=Decimal("0.01")),
        Rate(when={"fast": False}, per_image=Decimal("0.2")),
    )
    price = msgspec.structs.replace(INPUTS, rates=rates)
    assert input_dollars(price_for(price, {"fast": True}), [(1024, 1024)]) == Decimal("0.01")
    assert input_dollars(price_for(price, {"fast": False}), [(1024, 1024)]) == 0


@pytest.mark.parametrize(
    ("row", "dollars"),
    [
        ({"flat": "0.5"}, "0.5"),
        ({"flat": "0.5", "surcharges": [{"per_image": "0.1"}]}, "0.7"),
        ({"per_image": "0.1"}, "0.2"),
        ({"per_megapixel": "0.1"}, "0.3"),
        # The inputs of a call count once, whatever it makes of them.
        ({"per_megapixel": "0.1", "input_megapixels": True}, "0.7"),
        ({"per_gpu_second": "0.1", "typical_seconds": "3"}, "0.6"),
    ],
)
def test_a_call_costs(row: dict[str, Any], dollars: str) -> None:
    cost = msgspec.convert(row, Price)
    assert call_dollars(cost, [(1024, 1024), (1025, 1024)], [(2048, 2048)]) == Decimal(dollars)
    assert call_dollars(cost, [], [(2048, 2048)]) == 0


@pytest.mark.parametrize(
    ("row", "dollars"),
    [
        ({"per_image": "0.15", "multipliers": [{"when": {"a": 1}, "factor": "2"}]}, "0.15"),
        ({"per_megapixel": "0.025"}, "0.025"),
        ({"per_compute_second": "0.00125", "typical_seconds": "3"}, "0.00125"),
        ({"flat": "0.5"}, "0.5"),
        ({"per_image": "0.2", "unit_price": "1"}, "1"),
        ({"per_megapixel": "0.015", "first_megapixel": "0.03"}, None),
        ({"per_megapixel": "0.015", "first_megapixel": "0.03", "unit_price": "0.03"}, "0.03"),
    ],
)
def test_what_a_unit_of_the_provider_costs(row: dict[str, Any], dollars: str | None) -> None:
    assert billed_unit(msgspec.convert(row, Price)) == (None if dollars is None else Decimal(dollars))


def test_what_a_price_does_not_have_is_not_stored() -> None:
    encoder = msgspec.json.Encoder(decimal_format="string")
    assert encoder.encode(Price(per_image=Decimal("0.03"))) == b'{"per_image":"0.03"}'
    for price in (EVERYTHING, INPUTS):
        assert msgspec.json.decode(encoder.encode(price), type=Price) == price
