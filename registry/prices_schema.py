"""The shapes of prices and costs, as they are written and as they are read."""

from decimal import Decimal
from typing import Literal

from msgspec import Struct

__all__ = ["CostRow", "Price", "Rate"]


def _one_rate(*rates: Decimal | None) -> None:
    given = [rate for rate in rates if rate is not None]
    if len(given) != 1:
        raise ValueError("give exactly one of per_image, per_megapixel, per_gpu_second")
    if not given[0].is_finite() or given[0] < 0:
        raise ValueError("a rate is a number of dollars, 0 or more")


class Rate(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is paid in place of the base rate when parameters have these values, in US dollars.

    Raises:
        ValueError: no condition, or not exactly one rate.
    """

    when: dict[str, str | bool | int]
    """By unified or native name, as they are sent: `{quality: high, size: 1024x1024}`. All of them."""
    per_image: Decimal | None = None
    per_megapixel: Decimal | None = None

    def __post_init__(self) -> None:
        if not self.when:
            raise ValueError("a rate says when it holds")
        _one_rate(self.per_image, self.per_megapixel)


class CostRow(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a route costs us, as written: in US dollars. With `typical_seconds` alone it is what a
    second of its pipeline's tier costs.
    """

    per_image: Decimal | None = None
    per_megapixel: Decimal | None = None
    """1 MP = 1,048,576 px, each image rounded up to a whole number of them (fal's rule)."""
    per_gpu_second: Decimal | None = None
    typical_seconds: Decimal | None = None
    """GPU seconds an image usually takes: what an estimate of a GPU cost stands on."""
    first_megapixel: Decimal | None = None
    """What the first one of an image costs, where that is more than each further one."""
    rates: tuple[Rate, ...] = ()
    """Other rates for values of parameters; the first that holds is taken."""
    round: Literal["up"] = "up"


class Price(CostRow, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A price or a cost in US dollars; exactly one of the three rates is set.

    Raises:
        ValueError: none or several rates, a negative rate or time, or a GPU rate without the
            seconds that an image usually takes.
    """

    def __post_init__(self) -> None:
        _one_rate(self.per_image, self.per_megapixel, self.per_gpu_second)
        first = self.first_megapixel
        if first is not None and (self.per_megapixel is None or not first.is_finite() or first < 0):
            raise ValueError("first_megapixel is a number of dollars, beside per_megapixel")
        if (self.per_gpu_second is None) != (self.typical_seconds is None):
            raise ValueError("per_gpu_second and typical_seconds go together")
        seconds = self.typical_seconds
        if seconds is not None and (not seconds.is_finite() or seconds <= 0):
            raise ValueError("typical_seconds is a number of seconds above 0")
