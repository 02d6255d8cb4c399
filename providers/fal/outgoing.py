"""What a route of the registry may send: each member of a payload, with the values let through. Pure.

The normalizer writes payloads by the same rows (`providers/normalizer.py`, `providers/sizing.py`); here they
are read without a request, for everything that some request could make of them.
"""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from registry.inputs import FEATURE_WORDS, FOLDED
from registry.schema import ParameterRule, Route, SizeRule, Term
from registry.sizes import SIZE_WORDS

__all__ = ["Outgoing", "outgoing"]

TERM_TYPES = {
    "string": "string",
    "ratio": "string",
    "reference": "string",
    "integer": "integer",
    "number": "number",
    "boolean": "boolean",
    "references": "array",
    "loras": "array",
}


class Outgoing(Struct, frozen=True, kw_only=True):
    """A member of what is sent."""

    name: str
    """The endpoint's own."""
    word: str
    """How the registry calls it: a word of the vocabulary, a native parameter, `size` or `constants`."""
    type: str
    """In JSON: string, integer, number, boolean, object, array."""
    values: tuple[str, ...] = ()
    """The only ones, as text; () = anything within the limits."""
    low: int | float | None = None
    high: int | float | None = None
    lowest: int | float | None = None
    """Of the vocabulary, for every model: a route cannot let through less."""
    highest: int | float | None = None
    step: int | None = None
    """Every value is a multiple of it."""
    longest: int | None = None
    """Characters of a text."""
    members: tuple["Outgoing", ...] = ()
    """Of an object."""
    item: "Outgoing | None" = None
    """Of an array."""
    always: bool = False
    """Every request of the route has it."""


def outgoing(route: Route, required: tuple[str, ...], vocabulary: Mapping[str, Term]) -> dict[str, Outgoing]:
    """The members that a route may send, by the endpoint's names.

    Args:
        route: of the registry.
        required: the inputs without which its model does not run.
        vocabulary: the registry's: a value passes it before it comes to the route.
    """
    needed = {FOLDED.get(name, name) for name in required}
    needed |= {FEATURE_WORDS[feature] for feature in route.when}
    found = [_constant(name, value) for name, value in route.constants.items()]
    found += _size(route, always="image" not in route.when or not needed.isdisjoint(SIZE_WORDS))
    for word, rule in route.parameters.items():
        always = word in needed or word == "seed" or rule.default is not None
        found.append(_parameter(word, rule, vocabulary.get(word), always=always))
    members: dict[str, Outgoing] = {}
    for member in found:
        # Two words may fill one list: it is there if either of them always is.
        if member.name not in members or not members[member.name].always:
            members[member.name] = member
    return members


def _parameter(word: str, rule: ParameterRule, term: Term | None, *, always: bool) -> Outgoing:
    name = rule.send or word
    kind = TERM_TYPES.get(term.type, "string") if term is not None else rule.type or "string"
    if rule.shape == "loras":
        path = Outgoing(name="path", word=word, type="string", always=True)
        scale = Outgoing(name="scale", word=word, type="number", low=rule.min, high=rule.max, always=True)
        item = Outgoing(name=name, word=word, type="object", members=(path, scale))
        return Outgoing(name=name, word=word, type="array", item=item, always=always)
    one = Outgoing(
        name=name,
        word=word,
        type="string" if rule.shape == "string" else kind,
        values=_values(rule, term),
        low=_tighter(max, rule.min, term.min if term is not None else None),
        high=_tighter(min, rule.max, term.max if term is not None else None),
        lowest=term.min if term is not None else None,
        highest=term.max if term is not None else None,
        longest=term.max_length if term is not None else None,
        always=always,
    )
    if kind == "array":  # references
        item = Outgoing(name=name, word=word, type="string")
        return Outgoing(name=name, word=word, type="array", item=item, always=always)
    if rule.shape == "list":
        return Outgoing(name=name, word=word, type="array", item=one, always=always)
    return one


def _values(rule: ParameterRule, term: Term | None) -> tuple[str, ...]:
    """What passes both: the vocabulary's values, then the route's."""
    of_term = term.enum if term is not None else ()
    if rule.enum and of_term:
        return tuple(value for value in rule.enum if value in of_term)
    return rule.enum or of_term


def _tighter(choose: Any, *limits: int | float | None) -> int | float | None:
    given = [limit for limit in limits if limit is not None]
    found: int | float | None = choose(given) if given else None
    return found


def _size(route: Route, *, always: bool) -> list[Outgoing]:
    """The members that carry the size; where an image is given and no size, they are not sent."""
    size = route.size
    if size.style == "image_size":
        edges = tuple(_edge(name, size, always=True) for name in ("width", "height"))
        return [Outgoing(name="image_size", word="size", type="object", members=edges, always=always)]
    if size.style == "width_height":
        return [_edge(name, size, always=always) for name in ("width", "height")]
    if size.style == "aspect_ratio":
        found = [
            Outgoing(name="aspect_ratio", word="size", type="string", values=size.choices, always=always)
        ]
        if size.resolutions:
            found.append(
                Outgoing(
                    name="resolution", word="size", type="string", values=size.resolutions, always=always
                )
            )
        return found
    if size.style == "none":
        return []
    name = size.send or ("image_size" if size.style == "choice" else "size")
    return [Outgoing(name=name, word="size", type="string", values=size.choices, always=always)]


def _edge(name: str, size: SizeRule, *, always: bool) -> Outgoing:
    step = size.multiple_of
    low, high = -(-size.min // step) * step, size.max // step * step
    return Outgoing(name=name, word="size", type="integer", low=low, high=high, step=step, always=always)


def _constant(name: str, value: Any) -> Outgoing:
    kinds = {str: "string", bool: "boolean", int: "integer", float: "number", list: "array"}
    scalar = isinstance(value, str | bool | int | float)
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return Outgoing(
        name=name,
        word="constants",
        type=kinds.get(type(value), "object"),
        values=(text,) if scalar else (),
        always=True,
    )
