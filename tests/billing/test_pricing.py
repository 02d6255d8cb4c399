"""Quotes and charges."""

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.pricing import charge, quote
from registry.prices import price_for, reduced
from registry.schema import Price


def price(**rates: str) -> Price:
    return Price(**{name: Decimal(rate) for name, rate in rates.items()})


IMAGE = price(per_image="0.04")
MEGAPIXEL = price(per_megapixel="0.03")
GPU = price(per_gpu_second="0.000306", typical_seconds="9.5")
FREE = price(per_image="0")


@pytest.mark.parametrize(
    ("rate", "size", "expected", "ceiling", "detail"),
    [
        (IMAGE, (4096, 4096), 80_000, 80_000, "2 images x 0.04 USD"),
        (IMAGE, (None, None), 80_000, 80_000, "2 images x 0.04 USD"),
        (MEGAPIXEL, (1024, 1024), 60_000, 60_000, "2 images x 1 MP x 0.03 USD"),
        (MEGAPIXEL, (1920, 1080), 120_000, 120_000, "2 images x 2 MP x 0.03 USD"),
        (MEGAPIXEL, (None, None), 60_000, 240_000, "2 images x 1 MP x 0.03 USD"),
        (GPU, (512, 512), 5_814, 5_814, "2 images x 9.5 GPU s x 0.000306 USD"),
        (FREE, (512, 512), 0, 0, "2 images x 0.00 USD"),
    ],
)
def test_a_quote(
    rate: Price, size: tuple[int | None, int | None], expected: int, ceiling: int, detail: str
) -> None:
    made = quote(rate, width=size[0], height=size[1], num_images=2)
    assert (made.price_micros, made.ceiling_micros, made.detail) == (expected, ceiling, detail)


def test_a_quote_names_its_unit() -> None:
    units = [quote(p, width=64, height=64, num_images=1).unit for p in (IMAGE, MEGAPIXEL, GPU)]
    assert units == ["image", "megapixel", "gpu_second"]


@pytest.mark.parametrize(
    ("width", "height", "images"), [(64, 64, 0), (64, None, 1), (None, 64, 1), (0, 64, 1), (64, -1, 1)]
)
def test_a_quote_for_nothing_is_refused(width: int | None, height: int | None, images: int) -> None:
    with pytest.raises(ValueError, match=r"image|size"):
        quote(MEGAPIXEL, width=width, height=height, num_images=images)


def test_what_was_delivered_is_charged_up_to_the_ceiling() -> None:
    def total(*sizes: tuple[int, int]) -> int:
        return charge(MEGAPIXEL, sizes, ceiling_micros=100_000)

    assert total() == 0
    assert total((1024, 1024)) == 30_000
    assert total((1024, 1024), (1920, 1080)) == 90_000
    assert total((4096, 4096)) == 100_000


@given(
    rate=st.sampled_from([IMAGE, MEGAPIXEL, GPU, FREE, price(per_megapixel="0.0000014")]),
    size=st.tuples(st.integers(1, 5000), st.integers(1, 5000)),
    asked=st.integers(1, 8),
    delivered=st.integers(0, 8),
)
def test_charge_and_quote_agree(rate: Price, size: tuple[int, int], asked: int, delivered: int) -> None:
    made = quote(rate, width=size[0], height=size[1], num_images=asked)
    charged = charge(rate, [size] * delivered, ceiling_micros=made.ceiling_micros)
    assert charged * asked == made.price_micros * min(asked, delivered)


def test_an_image_of_no_pixels_has_no_price() -> None:
    with pytest.raises(ValueError, match="0x64"):
        charge(IMAGE, [(0, 64)], ceiling_micros=1)
    with pytest.raises(ValueError, match="64x0"):
        charge(IMAGE, [(64, 0)], ceiling_micros=1)


# -- a whole job's price, seconds, inputs -----------------------------------------------------

