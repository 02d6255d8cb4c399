"""What images cost at a size: the arithmetic under every price and every provider cost."""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from msgspec.structs import replace

from registry.prices_schema import UNITS, Rate, Surcharge, Table
from registry.schema import Model, Price, PriceList

__all__ = [
    "MEGAPIXEL",
    "Size",
    "billed_unit",
    "call_dollars",
    "image_dollars",
    "input_dollars",
    "listed_price",
    "megapixels",
    "price_for",
    "reduced",
    "scaled",
]

MEGAPIXEL = 1 << 20
"""Pixels in a megapixel as fal and litellm count them; with 1,000,000 a 1024x1024 image would
cost two. The provider's own count of units settles a doubt later."""

Size = tuple[int, int]
"""Width and height in pixels."""

AMOUNTS = (*UNITS, "first_megapixel")


def megapixels(width: int, height: int) -> int:
    """Whole megapixels of one image, rounded up; never less than 1."""
    return max(1, -(-width * height // MEGAPIXEL))


def price_for(price: Price, effective: Mapping[str, Any]) -> Price:
    """The price without conditions that holds for a request: the table's row, else the first rate that
    holds, else the base rate; times every multiplier that holds; with every surcharge that holds.

    Args:
        price: as the registry has it.
        effective: what is sent, by unified or native name.
    """
    found = replace(price, rates=(), table=None, multipliers=(), surcharges=(), unit_price=None)
    listed = price.table.rates() if price.table is not None else ()
    for rate in (*listed, *price.rates):
        if _holds(rate.when, effective):
            found = Price(
                per_image=rate.per_image,
                per_megapixel=rate.per_megapixel,
                input_megapixels=price.input_megapixels and rate.per_megapixel is not None,
            )
            break
    for multiplier in price.multipliers:
        if _holds(multiplier.when, effective):
            found = scaled(found, multiplier.factor)
    due = tuple(Surcharge(per_image=one.per_image) for one in price.surcharges if _holds(one.when, effective))
    return replace(found, surcharges=due)


def billed_unit(cost: Price) -> Decimal | None:
    """US dollars of one of the provider's billable units; None where the registry does not know.

    Its units hold what multiplies a price (a picture in 4K is two), so this is the base rate, whatever holds
    for a request. With a dearer first megapixel it is not known which of the two rates is the unit's, nor
    how the other is counted, unless the registry says so.

    Args:
        cost: as the registry has it, with its conditions.
    """
    if cost.unit_price is not None or cost.first_megapixel is not None:
        return cost.unit_price
    base: Decimal = next(rate for unit in UNITS if (rate := getattr(cost, unit)) is not None)
    return base


def reduced(price: Price, percent: int) -> Price:
    """A price less so many percent, with or without conditions; exact, and rounded like any other when it is
    charged.

    Args:
        price: of the registry or of `price_for`.
        percent: 0 to 100.
    """
    return scaled(price, Decimal(100 - percent) / 100)


def listed_price(model: Model, rows: PriceList) -> Price:
    """What a model costs on a price list, with its conditions."""
    own = rows.models.get(model.id)
    if own is not None:
        return own
    return reduced(model.price, rows.percent_off) if rows.percent_off else model.price


def scaled(price: Price, factor: Decimal) -> Price:
    """So many times a price: every amount of it, and no condition."""
    given = {name: _times(rate, factor) for name in AMOUNTS if (rate := getattr(price, name)) is not None}
    return replace(
        price,
        **given,
        table=None if price.table is None else _scaled_table(price.table, factor),
        rates=tuple(_scaled_rate(rate, factor) for rate in price.rates),
        surcharges=tuple(replace(one, per_image=_times(one.per_image, factor)) for one in price.surcharges),
    )


def image_dollars(price: Price, width: int, height: int, *, seconds: Decimal | None = None) -> Decimal:
    """US dollars of one image of `width` x `height` pixels, by a price without conditions.

    Args:
        price: of `price_for`. Of a flat one, this is what comes on top for each picture.
        width: pixels.
        height: pixels.
        seconds: what it took, for a price by the second; the typical ones when not known.
    """
    besides = sum((one.per_image for one in price.surcharges), Decimal(0))
    if price.flat is not None:
        return besides
    if price.per_image is not None:
        return price.per_image + besides
    if price.per_megapixel is not None:
        count = megapixels(width, height)
        first = price.per_megapixel if price.first_megapixel is None else price.first_megapixel
        return first + price.per_megapixel * (count - 1) + besides
    if price.per_second is not None and price.typical_seconds is not None:
        return price.per_second * (price.typical_seconds if seconds is None else seconds) + besides
    raise AssertionError("Price holds exactly one rate")


def input_dollars(price: Price, inputs: Sequence[Size]) -> Decimal:
    """US dollars of the input pictures, where their megapixels count."""
    if not price.input_megapixels or price.per_megapixel is None:
        return Decimal(0)
    return price.per_megapixel * sum(megapixels(*size) for size in inputs)


def call_dollars(cost: Price, sizes: Sequence[Size], inputs: Sequence[Size] = ()) -> Decimal:
    """US dollars of one call of an endpoint, by its cost without conditions; 0 where no picture came.

    Args:
        cost: of `price_for`.
        sizes: of each picture that came.
        inputs: of each picture that went in: they count once a call.
    """
    if not sizes:
        return Decimal(0)
    pictures = sum((image_dollars(cost, *size) for size in sizes), Decimal(0))
    return (cost.flat or Decimal(0)) + pictures + input_dollars(cost, inputs)


def _holds(when: Mapping[str, str | bool | int], effective: Mapping[str, Any]) -> bool:
    return all(_same(effective.get(name), value) for name, value in when.items())


def _same(sent: Any, value: str | bool | int) -> bool:
    """`4` and `"4"` are one value to a price; True and 1 are not."""
    return sent is not None and isinstance(sent, bool) == isinstance(value, bool) and str(sent) == str(value)


def _scaled_rate(rate: Rate, factor: Decimal) -> Rate:
    given = {"per_image": rate.per_image, "per_megapixel": rate.per_megapixel}
    changed = {name: _times(amount, factor) for name, amount in given.items() if amount is not None}
    return replace(rate, **changed)


def _times(amount: Decimal, factor: Decimal) -> Decimal:
    """The product, without the zeros at its end: people read it."""
    product = (amount * factor).normalize()
    return product.quantize(Decimal(1)) if product == product.to_integral_value() else product


def _scaled_table(table: Table, factor: Decimal) -> Table:
    def times(amount: Decimal) -> Decimal:
        return _times(amount, factor)

    return replace(
        table,
        per_image=None if table.per_image is None else _mapped(table.per_image, times),
        per_megapixel=None if table.per_megapixel is None else _mapped(table.per_megapixel, times),
    )


def _mapped(
    cells: Mapping[str, Decimal | dict[str, Decimal]], change: Callable[[Decimal], Decimal]
) -> dict[str, Decimal | dict[str, Decimal]]:
    return {
        value: {inner: change(amount) for inner, amount in cell.items()}
        if isinstance(cell, dict)
        else change(cell)
        for value, cell in cells.items()
    }
