"""Quotes and charges."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.pricing import charge, quote
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