FLAT = price(flat="0.05")
SECONDS = price(per_compute_second="0.002", typical_seconds="3", max_seconds="8")
INPUTS = msgspec.convert(
    {"per_megapixel": "0.018", "first_megapixel": "0.036", "input_megapixels": True}, Price
)
PLAIN_INPUTS = msgspec.convert({"per_megapixel": "0.02", "input_megapixels": True}, Price)
BESIDES = msgspec.convert({"per_image": "0.18", "surcharges": [{"per_image": "0.018"}]}, Price)
MIXED = msgspec.convert({"flat": "0.05", "surcharges": [{"per_image": "0.01"}]}, Price)
SMALL, LARGE = (1024, 1024), (2048, 2048)


@pytest.mark.parametrize(
    ("rate", "inputs", "expected", "ceiling", "unit", "detail"),
    [
        (FLAT, [], 50_000, 50_000, "job", "0.05 USD a job"),
        (MIXED, [], 70_000, 70_000, "job", "0.05 USD a job + 0.01 USD an image"),
        (SECONDS, [], 12_000, 32_000, "compute_second", "2 images x 3 compute s x 0.002 USD"),
        (BESIDES, [], 396_000, 396_000, "image", "2 images x 0.198 USD"),
        (INPUTS, [], 72_000, 72_000, "megapixel", "2 images x (0.036 + 0 MP x 0.018) USD"),
        (INPUTS, [LARGE, SMALL], 252_000, 252_000, "megapixel", "2 images x (0.036 + 5 MP x 0.018) USD"),
        # An input that nobody has seen is expected to be of one megapixel, and held for as four.
        (INPUTS, [None], 108_000, 216_000, "megapixel", "2 images x (0.036 + 1 MP x 0.018) USD"),
        (PLAIN_INPUTS, [LARGE], 200_000, 200_000, "megapixel", "2 images x (1 + 4 of inputs) MP x 0.02 USD"),
        (MEGAPIXEL, [LARGE], 60_000, 60_000, "megapixel", "2 images x 1 MP x 0.03 USD"),
    ],
)
def test_a_quote_of_two(
    rate: Price,
    inputs: list[tuple[int, int] | None],
    expected: int,
    ceiling: int,
    unit: str,
    detail: str,
) -> None:
    made = quote(rate, width=1024, height=1024, num_images=2, inputs=inputs)
    assert (made.price_micros, made.ceiling_micros, made.unit, made.detail) == (
        expected,
        ceiling,
        unit,
        detail,
    )


def test_a_flat_price_is_due_once_if_any_picture_came() -> None:
    assert [charge(FLAT, [SMALL] * n, ceiling_micros=10**9) for n in range(4)] == [0, 50_000, 50_000, 50_000]
    assert [charge(MIXED, [SMALL] * n, ceiling_micros=10**9) for n in range(3)] == [0, 60_000, 70_000]


def test_what_ran_is_charged_by_the_second_up_to_the_ceiling() -> None:
    def total(seconds: str | None, count: int = 2) -> int:
        ran = None if seconds is None else Decimal(seconds)
        return charge(SECONDS, [SMALL] * count, ceiling_micros=32_000, seconds=ran)

    assert [total(seconds) for seconds in ("0", "1.5", "16", "99", None)] == [
        0,
        3_000,
        32_000,
        32_000,
        12_000,
    ]
    assert total("5", 0) == 0


def test_seconds_are_of_prices_by_the_second_alone() -> None:
    assert charge(MEGAPIXEL, [SMALL], ceiling_micros=10**9, seconds=Decimal(99)) == 30_000


def test_inputs_are_charged_with_each_picture_that_came() -> None:
    charged = [
        charge(INPUTS, [SMALL] * count, ceiling_micros=10**9, inputs=[LARGE, SMALL]) for count in range(3)
    ]
    assert charged == [0, 126_000, 252_000]


def test_an_input_of_no_pixels_has_no_price() -> None:
    with pytest.raises(ValueError, match="0x5"):
        quote(INPUTS, width=64, height=64, num_images=1, inputs=[(0, 5)])


