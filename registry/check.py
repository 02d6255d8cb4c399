"""What must hold between the rows of a registry: every name leads somewhere, every price is one."""

import re

from registry.catalog import AUTO
from registry.document import Document, Path
from registry.inputs import FOLDED, WORD_TYPES
from registry.price_check import check_conditions, check_price, check_price_lists
from registry.schema import Catalogue, Model, ParameterRule, Route, SizeRule, SizeStyle
from registry.sizes import SIZE_WORDS, parse_size
from registry.values import BadValue, read_native, read_value

__all__ = ["check_catalogue", "written_at"]


def written_at(document: Document, route: Path, *tail: str) -> Path:
    """Where a part of a route is written: in the route, in its dialect or in one that this extends."""
    row = document.data["models"][route[1]]["routes"][route[3]]
    here, dialect = route, row["dialect"]
    while not document.has((*here, *tail)) and dialect is not None:
        here = ("dialects", dialect)
        dialect = document.data["dialects"][dialect].get("extends")
    return (*here, *tail) if document.has((*here, *tail)) else (*route, *tail)


def check_catalogue(document: Document, catalogue: Catalogue) -> None:
    """Raise RegistryError at the first name that leads nowhere, clash or price below cost."""
    _check_vocabulary(document, catalogue)
    _check_aliases(document, catalogue)
    for model in catalogue.models.values():
        for route in model.routes:
            _check_route(document, catalogue, route)
            cost_at = written_at(document, ("models", model.id, "routes", route.index), "provider_cost")
            check_conditions(document, catalogue, model, route, cost_at)
            check_price(document, catalogue, model, route)
        _check_required(document, catalogue, model)
        _check_natives(document, model)
    if AUTO in catalogue.intents:
        raise document.error("`auto` is the intent that is read from a prompt", ("intents", AUTO))
    for name, intent in catalogue.intents.items():
        _check_models(document, catalogue, intent.models, ("intents", name, "models"))
    _check_models(document, catalogue, catalogue.default, ("default",))
    check_price_lists(document, catalogue)


def _check_vocabulary(document: Document, catalogue: Catalogue) -> None:
    owner: dict[str, str] = {}
    for name, term in catalogue.vocabulary.items():
        if name not in WORD_TYPES:
            known = ", ".join(WORD_TYPES)
            message = (
                f"no word of the vocabulary: an endpoint's own parameter is native to its route; {known}"
            )
            raise document.error(message, ("vocabulary", name))
        if term.type != WORD_TYPES[name]:
            raise document.error(f"its type is {WORD_TYPES[name]}", ("vocabulary", name, "type"))
        if name == "size" and not {"width", "height"} <= catalogue.vocabulary.keys():
            raise document.error("size needs width and height", ("vocabulary", name))
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
        if catalogue.models[name].status == "retired":
            raise document.error(f"{name!r} is retired: it cannot serve", (*path, index))


def _check_required(document: Document, catalogue: Catalogue, model: Model) -> None:
    path: Path = ("models", model.id, "required")
    taken = set(model.parameters())
    if "loras" in taken:
        taken.update(("lora_url", "lora_scale"))
    if any(route.size.style != "none" for route in model.routes):
        taken.update(SIZE_WORDS)
    for name in model.required:
        if name not in catalogue.vocabulary:
            raise document.error(f"{name!r} is not in the vocabulary", path)
        if name not in taken:
            raise document.error(f"no route of the model takes {name!r}", path)


def _check_natives(document: Document, model: Model) -> None:
    """One native parameter has one type, whatever the route."""
    first: dict[str, ParameterRule] = {}
    for route in model.routes:
        for name, rule in route.parameters.items():
            if rule.type != first.setdefault(name, rule).type:
                raise document.error(
                    f"{name!r} has another type on an earlier route",
                    ("models", model.id, "routes", route.index, "parameters", name),
                )


def _check_route(document: Document, catalogue: Catalogue, route: Route) -> None:
    path: Path = ("models", route.model, "routes", route.index)
    if route.provider not in catalogue.providers:
        known = ", ".join(catalogue.providers)
        raise document.error(f"no provider is called {route.provider!r}; known: {known}", (*path, "provider"))
    _check_gpu_rate(document, catalogue, route, path)
    _check_size(document, route.size, written_at(document, path, "size"))
    _check_drawn_sizes(document, route, path)
    for name, rule in route.parameters.items():
        _check_parameter(document, catalogue, name, rule, written_at(document, path, "parameters", name))
    _check_spellings(document, route, path)


