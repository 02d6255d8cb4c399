"""What pictures cost: pure arithmetic on the registry's prices, rounded per image.

An image's price is one amount of micro-dollars, and several images cost that many times as
much. So a quote for four and a charge for the three that were delivered always agree.
"""

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

from billing.money import to_micros, usd
from registry.prices import image_dollars, megapixels
from registry.schema import Price

__all__ = [
    "UNKNOWN_SIZE_CEILING",
    "UNKNOWN_SIZE_EXPECTED",
    "Quote",
    "charge",
    "quote",
]

UNKNOWN_SIZE_EXPECTED = (1024, 1024)
"""Pixels of an image whose size only the endpoint knows: one megapixel, as most make."""

UNKNOWN_SIZE_CEILING = (2048, 2048)
"""What is held for such an image: 4 megapixels, the largest picture that endpoints make without
being asked for one. A larger one is charged as this."""


class Quote(Struct, frozen=True, kw_only=True):
    """What a job should cost, and the most that it may."""

    price_micros: int
    """Expected, in micro-dollars."""
    ceiling_micros: int
    """What is held at admission; a charge never passes it."""
    unit: Literal["image", "megapixel", "gpu_second"]
    detail: str
    """For people: `"2 images x 1 MP x 0.03 USD"`."""


def quote(price: Price, *, width: int | None, height: int | None, num_images: int) -> Quote:
    """The quote for some images of one size.

    Args:
        price: what one image, megapixel or GPU second costs.
        width: pixels; None, with `height`, when only the endpoint knows. Such an image is
            expected to be of `UNKNOWN_SIZE_EXPECTED`, held for as `UNKNOWN_SIZE_CEILING`.
        height: pixels, or None.
        num_images: at least 1.

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
    unit, detail = _describe(price, expected)
    return Quote(
        price_micros=_image_micros(price, expected) * num_images,
        ceiling_micros=_image_micros(price, most) * num_images,
        unit=unit,
        detail=f"{num_images} image{'s' if num_images > 1 else ''} x {detail} USD",
    )


def charge(price: Price, delivered: Sequence[tuple[int, int]], *, ceiling_micros: int) -> int:
    """Micro-dollars for what was delivered, never above the ceiling; 0 for nothing.

    Args:
        price: the price that the job was quoted at.
        delivered: width and height, in pixels, of each image that was verified and stored.
        ceiling_micros: the quote's ceiling.

    Raises:
        ValueError: a side of no pixels.
    """
    return min(sum(_image_micros(price, size) for size in delivered), ceiling_micros)


def _check(size: tuple[int, int]) -> None:
    if min(size) < 1:
        raise ValueError(f"not the size of an image: {size[0]}x{size[1]}")


def _image_micros(price: Price, size: tuple[int, int]) -> int:
    _check(size)
    return to_micros(image_dollars(price, *size))


def _describe(price: Price, size: tuple[int, int]) -> tuple[Literal["image", "megapixel", "gpu_second"], str]:
    if price.per_megapixel is not None and price.first_megapixel is not None:
        more = megapixels(*size) - 1
        return "megapixel", f"({price.first_megapixel:f} + {more} MP x {price.per_megapixel:f})"
    if price.per_megapixel is not None:
        return "megapixel", f"{megapixels(*size)} MP x {price.per_megapixel:f}"
    if price.per_gpu_second is not None:
        return "gpu_second", f"{price.typical_seconds:f} GPU s x {price.per_gpu_second:f}"
    return "image", usd(_image_micros(price, size))
