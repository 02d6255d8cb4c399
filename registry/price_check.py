"""What must hold of prices: they depend on what is sent, and none is below cost at what can be asked."""

import itertools
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

import msgspec
from msgspec import Struct

from registry.document import Document, Path
from registry.prices import (
    Size,
    call_dollars,
    image_dollars,
    input_dollars,
    listed_price,
    price_for,
    scaled,
)
from registry.prices_schema import UNITS
from registry.schema import (
    Catalogue,
    Model,
    ModelRow,
    ParameterRule,
    Price,
    PriceList,
    Route,
    SizeRule,
    Term,
)
from registry.sizes import RESOLUTIONS, parse_size

__all__ = ["check_conditions", "check_price", "check_price_lists", "model_price"]

PICTURES = {
    "image_url": "image",
    "mask_url": "mask",
    "target_image_url": "target_image",
    "reference_image_urls": "references",
}
"""The parameters that are pictures, and the features that they are."""
SIZED = ("size", "aspect_ratio", "resolution")
"""What is known of a size when a price is worked out."""
LARGE_INPUT: Size = (8192, 8192)
MOST_REFERENCES = 10
"""Pictures of a list without a limit."""
MOST_CASES = 4096
"""Combinations of values that one price and one cost may tell apart."""

Value = str | bool | int


def model_price(
    document: Document, name: str, row: ModelRow, routes: tuple[Route, ...], markup: Decimal | None
) -> Price:
    """The model's price: its own, or its dearest route's cost times the markup.

    Raises:
        RegistryError: neither a price nor a markup, or costs that cannot be compared.
    """
    path: Path = ("models", name)
    if not routes:
        raise document.error("a model has at least one route", (*path, "routes"))
    if row.price is not None:
        _refuse_unit_price(document, row.price, (*path, "price"))
        return row.price
    if markup is None:
        raise document.error(
            'missing price: give `price: {per_image: "0.05"}` or per_megapixel '
            "(or set GATEWAY_MARKUP to sell above cost)",
            path,
        )
    costs = [msgspec.structs.replace(route.provider_cost, unit_price=None) for route in routes]
    if all(cost == costs[0] for cost in costs):
        return scaled(costs[0], markup)
    if any(
        cost.conditional or cost.surcharges or cost.input_megapixels or cost.first_megapixel is not None
        for cost in costs
    ):
        raise document.error("what its routes cost depends on their parameters: give a price", path)
    for unit in UNITS:
        rates = [rate for cost in costs if (rate := getattr(cost, unit)) is not None]
        if len(rates) == len(costs):
            return scaled(max(costs, key=lambda cost: getattr(cost, unit)), markup)
    raise document.error("its routes cost by different units: give a price", path)


# -- what a price depends on ----------------------------------------------------------------


def check_conditions(
    document: Document, catalogue: Catalogue, model: Model, route: Route, cost_at: Path
) -> None:
    """What a rate depends on is something that is sent, and its value one that can be.

    Args:
        document: the file.
        catalogue: the registry.
        model: whose price is checked, once: with its first route.
        route: whose cost is checked.
        cost_at: where that is written.
    """
    _check_whens(document, catalogue, (route,), route.provider_cost, cost_at, "the route sends")
    if route.index == 0:
        _check_whens(
            document, catalogue, model.routes, model.price, ("models", model.id, "price"), "the model takes"
        )


def _check_whens(
    document: Document,
    catalogue: Catalogue,
    routes: tuple[Route, ...],
    price: Price,
    at: Path,
    who: str,
) -> None:
    for path, when in _whens(price):
        for name, value in when.items():
            here = (*at, *path, name)
            if not any(name in route.parameters or name in SIZED for route in routes):
                raise document.error(f"{who} no {name!r}", here)
            if not any(_legal(route, catalogue.vocabulary, name, value) for route in routes):
                raise document.error(f"{who} no {name} {value!r}", here)


def _whens(price: Price) -> Iterator[tuple[Path, Mapping[str, Value]]]:
    """The conditions of a price, and where they are written."""
    if price.table is not None:
        cells = "per_image" if price.table.per_image is not None else "per_megapixel"
        for rate in price.table.rates():
            # The row stands under its values; the last of them is named as the word.
            yield ("table", cells, *list(map(str, rate.when.values()))[:-1]), rate.when
    for key in ("rates", "multipliers", "surcharges"):
        for index, row in enumerate(getattr(price, key)):
            yield (key, index, "when"), row.when


