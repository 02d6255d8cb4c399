"""Reads `models.yaml`: strict, whole, and with the line of whatever is wrong.

Three steps: the document is parsed (`registry.document`), each row is converted to its struct
(unknown keys and wrong types end here), and the rows are merged and cross-checked (dialects,
names, prices; `registry.check`). Nothing of a bad file is used.
"""

import hashlib
import re
from decimal import Decimal
from importlib import resources
from pathlib import Path as FilePath
from typing import Any, TypeVar

import msgspec
from msgspec import structs

from registry.check import check_catalogue, written_at
from registry.document import Document, Path
from registry.errors import RegistryError
from registry.price_check import model_price
from registry.prices_schema import UNITS
from registry.schema import (
    Catalogue,
    CostRow,
    DialectRow,
    Intent,
    Model,
    ModelRow,
    ParameterRule,
    Price,
    PriceList,
    PromptStyle,
    ProviderRow,
    Route,
    RouteRow,
    SizeRule,
    Term,
    Tier,
)

__all__ = ["SHIPPED", "load_registry", "parse_registry"]

SHIPPED = "registry/models.yaml"
"""How the registry that comes with the package is called in messages."""

T = TypeVar("T")
MAX_CHAIN = 20  # dialects, each extending the next
SECTIONS = (
    "providers",
    "tiers",
    "vocabulary",
    "prompt_styles",
    "dialects",
    "models",
    "intents",
    "default",
    "price_lists",
)
# msgspec ends a message with the place: "Expected `int`, got `str` - at `$.routes[0].size`"
AT = re.compile(r" - at `(key in )?(.+)`$")
UNKNOWN = re.compile(r"unknown field `(.+)`")
STEP = re.compile(r"\.(?P<name>[^.\[]+)|\[(?P<index>\d+)\]|\[(?P<any>\.\.\.)\]")


def load_registry(path: FilePath | None = None, *, markup: Decimal | None = None) -> Catalogue:
    """Load a registry file; the shipped one when no path is given.

    Args:
        path: the file.
        markup: what a model without a price is sold for, times its cost; without a markup
            such a model is an error.

    Raises:
        RegistryError: the file cannot be read, or anything in it is wrong.
    """
    if path is None:
        text = resources.files("registry").joinpath("models.yaml").read_text("utf-8")
        return parse_registry(text, SHIPPED, markup=markup)
    try:
        return parse_registry(path.read_text("utf-8"), str(path), markup=markup)
    except (OSError, UnicodeDecodeError) as error:
        raise RegistryError(f"cannot be read: {error}", file=str(path)) from error


def parse_registry(text: str, file: str, *, markup: Decimal | None = None) -> Catalogue:
    """Build the catalogue from a registry's text.

    Raises:
        RegistryError: names the line and the path of the first fault.
    """
    if markup is not None and not (markup.is_finite() and markup > 0):
        raise RegistryError(f"the markup is a number above 0, not {markup}", file=file)
    document = Document(text, file)
    data = document.data
    if not isinstance(data, dict):
        raise RegistryError(f"the file is a mapping with {', '.join(SECTIONS)}", file=file)
    for section in data:
        if section not in SECTIONS:
            raise document.error(f"unknown section; it is one of {', '.join(SECTIONS)}", (section,))
    tiers = _section(document, "tiers", Tier)
    dialects = _section(document, "dialects", DialectRow)
    models = _section(document, "models", ModelRow)
    styles = _section(document, "prompt_styles", PromptStyle) if "prompt_styles" in data else {}
    lists = _section(document, "price_lists", PriceList) if "price_lists" in data else {}
    merged = {name: _merge_dialect(document, name, dialects, ()) for name in dialects}
    catalogue = Catalogue(
        version=hashlib.sha256(text.encode()).hexdigest()[:12],
        providers=_section(document, "providers", ProviderRow),
        tiers=tiers,
        vocabulary=_section(document, "vocabulary", Term),
        models={
            name: _model(document, name, row, merged, tiers, styles, markup) for name, row in models.items()
        },
        intents=_section(document, "intents", Intent),
        default=_convert(document, data.get("default"), tuple[str, ...], ("default",)),
        dialects=tuple(dialects),
        price_lists=lists,
    )
    check_catalogue(document, catalogue)
    return catalogue


def _section(document: Document, name: str, row: type[T]) -> dict[str, T]:
    rows = document.data.get(name)
    if rows is None:
        raise document.error(f"the section {name!r} is missing or empty", (name,))
    if not isinstance(rows, dict):
        raise document.error("must be a mapping of names to rows", (name,))
    return {key: _convert(document, value, row, (name, key)) for key, value in rows.items()}


def _convert(document: Document, value: Any, into: type[T], path: Path) -> T:
    try:
        # strict=False would read "yes" as a bool; numbers in quotes are wanted for money alone,
        # and Decimal takes text in strict mode too.
        return msgspec.convert(value, into)
    except msgspec.ValidationError as error:
        message = str(error)
        found = AT.search(message)
        inner = _locate(value, into, found[2], message) if found else ()
        message = AT.sub("", message)
        if unknown := UNKNOWN.search(message):
            inner = (*inner, unknown[1])
        raise document.error(message, (*path, *inner)) from error


