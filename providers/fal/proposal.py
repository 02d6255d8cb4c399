"""Proposes registry rows for one of fal's endpoints: text that a person pastes into models.yaml. Pure.

What fal's documents say is written as it is. What they do not say (names, what callers pay, what a price
depends on, intents) is marked `decide`; a price that is not known is written so that the registry does not
load before it is filled in.
"""

import re
from decimal import Decimal
from typing import Any

import yaml

from providers.fal.catalogue import Known
from providers.fal.openapi import EndpointSchema
from providers.fal.price_diff import SECONDS, UNITS, UnitPrice
from providers.fal.proposal_fields import Parameter, propose_parameters
from providers.fal.proposal_size import propose_size
from registry.inputs import FEATURE_WORDS
from registry.schema import Catalogue

__all__ = ["TO_FILL_IN", "propose"]

TO_FILL_IN = "FILL IN"
"""Stands where a price is not known: no number, so that the registry does not load with it."""
PRICED_BY = (
    "resolution", "quality", "rendering_speed", "style", "enable_web_search", "thinking_level",
    "upscale_factor", "max_images", "use_turbo",
)  # fmt: skip
"""Fields that a price of fal's depends on, at some endpoint or other."""
PAGE = "https://fal.ai/models/{}"
TYPICAL_SECONDS = Decimal(3)


def propose(data: Catalogue, schema: EndpointSchema, known: Known, provider: str) -> str:
    """The rows of a dialect and of a model, in YAML with comments.

    Args:
        data: the registry that they are to be pasted into.
        schema: the endpoint's.
        known: what else fal says of it.
        provider: the registry's name of fal.
    """
    size = propose_size(schema)
    parameters = propose_parameters(schema, data.vocabulary, size.taken)
    name = _name(data, schema.endpoint)
    return "\n".join(
        [
            *_head(data, schema, known),
            "",
            "dialects:",
            f"  {name}:",
            *(f"    # {note}" for note in size.notes),
            f"    size: {_flow(size.row)}",
            "    parameters:",
            *(line for one in parameters for line in _parameter(one)),
            "",
            "models:",
            *_model(schema, known, parameters, name, provider),
            "",
            "# decide: intents. To let a need choose it, add its name to the models of one, best first:",
            f"# {', '.join(data.intents)}",
            "",
        ]
    )


def _head(data: Catalogue, schema: EndpointSchema, known: Known) -> list[str]:
    said = ", ".join(word for word in (known.title, known.category or schema.category, known.status) if word)
    there = [
        model.id
        for model in data.models.values()
        if any(route.endpoint == schema.endpoint for route in model.routes)
    ]
    return [
        f"# {_plain(schema.endpoint)}{f' ({_plain(said)})' if said else ''}, from fal's own documents.",
        "# Paste each row under the section of the same name, go through the lines with `decide`, then run",
        "# `gateway registry check FILE` and `gateway registry check FILE --live`.",
        *(["# fal calls it deprecated: it may go."] if known.status == "deprecated" else []),
        *([f"# The registry has it already: {', '.join(dict.fromkeys(there))}."] if there else []),
    ]


def _parameter(one: Parameter) -> list[str]:
    notes = "; ".join(_plain(note) for note in one.notes)
    if one.rule is None:
        decide = "decide: required by fal, and " if one.required else ""
        return [f"      # {decide}left out: {_plain(one.field)} ({notes})"]
    return [f"      {_scalar(one.word)}: {_flow(one.rule)}" + (f"  # {notes}" if notes else "")]


def _model(
    schema: EndpointSchema, known: Known, parameters: tuple[Parameter, ...], name: str, provider: str
) -> list[str]:
    required = [
        one.word for one in parameters if one.required and one.rule is not None and "native" not in one.rule
    ]
    when = [feature for feature, word in FEATURE_WORDS.items() if word in required]
    words = {one.word for one in parameters if one.rule is not None}
    cost, note = _cost(known.price)
    return [
        f"  {name}:  # decide: the name that callers use; `aliases` for others",
        f"    description: {_scalar(known.title or name)}  # decide: one line for people",
        f"    tasks: {_flow(_tasks(known.category or schema.category, when, words))}  # decide",
        *([] if required == ["prompt"] else [f"    required: {_flow(required)}"]),
        "    # decide: what callers pay. This is what fal bills, with nothing on top.",
        f"    price: {_flow(cost)}",
        *_rates(schema),
        "    routes:",
        *([f"      - when: {_flow(when)}"] if when else []),
        f"      {' ' if when else '-'} provider: {_scalar(provider)}",
        f"        endpoint: {_scalar(schema.endpoint)}",
        f"        dialect: {name}",
        *([f"        # {note}"] if note else []),
        f"        provider_cost: {_flow(cost)}",
    ]


def _tasks(category: str, when: list[str], words: set[str]) -> list[str]:
    known = ("text-to-image", "image-to-image")
    tasks = [category] if category in known else ["image-to-image" if "image" in when else "text-to-image"]
    return tasks + (["inpainting"] if "mask_url" in words else [])


def _rates(schema: EndpointSchema) -> list[str]:
    priced = [name for name in PRICED_BY if name in schema.fields]
    if not priced:
        return []
    return [
        f"    # decide: rates. fal's list has one number; the price may depend on {', '.join(priced)}:",
        f"    # see {PAGE.format(_plain(schema.endpoint))}, and docs/registry.md on `rates`.",
    ]


def _cost(price: UnitPrice | None) -> tuple[dict[str, str], str]:
    """A `provider_cost`, and what is to be said of it."""
    if price is None:
        return {"per_image": TO_FILL_IN}, "decide: fal named no price (its list needs FAL_KEY); see its page"
    unit = UNITS.get(price.unit)
    if unit is None or price.currency != "USD":
        said = f"{price.amount:f} {price.currency} per {price.unit or 'unit'}"
        return {
            "per_image": TO_FILL_IN
        }, f"decide: fal bills {_plain(said)}, which has no word here; see its page"
    cost = {unit: f"{price.amount:f}"}
    if unit in SECONDS:
        return cost | {"typical_seconds": str(TYPICAL_SECONDS)}, "decide: how many seconds a picture takes"
    return cost, ""


def _name(data: Catalogue, endpoint: str) -> str:
    """A name for the model and its dialect that the registry does not have yet."""
    short = re.sub(r"[^a-z0-9.]+", "-", endpoint.partition("/")[2].lower()).strip("-.") or "model"
    taken = {*data.dialects}
    taken |= {name for model in data.models.values() for name in (model.id, *model.aliases)}
    name, number = short, 2
    while name in taken:
        name, number = f"{short}-{number}", number + 1
    return name


def _flow(value: Any) -> str:
    """A mapping or a list on one line."""
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=1 << 20, allow_unicode=True)
    return text.strip()


def _scalar(text: str) -> str:
    return yaml.safe_dump(text, width=1 << 20, allow_unicode=True).removesuffix("\n...\n").strip()


def _plain(text: str) -> str:
    """A vendor's words as they may stand in a comment: one line, without control characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
