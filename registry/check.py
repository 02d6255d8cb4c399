"""What must hold between the rows of a registry: every name leads somewhere, every price is one."""

from decimal import Decimal

import msgspec

from registry.document import Document, Path
from registry.prices import image_dollars
from registry.schema import Catalogue, Model, ModelRow, ParameterRule, Price, Route, SizeRule
from registry.sizes import parse_size

__all__ = ["check_catalogue", "model_price"]


def model_price(document: Document, name: str, row: ModelRow, markup: Decimal | None) -> Price:
    """The model's price: its own, or its dearest route's cost times the markup.

    Raises:
        RegistryError: neither a price nor a markup, or costs that cannot be compared.
    """
    path: Path = ("models", name)
    if not row.routes:
        raise document.error("a model has at least one route", (*path, "routes"))
    if row.price is not None:
        return row.price
    if markup is None:
        raise document.error(
            'missing price: give `price: {per_image: "0.05"}` or per_megapixel '
            "(or set GATEWAY_MARKUP to sell above cost)",
            path,
        )
    costs = [route.provider_cost for route in row.routes]
    for unit in ("per_image", "per_megapixel", "per_gpu_second"):
        rates = [rate for cost in costs if (rate := getattr(cost, unit)) is not None]
        if len(rates) == len(costs):
            dearest = max(costs, key=lambda cost: getattr(cost, unit))
            return msgspec.structs.replace(dearest, **{unit: max(rates) * markup})
    raise document.error("its routes cost by different units: give a price", path)


def check_catalogue(document: Document, catalogue: Catalogue) -> None:
    """Raise RegistryError at the first name that leads nowhere, clash or price below cost."""
    _check_vocabulary(document, catalogue)
    _check_aliases(document, catalogue)
    for model in catalogue.models.values():
        for term in model.required:
            if term not in catalogue.vocabulary:
                raise document.error(f"{term!r} is not in the vocabulary", ("models", model.id, "required"))
        for route in model.routes:
            _check_route(document, catalogue, route)
            _check_price(document, model, route)
    for name, intent in catalogue.intents.items():
        _check_models(document, catalogue, intent.models, ("intents", name, "models"))
    _check_models(document, catalogue, catalogue.default, ("default",))


def _check_vocabulary(document: Document, catalogue: Catalogue) -> None:
    owner: dict[str, str] = {}
    for name, term in catalogue.vocabulary.items():
        for spelling in (name, *term.aliases):
            if spelling in owner:
                raise document.error(
                    f"{spelling!r} already means {owner[spelling]!r}", ("vocabulary", name, "aliases")
                )
            owner[spelling] = name


def _check_aliases(document: Document, catalogue: Catalogue) -> None:
    owner = {name: name for name in catalogue.models}
    for model in catalogue.models.values():
        for alias in model.aliases:
            if alias in owner:
                raise document.error(
                    f"{alias!r} already names {owner[alias]!r}", ("models", model.id, "aliases")
                )
            owner[alias] = model.id


def _check_models(document: Document, catalogue: Catalogue, names: tuple[str, ...], path: Path) -> None:
    if not names:
        raise document.error("name at least one model", path)
    for index, name in enumerate(names):
        if name not in catalogue.models:
            raise document.error(f"no model is called {name!r}", (*path, index))


def _check_route(document: Document, catalogue: Catalogue, route: Route) -> None:
    path: Path = ("models", route.model, "routes", route.index)
    if route.provider not in catalogue.providers:
        known = ", ".join(catalogue.providers)
        raise document.error(f"no provider is called {route.provider!r}; known: {known}", (*path, "provider"))
    if route.pipeline is not None and route.pipeline.tier not in catalogue.tiers:
        known = ", ".join(catalogue.tiers)
        raise document.error(
            f"no tier is called {route.pipeline.tier!r}; known: {known}", (*path, "pipeline", "tier")
        )
    _check_size(document, route.size, (*path, "size"))
    for name, rule in route.parameters.items():
        _check_parameter(document, catalogue, name, rule, (*path, "parameters", name))


def _check_size(document: Document, size: SizeRule, path: Path) -> None:
    if size.style == "none":
        return
    default = parse_size(size.default or "")
    if default is None:
        raise document.error('size.default is missing: give it as "1024x1024" (pixels)', path)
    for edge in default:
        if not size.min <= edge <= size.max or edge % size.multiple_of:
            raise document.error(
                f"the default {size.default} is not within {size.min}..{size.max} "
                f"in steps of {size.multiple_of}",
                path,
            )


def _check_parameter(
    document: Document, catalogue: Catalogue, name: str, rule: ParameterRule, path: Path
) -> None:
    known = name in catalogue.vocabulary
    if rule.native and known:
        raise document.error("the vocabulary has this parameter: it is not native", path)
    if rule.native and rule.type is None:
        raise document.error("a native parameter needs its type", path)
    if not rule.native and not known:
        raise document.error("not in the vocabulary; mark it `native: true` if the endpoint has it", path)


def _check_price(document: Document, model: Model, route: Route) -> None:
    """A price below cost at a legal size is a mistake, unless the entry says why it is not."""
    if model.below_cost is not None:
        return
    size = route.size
    for width, height in {parse_size(size.default or "") or (1024, 1024), (size.min,) * 2, (size.max,) * 2}:
        price = image_dollars(model.price, width, height)
        cost = image_dollars(route.provider_cost, width, height)
        if price < cost:
            raise document.error(
                f"the price at {width}x{height} is {price} USD, below the provider's {cost} "
                f"(routes.{route.index}); raise it, or say why in `below_cost`",
                ("models", model.id, "price"),
            )
