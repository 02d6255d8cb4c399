"""What pictures cost: pure arithmetic on the registry's prices, rounded per image.

An image's price is one amount of micro-dollars, and several images cost that many times as
much. So a quote for four and a charge for the three that were delivered always agree. Two kinds of price
are of a whole job: a flat one is due once, and one by the second for the seconds that it ran.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Literal

from msgspec import Struct

from billing.money import to_micros, usd
from registry.prices import Size, image_dollars, input_dollars, megapixels
from registry.schema import Price

__all__ = [
    "UNKNOWN_SIZE_CEILING",
    "UNKNOWN_SIZE_EXPECTED",
    "Quote",
    "Unit",
    "charge",
    "expected_inputs",
    "quote",
]

UNKNOWN_SIZE_EXPECTED: Size = (1024, 1024)
"""Pixels of an image whose size is not known yet: one megapixel, as most make."""

UNKNOWN_SIZE_CEILING: Size = (2048, 2048)
"""What is held for such an image: 4 megapixels, the largest picture that endpoints make without
being asked for one. A larger one is charged as this."""

Unit = Literal["image", "megapixel", "gpu_second", "compute_second", "job"]
"""What a price is by."""


class Quote(Struct, frozen=True, kw_only=True):
    """What a job should cost, and the most that it may."""

    price_micros: int
    """Expected, in micro-dollars."""
    ceiling_micros: int
    """What is held at admission; a charge never passes it."""
    unit: Unit
    detail: str
    """For people: `"2 images x 1 MP x 0.03 USD"`."""


def expected_inputs(inputs: Sequence[Size | None]) -> list[Size]:
    """The sizes of input pictures, those that nobody has seen yet as they are expected."""
    return [size or UNKNOWN_SIZE_EXPECTED for size in inputs]


def quote(
    price: Price,
    *,
    width: int | None,
    height: int | None,
    num_images: int,
    inputs: Sequence[Size | None] = (),
) -> Quote:
    """The quote for some images of one size.

    Args:
        price: what one image, megapixel, second or job costs.
        width: pixels; None, with `height`, when only the endpoint knows. Such an image is
            expected to be of `UNKNOWN_SIZE_EXPECTED`, held for as `UNKNOWN_SIZE_CEILING`.
        height: pixels, or None.
        num_images: at least 1.
        inputs: the size of each input picture, for a price that counts them; None, as above, of one that
            nobody has seen yet.

    Raises:
        ValueError: no image, half a size, or a side of no pixels.
    """
    if num_images < 1:
        raise ValueError("a quote is for at least one image")
    if (width is None) != (height is None):
        raise ValueError("a size is a width and a height")
    if width is None or height is None:
        expected, most = UNKNOWN_SIZE_EXPECTED, UNKNOWN_SIZE_CEILING
    else:
        expected = most = (width, height)
    known = expected_inputs(inputs)
    largest = [size or UNKNOWN_SIZE_CEILING for size in inputs]
    flat = to_micros(price.flat or Decimal(0))
    unit, detail = _describe(price, expected, known)
    return Quote(
        price_micros=flat + _image_micros(price, expected, known) * num_images,
        ceiling_micros=flat + _image_micros(price, most, largest, price.max_seconds) * num_images,
        unit=unit,
        detail=detail if unit == "job" else f"{num_images} image{'s' if num_images > 1 else ''} x {detail}",
    )


def charge(
    price: Price,
    delivered: Sequence[Size],
    *,
    ceiling_micros: int,
    inputs: Sequence[Size | None] = (),
    seconds: Decimal | None = None,
) -> int:
    """Micro-dollars for what was delivered, never above the ceiling; 0 for nothing.

    Args:
        price: the price that the job was quoted at.
        delivered: width and height, in pixels, of each image that was verified and stored.
        ceiling_micros: the quote's ceiling.
        inputs: as of the quote.
        seconds: what all of these images took, for a price by the second; the typical ones when not known.

    Raises:
        ValueError: a side of no pixels.
    """
    if not delivered:
        return 0
    if price.per_second is not None and seconds is not None:
        besides = sum(_image_micros(price, size, [], Decimal(0)) for size in delivered)
        return min(to_micros(price.per_second * seconds) + besides, ceiling_micros)
    known = expected_inputs(inputs)
    images = sum(_image_micros(price, size, known) for size in delivered)
    return min(to_micros(price.flat or Decimal(0)) + images, ceiling_micros)


def _check(size: Size) -> None:
    if min(size) < 1:
        raise ValueError(f"not the size of an image: {size[0]}x{size[1]}")


def _image_micros(price: Price, size: Size, inputs: Sequence[Size], seconds: Decimal | None = None) -> int:
    for one in (size, *inputs):
        _check(one)
    return to_micros(image_dollars(price, *size, seconds=seconds) + input_dollars(price, inputs))


def _describe(price: Price, size: Size, inputs: Sequence[Size]) -> tuple[Unit, str]:
    """What a price is by, and what one image of it comes to, in words."""
    besides = sum((one.per_image for one in price.surcharges), Decimal(0))
    more = f" + {besides:f}" if besides else ""
    if price.flat is not None:
        return "job", f"{price.flat:f} USD a job" + (f" + {besides:f} USD an image" if besides else "")
    if price.per_megapixel is not None:
        return "megapixel", f"{_in_megapixels(price, size, inputs)}{more} USD"
    if price.per_second is not None:
        gpu = price.per_gpu_second is not None
        what = f"{price.typical_seconds:f} {'GPU' if gpu else 'compute'} s x {price.per_second:f}"
        return "gpu_second" if gpu else "compute_second", f"{what}{more} USD"
    return "image", f"{usd(_image_micros(price, size, []))} USD"


def _in_megapixels(price: Price, size: Size, inputs: Sequence[Size]) -> str:
    count = megapixels(*size)
    taken = sum(megapixels(*one) for one in inputs) if price.input_megapixels else 0
    if price.first_megapixel is not None:
        return f"({price.first_megapixel:f} + {count - 1 + taken} MP x {price.per_megapixel:f})"
    if taken:
        return f"({count} + {taken} of inputs) MP x {price.per_megapixel:f}"
    return f"{count} MP x {price.per_megapixel:f}"
