"""From the fields of one of fal's endpoints to parameters of the registry. Pure.

What the vocabulary has a word for gets that word; what it has none for, and is a plain value, is native; the
rest is left out, and said to be.
"""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from providers.fal.openapi import EndpointSchema, Field, Shape
from providers.fal.schema_diff import UNUSED
from registry.inputs import FOLDED
from registry.schema import Term
from registry.sizes import SIZE_WORDS

__all__ = ["Parameter", "propose_parameters", "shape_of"]

SPELLINGS = {
    "image_urls": "image_url",
    "input_image_url": "image_url",
    "image_data_url": "image_url",
    "base_image_url": "image_url",
    "swap_image_url": "target_image_url",
    "mask_image_url": "mask_url",
    "ref_image_urls": "reference_image_urls",
    "enable_prompt_expansion": "optimize_prompt",
}
"""fal's names for words of the vocabulary, beside those that are aliases of it."""
SCALARS = ("string", "integer", "number", "boolean")
MOST_ABOUT = 80
STARTS = {"integer": 0, "number": 0, "boolean": False, "string": ""}


class Parameter(Struct, frozen=True, kw_only=True):
    """A proposed row, or why there is none."""

    field: str
    word: str
    rule: dict[str, Any] | None
    """As it is written; None = left out."""
    notes: tuple[str, ...] = ()
    required: bool = False


def propose_parameters(
    schema: EndpointSchema, vocabulary: Mapping[str, Term], taken: frozenset[str]
) -> tuple[Parameter, ...]:
    """A row for each field of an endpoint, in its order.

    Args:
        schema: the endpoint's.
        vocabulary: the registry's.
        taken: the fields that carry the size.
    """
    found: list[Parameter] = []
    used: set[str] = set()
    for field in schema.fields.values():
        if field.name in taken or field.name in UNUSED:
            continue
        word = _word(field.name, vocabulary)
        if word is None:
            one = _native(field, vocabulary)
        elif word in used:
            one = _left_out(field, f"{word} is sent as another field already")
        else:
            one = _worded(field, word, vocabulary[word])
        if one.rule is not None:
            used.add(one.word)
        found.append(one)
    return tuple(found)


def shape_of(field: Field, *kinds: str) -> Shape | None:
    """The first kind of value of a field that is one of these types."""
    return next((shape for kind in kinds for shape in field.shapes if shape.type == kind), None)


def _word(name: str, vocabulary: Mapping[str, Term]) -> str | None:
    """The word of the vocabulary that a field is, where routes take that word."""
    folded = {*SIZE_WORDS, *FOLDED}
    if name in vocabulary:
        return None if name in folded else name
    aliases = {alias: word for word, term in vocabulary.items() for alias in term.aliases}
    word = SPELLINGS.get(name) or aliases.get(name)
    return word if word in vocabulary and word not in folded else None


def _worded(field: Field, word: str, term: Term) -> Parameter:
    send = {} if field.name == word else {"send": field.name}
    notes: list[str] = []
    rule = _rule(field, term, notes)
    if rule is None:
        return _left_out(field, f"the vocabulary's {word} is a {term.type}, and this is not")
    if word == "num_images":
        rule["default"] = 1
    elif field.default is not None and isinstance(field.default, str | int | float) and field.default != "":
        notes.append(f"fal's default: {str(field.default)[:40]}")
    return Parameter(
        field=field.name, word=word, rule=send | rule, notes=tuple(notes), required=field.required
    )


def _rule(field: Field, term: Term, notes: list[str]) -> dict[str, Any] | None:
    """How a word is written for a field; None where the one cannot become the other."""
    text, array = shape_of(field, "string"), shape_of(field, "array")
    if term.type == "reference":
        return {} if text is not None else {"shape": "list"} if array is not None else None
    if term.type == "references":
        return {} if array is not None else None
    if term.type == "loras":
        return _loras(array)
    if term.type == "boolean":
        return {} if shape_of(field, "boolean") is not None else None
    if term.type == "string":
        return _text(field, text, term, notes)
    if term.type not in ("integer", "number"):
        return None
    number = shape_of(field, term.type, "number")
    if number is not None:
        limits = _limits(number, notes)
        # What is wider than the vocabulary's limits lets nothing more through.
        wide = {"min": term.min, "max": term.max}
        return {
            name: limit
            for name, limit in limits.items()
            if (own := wide[name]) is None or (limit > own if name == "min" else limit < own)
        }
    if text is not None and text.values and all(value.isdecimal() for value in text.values):
        return {"shape": "string", "enum": list(text.values)}
    return None


def _text(field: Field, shape: Shape | None, term: Term, notes: list[str]) -> dict[str, Any] | None:
    if shape is None:
        return None
    if not shape.values or any(s.type == "string" and not s.values for s in field.shapes):
        return {}
    kept = [value for value in shape.values if not term.enum or value in term.enum]
    if len(kept) < len(shape.values):
        notes.append(f"the vocabulary has not: {', '.join(v for v in shape.values if v not in kept)}")
    return {"enum": kept} if kept else None


def _loras(array: Shape | None) -> dict[str, Any] | None:
    item = next((shape for shape in array.items if "path" in shape.members), None) if array else None
    if item is None:
        return None
    scale = item.members.get("scale")
    number = shape_of(scale, "number", "integer") if scale is not None else None
    return {"shape": "loras"} | (_limits(number, []) if number is not None else {})


def _native(field: Field, vocabulary: Mapping[str, Term]) -> Parameter:
    shape = shape_of(field, *SCALARS)
    if shape is None:
        kind = field.shapes[0].type or "value of any type"
        return _left_out(field, f"it is an {kind}" if kind[0] in "aeiou" else f"it is a {kind}")
    spellings = {alias for term in vocabulary.values() for alias in term.aliases}
    if field.name in vocabulary or field.name in spellings:
        return _left_out(field, "the vocabulary has this name for something else")
    notes: list[str] = []
    kind = shape.type or "string"
    rule: dict[str, Any] = {"native": True, "type": kind}
    if (
        kind in ("string", "integer")
        and shape.values
        and all(s.values for s in field.shapes if s.type == kind)
    ):
        rule["enum"] = list(shape.values)
    elif kind in ("integer", "number"):
        rule |= _limits(shape, notes)
    if field.required:
        # The registry's `required` is of words: a native one is made sure of by a default.
        rule["default"] = rule["enum"][0] if "enum" in rule else rule.get("min", STARTS[kind])
        notes.append("decide: fal requires it; is this the default?")
    elif field.default not in (None, "", [], {}):
        notes.append(f"fal's default: {str(field.default)[:40]}")
    rule["about"] = _about(field)
    return Parameter(
        field=field.name, word=field.name, rule=rule, notes=tuple(notes), required=field.required
    )


def _limits(shape: Shape, notes: list[str]) -> dict[str, Any]:
    limits: dict[str, Any] = {}
    for name, limit, is_open, inward in (
        ("min", shape.low, shape.low_open, 0.01),
        ("max", shape.high, shape.high_open, -0.01),
    ):
        if limit is not None:
            limits[name] = round(limit + inward, 6) if is_open else limit
            if is_open:
                notes.append(f"decide: {name}; {limit} itself is not taken")
    return limits


def _about(field: Field) -> str:
    first = field.about.split(". ")[0].rstrip(".") or field.name.replace("_", " ")
    return first if len(first) <= MOST_ABOUT else first[: MOST_ABOUT - 3].rstrip() + "..."


def _left_out(field: Field, why: str) -> Parameter:
    return Parameter(field=field.name, word=field.name, rule=None, notes=(why,), required=field.required)