def _locate(value: Any, into: type[T], at: str, message: str) -> Path:
    """Turn msgspec's place into a path; `[...]` (some key of a mapping) is found by trying each."""
    path: list[str | int] = []
    here = value
    for step in STEP.finditer(at):
        if step["any"]:
            key = next((k for k in here if _fails_alone(value, into, tuple(path), k, message)), None)
            if key is None:
                break
            path.append(key)
        else:
            path.append(step["name"] if step["name"] else int(step["index"]))
        try:
            here = here[path[-1]]
        except (KeyError, IndexError, TypeError):
            break
    return tuple(path)


def _fails_alone(value: Any, into: type[T], path: Path, key: str, message: str) -> bool:
    try:
        msgspec.convert(_only(value, path, key), into)
    except msgspec.ValidationError as error:
        return str(error) == message
    return False


def _only(value: Any, path: Path, key: str) -> Any:
    """A copy of the value in which the mapping at `path` has only one of its keys."""
    if not path:
        return {key: value[key]}
    copy: Any = list(value) if isinstance(value, list) else dict(value)
    copy[path[0]] = _only(value[path[0]], path[1:], key)
    return copy


def _merge_dialect(
    document: Document, name: str, rows: dict[str, DialectRow], seen: tuple[str, ...]
) -> dict[str, Any]:
    """A dialect's raw rows with those of the dialects that it extends, null rows taken away."""
    raw = document.data["dialects"][name]
    parent = rows[name].extends
    if parent is None:
        return raw if isinstance(raw, dict) else {}
    path: Path = ("dialects", name, "extends")
    if parent not in rows:
        raise document.error(f"no dialect is called {parent!r}", path)
    if parent == name or parent in seen:
        raise document.error("a dialect cannot extend itself", path)
    if len(seen) >= MAX_CHAIN:
        raise document.error(f"more than {MAX_CHAIN} dialects extend one another", path)
    return _overlay(_merge_dialect(document, parent, rows, (*seen, name)), raw)


def _overlay(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Rows of `over` laid on those of `base`, parameter by parameter and key by key."""
    parameters = dict(base.get("parameters") or {})
    for name, rule in (over.get("parameters") or {}).items():
        if rule is None:
            parameters.pop(name, None)
        else:
            parameters[name] = {**parameters.get(name, {}), **rule}
    return {
        "parameters": parameters,
        "constants": {**(base.get("constants") or {}), **(over.get("constants") or {})},
        "size": {**(base.get("size") or {}), **(over.get("size") or {})},
        "provider_cost": over.get("provider_cost") or base.get("provider_cost"),
        "prompt_style": over.get("prompt_style") or base.get("prompt_style"),
        "output": over.get("output") or base.get("output"),
    }


def _model(
    document: Document,
    name: str,
    row: ModelRow,
    dialects: dict[str, dict[str, Any]],
    tiers: dict[str, Tier],
    styles: dict[str, PromptStyle],
    markup: Decimal | None,
) -> Model:
    routes = tuple(
        _route(document, name, index, route, dialects, tiers, styles)
        for index, route in enumerate(row.routes)
    )
    return Model(
        id=name,
        description=row.description,
        tasks=row.tasks,
        required=row.required,
        price=model_price(document, name, row, routes, markup),
        aliases=row.aliases,
        status=row.status,
        below_cost=row.below_cost,
        routes=routes,
    )


def _route(
    document: Document,
    model: str,
    index: int,
    row: RouteRow,
    dialects: dict[str, dict[str, Any]],
    tiers: dict[str, Tier],
    styles: dict[str, PromptStyle],
) -> Route:
    path: Path = ("models", model, "routes", index)
    if row.dialect not in dialects:
        raise document.error(f"no dialect is called {row.dialect!r}", (*path, "dialect"))
    merged = _overlay(dialects[row.dialect], document.data["models"][model]["routes"][index])
    if not merged["size"]:
        raise document.error("neither the route nor its dialect says how a size is sent", path)
    style = merged["prompt_style"]
    if style is not None and style not in styles:
        known = ", ".join(styles) or "none"
        raise document.error(
            f"no prompt style is called {style!r}; known: {known}", written_at(document, path, "prompt_style")
        )
    return Route(
        model=model,
        index=index,
        when=frozenset(row.when),
        provider=row.provider,
        endpoint=row.endpoint,
        dialect=row.dialect,
        parameters={
            name: _convert(document, rule, ParameterRule, written_at(document, path, "parameters", name))
            for name, rule in merged["parameters"].items()
        },
        constants=merged["constants"],
        size=_convert(document, merged["size"], SizeRule, written_at(document, path, "size")),
        provider_cost=_cost(document, row, merged["provider_cost"], tiers, path),
        pipeline=row.pipeline,
        prompt_style=None if style is None else styles[style],
        output=merged["output"] or "raster",
    )


def _cost(
    document: Document, row: RouteRow, written: dict[str, Any] | None, tiers: dict[str, Tier], path: Path
) -> Price:
    """What a route costs us; with seconds alone, what its tier's second costs."""
    if written is None:
        raise document.error("neither the route nor its dialect has a provider_cost", path)
    here = written_at(document, path, "provider_cost")
    tier = row.pipeline.tier if row.pipeline is not None else None
    if tier is not None and tier not in tiers:
        known = ", ".join(tiers)
        raise document.error(f"no tier is called {tier!r}; known: {known}", (*path, "pipeline", "tier"))
    cost = structs.asdict(_convert(document, written, CostRow, here))
    unpriced = all(cost[unit] is None for unit in UNITS)
    if tier is not None and cost["typical_seconds"] is not None and unpriced:
        cost["per_gpu_second"] = tiers[tier].per_second
    return _convert(document, cost, Price, here)