def _legal(route: Route, vocabulary: Mapping[str, Term], name: str, value: Value) -> bool:
    """Whether a route can be asked for this value."""
    rule = route.parameters.get(name)
    if rule is not None:
        return _legal_value(rule, vocabulary.get(name), value)
    size = route.size
    if name == "resolution":
        return str(value) in size.resolutions
    if name == "aspect_ratio":
        return size.style == "aspect_ratio" and str(value) in size.choices
    asked = parse_size(str(value))
    if name != "size" or size.style == "none" or asked is None:
        return False
    if size.style == "choice":
        return str(value) in size.choices
    return size.style == "aspect_ratio" or _fits(size, asked)


def _legal_value(rule: ParameterRule, term: Term | None, value: Value) -> bool:
    kind = rule.type or (term.type if term is not None else None)
    if (kind == "boolean") != isinstance(value, bool):
        return False
    if kind in ("integer", "number") and not rule.enum:
        try:
            number = Decimal(str(value))
        except ArithmeticError:
            return False
        low = rule.min is None or number >= Decimal(str(rule.min))
        return low and (rule.max is None or number <= Decimal(str(rule.max)))
    enum = rule.enum or (term.enum if term is not None else ())
    return not enum or str(value) in enum


def _fits(size: SizeRule, asked: Size) -> bool:
    pixels, (short, long) = asked[0] * asked[1], sorted(asked)
    return (
        all(size.min <= edge <= size.max and edge % size.multiple_of == 0 for edge in asked)
        and (size.min_pixels or 0) <= pixels <= (size.max_pixels or pixels)
        and (size.max_ratio is None or long <= size.max_ratio * short)
    )


# -- below cost -----------------------------------------------------------------------------


class _Case(Struct, frozen=True, kw_only=True):
    """Something that can be asked of a route."""

    sent: dict[str, Any]
    size: Size
    images: int
    inputs: tuple[Size, ...]

    def paid(self, price: Price, seconds: Decimal | None) -> Decimal:
        """By the caller."""
        due = price_for(price, self.sent)
        if due.per_second is not None and seconds is not None:
            seconds = min(seconds, due.max_seconds or due.typical_seconds or seconds)
        each = image_dollars(due, *self.size, seconds=seconds) + input_dollars(due, self.inputs)
        return (due.flat or Decimal(0)) + each * self.images

    def billed(self, cost: Price, per_call: int) -> Decimal:
        """By the provider."""
        due = price_for(cost, self.sent)
        counts = [min(per_call, self.images - done) for done in range(0, self.images, per_call)]
        return sum((call_dollars(due, [self.size] * count, self.inputs) for count in counts), Decimal(0))

    def __str__(self) -> str:
        said = [f"{self.size[0]}x{self.size[1]}"]
        said += [f"{name} {value}" for name, value in self.sent.items() if name != "size"]
        said += [f"{self.images} images"] if self.images > 1 else []
        said += [f"{len(self.inputs)} large inputs"] if self.inputs else []
        return ", ".join(said)


def check_price(document: Document, catalogue: Catalogue, model: Model, route: Route) -> None:
    """A price below cost at anything that can be asked is a mistake, unless the entry says why it is not.

    Raises:
        RegistryError: it is below cost, or depends on more than can be tried.
    """
    if model.below_cost is not None:
        return
    path: Path = ("models", model.id, "price")
    for case, paid, billed in _below(document, catalogue, route, model.price, path):
        raise document.error(
            f"the price at {case} is {paid:f} USD, below the provider's {billed:f} "
            f"(routes.{route.index}); raise it, or say why in `below_cost`",
            path,
        )


def check_price_lists(document: Document, catalogue: Catalogue) -> None:
    """Every price list is of models that there are, and not below cost where their own price is not.

    Raises:
        RegistryError: at the row that is wrong.
    """
    for name, rows in catalogue.price_lists.items():
        for one, price in rows.models.items():
            path: Path = ("price_lists", name, "models", one)
            if one not in catalogue.models:
                raise document.error(f"no model is called {one!r}", path)
            _refuse_unit_price(document, price, path)
            model = catalogue.models[one]
            _check_whens(document, catalogue, model.routes, price, path, "the model takes")
        if rows.below_cost is None:
            _check_list(document, catalogue, name, rows)