def _check_gpu_rate(document: Document, catalogue: Catalogue, route: Route, path: Path) -> None:
    """A GPU second costs what its tier costs. One who writes it all the same writes that."""
    rate = route.provider_cost.per_gpu_second
    if rate is None or route.pipeline is None:
        return
    tier = route.pipeline.tier
    if rate != catalogue.tiers[tier].per_second:
        raise document.error(
            f"a second of the tier {tier} costs {catalogue.tiers[tier].per_second}",
            (*path, "provider_cost", "per_gpu_second"),
        )


def _check_spellings(document: Document, route: Route, path: Path) -> None:
    """No two things are sent under one name, where the second would replace the first."""
    owner = dict.fromkeys(_size_members(route.size), "the size")
    for name, rule in route.parameters.items():
        sent = rule.send or name
        first = route.parameters.get(owner.get(sent, ""))
        if rule.shape == "more" and first is not None and first.shape == "list":
            continue
        if sent in owner:
            raise document.error(
                f"{sent!r} already carries {owner[sent]}", written_at(document, path, "parameters", name)
            )
        owner[sent] = name


def _size_members(size: SizeRule) -> tuple[str, ...]:
    """The members of a payload that carry a size."""
    members: dict[SizeStyle, tuple[str, ...]] = {
        "image_size": ("image_size",),
        "width_height": ("width", "height"),
        "text": (size.send or "size",),
        "aspect_ratio": ("aspect_ratio", "resolution") if size.resolutions else ("aspect_ratio",),
        "choice": (size.send or "image_size",),
        "none": (),
    }
    return members[size.style]


def _check_drawn_sizes(document: Document, route: Route, path: Path) -> None:
    """What a pipeline draws itself: sizes, the route's default one first."""
    sizes = route.pipeline.sizes if route.pipeline is not None else ()
    for index, size in enumerate(sizes):
        if parse_size(size) is None:
            raise document.error(
                f'{size!r} is no size; write "256x256" (pixels)', (*path, "pipeline", "sizes", index)
            )
    if sizes and sizes[0] != route.size.default:
        raise document.error(
            f"the first is the model's default size, {route.size.default}", (*path, "pipeline", "sizes", 0)
        )


def _check_size(document: Document, size: SizeRule, path: Path) -> None:
    if size.style == "none":
        return
    default = parse_size(size.default or "")
    if default is None:
        raise document.error('size.default is missing: give it as "1024x1024" (pixels)', path)
    if size.style == "choice" and size.default not in size.choices:
        raise document.error(f"the default {size.default} is none of the choices", path)
    if size.choices:
        return
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
    if name in FOLDED:
        raise document.error(f"a route takes {FOLDED[name]} in its place", path)
    if not rule.native and rule.type is not None:
        raise document.error("the vocabulary types it: `type` is for native parameters", path)
    if rule.shape == "loras" and name != "loras":
        raise document.error("the shape `loras` is of the parameter loras alone", path)
    _check_limits(document, rule, rule.type if rule.native else catalogue.vocabulary[name].type, path)
    if rule.default is not None:
        _check_default(document, catalogue, name, rule, path)


def _check_limits(document: Document, rule: ParameterRule, kind: str | None, path: Path) -> None:
    if kind not in ("integer", "number", "loras") and (rule.min is not None or rule.max is not None):
        raise document.error("min and max are of numbers alone, and of the scale of loras", path)
    if kind not in ("string", "ratio", "integer") and rule.enum:
        raise document.error("enum is of text, ratios and integers alone", path)
    if kind == "integer" and not all(re.fullmatch("-?[0-9]{1,15}", value) for value in rule.enum):
        raise document.error("the enum of an integer holds integers", (*path, "enum"))


def _check_default(
    document: Document, catalogue: Catalogue, name: str, rule: ParameterRule, path: Path
) -> None:
    try:
        value = (
            read_native(rule, rule.default)
            if rule.native
            else read_value(catalogue.vocabulary[name], rule.default)
        )
    except BadValue as bad:
        raise document.error(f"its default does not fit: {bad.message}", (*path, "default")) from bad
    limited = [lora.scale for lora in value] if name == "loras" else [value]
    low = rule.min is None or min(limited) >= rule.min
    high = rule.max is None or max(limited) <= rule.max
    if not (low and high) or (rule.enum and str(value) not in rule.enum):
        raise document.error("its default is not a value that it takes", (*path, "default"))
