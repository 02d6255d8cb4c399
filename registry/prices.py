"""What one image costs at a size: the arithmetic under every price and every provider cost."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from msgspec.structs import replace

from registry.schema import Price

__all__ = ["MEGAPIXEL", "image_dollars", "megapixels", "price_for", "reduced"]

MEGAPIXEL = 1 << 20
"""Pixels in a megapixel as fal and litellm count them; with 1,000,000 a 1024x1024 image would
cost two. The provider's own count of units settles a doubt later."""


def megapixels(width: int, height: int) -> int:
    """Whole megapixels of one image, rounded up; never less than 1."""
    return max(1, -(-width * height // MEGAPIXEL))


def price_for(price: Price, effective: Mapping[str, Any]) -> Price:
    """The price without conditions that holds for a request.

    Args:
        price: as the registry has it.
        effective: what is sent, by unified or native name.
    """
    for rate in price.rates:
        if all(_same(effective.get(name), value) for name, value in rate.when.items()):
            return Price(per_image=rate.per_image, per_megapixel=rate.per_megapixel)
    return replace(price, rates=())


def reduced(price: Price, percent: int) -> Price:
    """A price without conditions, less so many percent; exact, and rounded like any other when it is charged.

    Args:
        price: of `price_for`.
        percent: 0 to 100.
    """
    rates = ("per_image", "per_megapixel", "first_megapixel", "per_gpu_second")
    given = {name: rate for name in rates if (rate := getattr(price, name)) is not None}
    return replace(price, **{name: rate * (100 - percent) / 100 for name, rate in given.items()})


def _same(sent: Any, value: str | bool | int) -> bool:
    """`4` and `"4"` are one value to a price; True and 1 are not."""
    return sent is not None and isinstance(sent, bool) == isinstance(value, bool) and str(sent) == str(value)


def image_dollars(price: Price, width: int, height: int) -> Decimal:
    """US dollars of one image of `width` x `height` pixels; a GPU price by its typical seconds."""
    if price.per_image is not None:
        return price.per_image
    if price.per_megapixel is not None:
        count = megapixels(width, height)
        first = price.per_megapixel if price.first_megapixel is None else price.first_megapixel
        return first + price.per_megapixel * (count - 1)
    if price.per_gpu_second is not None and price.typical_seconds is not None:
        return price.per_gpu_second * price.typical_seconds
    raise AssertionError("Price holds exactly one rate")
