"""What one image costs at a size: the arithmetic under every price and every provider cost."""

from decimal import Decimal

from registry.schema import Price

__all__ = ["MEGAPIXEL", "image_dollars", "megapixels"]

MEGAPIXEL = 1 << 20
"""Pixels in a megapixel as fal and litellm count them; with 1,000,000 a 1024x1024 image would
cost two. The provider's own count of units settles a doubt later."""


def megapixels(width: int, height: int) -> int:
    """Whole megapixels of one image, rounded up; never less than 1."""
    return max(1, -(-width * height // MEGAPIXEL))


def image_dollars(price: Price, width: int, height: int) -> Decimal:
    """US dollars of one image of `width` x `height` pixels; a GPU price by its typical seconds."""
    if price.per_image is not None:
        return price.per_image
    if price.per_megapixel is not None:
        return price.per_megapixel * megapixels(width, height)
    if price.per_gpu_second is not None and price.typical_seconds is not None:
        return price.per_gpu_second * price.typical_seconds
    raise AssertionError("Price holds exactly one rate")