RATE = st.decimals("0", "5", places=4)
EDGE = st.integers(1, 5000)
SIZE = st.tuples(EDGE, EDGE)
PER_IMAGE = st.one_of(
    st.builds(lambda r: price(per_image=r), RATE.map(str)),
    st.builds(lambda r: price(per_megapixel=r), RATE.map(str)),
    st.builds(lambda r, f: price(per_megapixel=r, first_megapixel=f), RATE.map(str), RATE.map(str)),
    st.builds(
        lambda r: msgspec.convert({"per_megapixel": r, "input_megapixels": True}, Price), RATE.map(str)
    ),
    st.builds(
        lambda r, s: msgspec.convert({"per_image": r, "surcharges": [{"per_image": s}]}, Price),
        RATE.map(str),
        RATE.map(str),
    ),
)
ANY = st.one_of(
    PER_IMAGE,
    st.builds(lambda r: price(flat=r), RATE.map(str)),
    st.builds(
        lambda r, t, m: price(per_gpu_second=r, typical_seconds=str(t), max_seconds=str(t + m)),
        RATE.map(str),
        st.integers(1, 50),
        st.integers(0, 50),
    ),
)


@given(rate=ANY, sizes=st.lists(SIZE, max_size=8), inputs=st.lists(st.none() | SIZE, max_size=3), asked=SIZE,
       seconds=st.none() | st.decimals("0", "9999", places=3))  # fmt: skip
def test_a_charge_never_passes_its_quote(
    rate: Price, sizes: Any, inputs: Any, asked: tuple[int, int], seconds: Decimal | None
) -> None:
    made = quote(rate, width=asked[0], height=asked[1], num_images=max(1, len(sizes)), inputs=inputs)
    charged = charge(rate, sizes, ceiling_micros=made.ceiling_micros, inputs=inputs, seconds=seconds)
    assert 0 <= charged <= made.ceiling_micros
    assert made.price_micros <= made.ceiling_micros
    if not sizes:
        assert charged == 0
    elif seconds is None and all(size == asked for size in sizes):
        assert charged == made.price_micros


@given(rate=PER_IMAGE, sizes=st.lists(SIZE, min_size=1, max_size=8), inputs=st.lists(SIZE, max_size=3))
def test_a_charge_is_the_sum_over_its_pictures(rate: Price, sizes: Any, inputs: Any) -> None:
    def total(some: Any) -> int:
        return charge(rate, some, ceiling_micros=10**15, inputs=inputs)

    assert total(sizes) == sum(total([size]) for size in sizes)


@given(rate=ANY, size=SIZE, wider=st.integers(0, 5000), higher=st.integers(0, 5000), count=st.integers(1, 8),
       inputs=st.lists(SIZE, max_size=3), more=SIZE)  # fmt: skip
def test_more_is_never_cheaper(
    rate: Price, size: tuple[int, int], wider: int, higher: int, count: int, inputs: Any, more: Any
) -> None:
    def priced(size: tuple[int, int], count: int, inputs: Any) -> int:
        return quote(rate, width=size[0], height=size[1], num_images=count, inputs=inputs).price_micros

    here = priced(size, count, inputs)
    assert priced((size[0] + wider, size[1] + higher), count, inputs) >= here
    assert priced(size, count + 1, inputs) >= here
    assert priced(size, count, [*inputs, more]) >= here


@given(rate=ANY, percent=st.integers(0, 100), size=SIZE, count=st.integers(1, 8))
def test_less_some_percent_is_never_dearer(
    rate: Price, percent: int, size: tuple[int, int], count: int
) -> None:
    full, less = (
        quote(one, width=size[0], height=size[1], num_images=count) for one in (rate, reduced(rate, percent))
    )
    assert less.price_micros <= full.price_micros
    assert less.ceiling_micros <= full.ceiling_micros
    # Rounded once for each picture, and once for what is of the whole job.
    exact = Decimal(full.price_micros) * (100 - percent) / 100
    assert abs(less.price_micros - exact) <= count + 1


def test_a_price_with_conditions_is_resolved_before_it_is_quoted() -> None:
    written = msgspec.convert(
        {"per_image": "0.1", "multipliers": [{"when": {"resolution": "4K"}, "factor": "2"}]}, Price
    )
    made = quote(price_for(written, {"resolution": "4K"}), width=64, height=64, num_images=3)
    assert made.price_micros == 600_000
