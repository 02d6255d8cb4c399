"""The shapes of prices and costs, as they are written and as they are read."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Literal

from msgspec import Struct

__all__ = ["UNITS", "CostRow", "Multiplier", "Price", "PriceList", "Rate", "Surcharge", "Table"]

UNITS = ("per_image", "per_megapixel", "per_gpu_second", "per_compute_second", "flat")
"""What is paid for: each price has exactly one of these."""

When = dict[str, str | bool | int]
"""Values of parameters by unified or native name, as they are sent: `{quality: high, size: 1024x1024}`. All
of them hold."""


def _one_of(names: tuple[str, ...], rates: Mapping[str, Decimal | None]) -> None:
    given = [rate for rate in rates.values() if rate is not None]
    if len(given) != 1:
        raise ValueError(f"give exactly one of {', '.join(names)}")
    _dollars("a rate", given[0])


def _dollars(what: str, amount: Decimal | None) -> None:
    if amount is not None and (not amount.is_finite() or amount < 0):
        raise ValueError(f"{what} is a number of dollars, 0 or more")


def _seconds(what: str, seconds: Decimal | None) -> None:
    if seconds is not None and (not seconds.is_finite() or seconds <= 0):
        raise ValueError(f"{what} is a number of seconds above 0")


class Rate(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is paid in place of the base rate when parameters have these values, in US dollars.

    Raises:
        ValueError: no condition, or not exactly one rate.
    """

    when: When
    per_image: Decimal | None = None
    per_megapixel: Decimal | None = None

    def __post_init__(self) -> None:
        if not self.when:
            raise ValueError("a rate says when it holds")
        _one_of(
            ("per_image", "per_megapixel"),
            {"per_image": self.per_image, "per_megapixel": self.per_megapixel},
        )


Cells = dict[str, Decimal | dict[str, Decimal]]
"""Amounts by the values of the first word or, in a table by two, by those of the first and of the second."""