def _check_list(document: Document, catalogue: Catalogue, name: str, rows: PriceList) -> None:
    for model in catalogue.models.values():
        price = listed_price(model, rows)
        if model.status == "retired" or price == model.price:
            continue
        own = model.id in rows.models
        path: Path = ("price_lists", name, *(("models", model.id) if own else ("percent_off",)))
        for route in model.routes:
            for case, paid, billed in _below(document, catalogue, route, price, path):
                # What the model's own price says of that is in its own `below_cost`.
                if case.paid(model.price, _seconds_of(route)) >= billed:
                    raise document.error(
                        f"the price of {model.id} at {case} is {paid:f} USD, below the provider's {billed:f} "
                        f"(routes.{route.index}); raise it, or say why in the list's `below_cost`",
                        path,
                    )


def _below(
    document: Document, catalogue: Catalogue, route: Route, price: Price, path: Path
) -> Iterator[tuple[_Case, Decimal, Decimal]]:
    """The cases in which a price is below a route's cost."""
    per_call = route.images_per_call or _most_images(catalogue)
    for case in _cases(document, catalogue, route, price, path):
        paid = case.paid(price, _seconds_of(route))
        billed = case.billed(route.provider_cost, per_call)
        if paid < billed:
            yield case, paid, billed


def _cases(
    document: Document, catalogue: Catalogue, route: Route, price: Price, path: Path
) -> Iterator[_Case]:
    """What tells prices and costs apart: every value that they name, in every combination that the route can
    be asked for; the sizes at the ends; one picture and many, with and without inputs.
    """
    cost = route.provider_cost
    named: dict[str, dict[Value, None]] = {}
    for _, when in (*_whens(price), *_whens(cost)):
        for name, value in when.items():
            if _legal(route, catalogue.vocabulary, name, value):
                named.setdefault(name, {})[value] = None
    choices = [
        [*values, *([] if _covered(route, name, values) else [None])] for name, values in named.items()
    ]
    count = 1
    for values in choices:
        count *= len(values)
    if count > MOST_CASES:
        raise document.error(f"it depends on {count} combinations of values, of {MOST_CASES} at most", path)
    most = _most_images(catalogue) if route.repeatable else route.images_per_call or 1
    images = {1, most} if price.flat is not None or cost.flat is not None else {1}
    inputs = _inputs(route) if price.input_megapixels or cost.input_megapixels else [()]
    for combined in itertools.product(*choices):
        sent = {name: value for name, value in zip(named, combined, strict=True) if value is not None}
        for size, number, given in itertools.product(_sizes(route.size, sent), sorted(images), inputs):
            yield _Case(sent=sent, size=size, images=number, inputs=given)


def _covered(route: Route, name: str, values: Mapping[Value, None]) -> bool:
    """Whether a parameter always has one of these values."""
    rule = route.parameters.get(name)
    if rule is None or rule.default is None or not rule.enum:
        return False
    return set(rule.enum) <= {str(value) for value in values}


def _sizes(size: SizeRule, sent: Mapping[str, Any]) -> list[Size]:
    default = parse_size(size.default or "") or (1024, 1024)
    asked = parse_size(str(sent.get("size", "")))
    if asked is not None:
        return [asked]
    if "resolution" in sent and sent["resolution"] in RESOLUTIONS:
        edge = RESOLUTIONS[sent["resolution"]]
        return [(edge, edge)]
    if size.style == "choice":
        return [found for choice in size.choices if (found := parse_size(choice)) is not None]
    return [default] if size.choices else [default, (size.min,) * 2, (size.max,) * 2]


def _inputs(route: Route) -> list[tuple[Size, ...]]:
    """As few input pictures as a route takes, and as many."""
    taken = [
        (feature, rule)
        for name, feature in PICTURES.items()
        if (rule := route.parameters.get(name)) is not None
    ]
    least = sum(feature in route.when for feature, _ in taken)
    most = sum(rule.most or MOST_REFERENCES if feature == "references" else 1 for feature, rule in taken)
    return [((1024, 1024),) * least, (LARGE_INPUT,) * most]


def _most_images(catalogue: Catalogue) -> int:
    term = catalogue.vocabulary.get("num_images")
    return int(term.max) if term is not None and term.max is not None else 1


def _seconds_of(route: Route) -> Decimal | None:
    """What both a price and a cost by the second are compared at."""
    return route.provider_cost.typical_seconds


def _refuse_unit_price(document: Document, price: Price, path: Path) -> None:
    if price.unit_price is not None:
        raise document.error("what a provider's unit costs is of a provider_cost", (*path, "unit_price"))