class Table(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Rates by the values of one or two parameters, in US dollars.

    Raises:
        ValueError: not one or two different words, no amounts or of both units, another depth than
            there are words, or no amount of dollars.
    """

    by: tuple[str, ...]
    """The words, `[quality, size]`."""
    per_image: Cells | None = None
    """`{low: {1024x1024: "0.009"}}`."""
    per_megapixel: Cells | None = None

    def __post_init__(self) -> None:
        if len(set(self.by)) != len(self.by) or len(self.by) not in (1, 2):
            raise ValueError("a table is by one or two words")
        if (self.per_image is None) == (self.per_megapixel is None):
            raise ValueError("a table has exactly one of per_image, per_megapixel")
        if not self.rates():
            raise ValueError("a table has at least one amount")
        for rate in self.rates():
            _dollars("an amount of a table", rate.per_image)
            _dollars("an amount of a table", rate.per_megapixel)

    def rates(self) -> tuple[Rate, ...]:
        """The table's rows as rates, one for each amount."""
        found = []
        cells = self.per_image if self.per_image is not None else self.per_megapixel or {}
        for first, cell in cells.items():
            if isinstance(cell, dict) != (len(self.by) == 2):
                raise ValueError(f"a table by {' and '.join(self.by)} has amounts that deep")
            inner = cell if isinstance(cell, dict) else {None: cell}
            for second, amount in inner.items():
                when: When = {self.by[0]: first}
                if second is not None:
                    when[self.by[1]] = second
                found.append(
                    Rate(when=when, per_image=amount)
                    if self.per_image is not None
                    else Rate(when=when, per_megapixel=amount)
                )
        return tuple(found)


class Multiplier(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many times the rate is paid when parameters have these values.

    Raises:
        ValueError: no condition, or no factor above 0.
    """

    when: When
    factor: Decimal

    def __post_init__(self) -> None:
        if not self.when:
            raise ValueError("a multiplier says when it holds")
        if not self.factor.is_finite() or self.factor <= 0:
            raise ValueError("a factor is a number above 0")


class Surcharge(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is paid for a picture besides, in US dollars, when parameters have these values; no multiplier
    touches it.

    Raises:
        ValueError: no amount of dollars.
    """

    per_image: Decimal
    when: When = {}
    """Always, where it says nothing."""

    def __post_init__(self) -> None:
        _dollars("a surcharge", self.per_image)


# Defaults are left out of what is stored: a gateway of one version before reads a job's price that needs
# nothing new.
class CostRow(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a route costs us, as written: in US dollars. With `typical_seconds` alone it is what a
    second of its pipeline's tier costs.
    """

    flat: Decimal | None = None
    """Of a whole job, as a price; of one call of the endpoint, as a cost. However many pictures."""
    per_image: Decimal | None = None
    per_megapixel: Decimal | None = None
    """1 MP = 1,048,576 px, each image rounded up to a whole number of them (fal's rule)."""
    per_gpu_second: Decimal | None = None
    """Of the machine's time, loading included, as we are told it."""
    per_compute_second: Decimal | None = None
    """Of the provider's own count of seconds (fal's "compute seconds")."""
    typical_seconds: Decimal | None = None
    """Seconds an image usually takes: what an estimate of a price by the second stands on."""
    max_seconds: Decimal | None = None
    """Seconds an image is paid for at most: what is held. `typical_seconds` when not given."""
    first_megapixel: Decimal | None = None
    """What the first one of an image costs, where that is more than each further one."""
    input_megapixels: bool = False
    """The megapixels of each input picture, rounded up, count as further ones: with each picture, as a
    price; with each call, as a cost."""
    table: Table | None = None
    """Rates by the values of one or two parameters; comes before `rates`."""
    rates: tuple[Rate, ...] = ()
    """Other rates for values of parameters; the first that holds is taken."""
    multipliers: tuple[Multiplier, ...] = ()
    """All that hold are applied to the rate."""
    surcharges: tuple[Surcharge, ...] = ()
    """All that hold are added, after the multipliers."""
    unit_price: Decimal | None = None
    """Of a cost alone: what the provider bills for one of its own units, where that is not the base rate."""
    round: Literal["up"] = "up"


class Price(CostRow, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A price or a cost in US dollars; exactly one of the rates is set.

    Raises:
        ValueError: none or several rates, a negative rate or time, a rate by the second without the
            seconds that an image usually takes, or what goes with another rate.
    """

    def __post_init__(self) -> None:
        _one_of(UNITS, {unit: getattr(self, unit) for unit in UNITS})
        _dollars("unit_price", self.unit_price)
        first = self.first_megapixel
        if first is not None and (self.per_megapixel is None or not first.is_finite() or first < 0):
            raise ValueError("first_megapixel is a number of dollars, beside per_megapixel")
        if self.input_megapixels and self.per_megapixel is None:
            raise ValueError("input_megapixels goes with per_megapixel")
        if (self.per_second is None) != (self.typical_seconds is None):
            raise ValueError(
                "per_gpu_second and typical_seconds go together, so do per_compute_second and these"
            )
        _seconds("typical_seconds", self.typical_seconds)
        _seconds("max_seconds", self.max_seconds)
        if self.max_seconds is not None and self.max_seconds < (self.typical_seconds or self.max_seconds + 1):
            raise ValueError("max_seconds is of a rate by the second, and not below typical_seconds")
        if self.per_second is not None and (self.table is not None or self.rates):
            raise ValueError("a table and rates replace a rate by image, by megapixel or flat")

    @property
    def per_second(self) -> Decimal | None:
        """The rate by the second, whoever counts them."""
        return self.per_gpu_second if self.per_gpu_second is not None else self.per_compute_second

    @property
    def conditional(self) -> bool:
        """Whether it depends on parameters."""
        return bool(
            self.table is not None
            or self.rates
            or self.multipliers
            or any(surcharge.when for surcharge in self.surcharges)
        )


class PriceList(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What some accounts pay in place of the models' own prices.

    Raises:
        ValueError: neither a percentage nor a price, or a percentage out of 1 to 100.
    """

    about: str
    """One line for people: whose it is."""
    percent_off: int = 0
    """Of the price of each model that has none of its own here."""
    models: dict[str, Price] = {}
    """By a model's id: its price on this list."""
    below_cost: str | None = None
    """Why it may go below what a model costs us."""

    def __post_init__(self) -> None:
        if not self.models and not self.percent_off:
            raise ValueError("a price list has percent_off, models or both")
        if not 0 <= self.percent_off <= 100:
            raise ValueError("percent_off is 1 to 100")
