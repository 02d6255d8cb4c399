"""One value against one row of the vocabulary: its type, its limits, its other spellings."""

import math
from collections.abc import Callable
from typing import Any

from registry.inputs import Lora
from registry.schema import ParameterRule, Term
from registry.sizes import parse_ratio, parse_size

__all__ = ["BadValue", "read_native", "read_value"]

REFERENCE_FORMS = "an https:// URL, a data: URL, an s3:// URL or an upload id (upl_...)"
MAX_REFERENCES = 16


class BadValue(Exception):
    """A value is not what its parameter takes.

    Args:
        code: `wrong_type`, `out_of_range`, `not_allowed` or `invalid_reference`.
        message: what is wrong.
        allowed: what would be right.
        inside: the rest of the JSON pointer when the fault is within the value.
    """

    def __init__(self, code: str, message: str, allowed: str, inside: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.allowed = allowed
        self.inside = inside


def read_value(term: Term, value: Any) -> Any:
    """The value, typed.

    Raises:
        BadValue: it does not fit the term.
    """
    return READERS[term.type](term, value)


def read_native(rule: ParameterRule, value: Any) -> Any:
    """The value of a parameter that only one endpoint has.

    Raises:
        BadValue: it does not fit the rule.
    """
    kind = rule.type or "string"
    term = Term(type=kind, about=rule.about, enum=rule.enum, min=rule.min, max=rule.max)
    return READERS[kind](term, value)


def _wrong_type(value: Any, wanted: str) -> BadValue:
    names = {bool: "a boolean", int: "an integer", float: "a number", str: "text", list: "a list"}
    return BadValue("wrong_type", f"expected {wanted}, got {names.get(type(value), 'an object')}", wanted)


def _string(term: Term, value: Any) -> str:
    if not isinstance(value, str):
        raise _wrong_type(value, "text")
    text = term.values.get(value, term.values.get(value.lower(), value))
    if "\x00" in text:
        raise BadValue("not_allowed", "holds a NUL character", "text without control codes")
    if term.max_length is not None and len(text) > term.max_length:
        message = f"{len(text)} characters are more than {term.max_length}"
        raise BadValue("out_of_range", message, f"at most {term.max_length} characters")
    if term.enum and text not in term.enum:
        raise BadValue("not_allowed", f"{text!r} is not allowed", ", ".join(term.enum))
    return text.strip() if not term.enum else text


def _limits(term: Term, value: float) -> None:
    low = -math.inf if term.min is None else term.min
    high = math.inf if term.max is None else term.max
    if not low <= value <= high:
        raise BadValue("out_of_range", f"{value} is out of range", f"{low} to {high}")


def _integer(term: Term, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise _wrong_type(value, "an integer")
    _limits(term, value)
    return value


def _number(term: Term, value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise _wrong_type(value, "a number")
    _limits(term, value)
    return float(value)


def _boolean(term: Term, value: Any) -> bool:
    if not isinstance(value, bool):
        raise _wrong_type(value, "true or false")
    return value


def _reference(term: Term, value: Any) -> str:
    if not isinstance(value, str):
        raise _wrong_type(value, REFERENCE_FORMS)
    if not value.startswith(("https://", "data:", "s3://", "upl_")):
        raise BadValue("invalid_reference", "cannot be read from there", REFERENCE_FORMS)
    return value


def _references(term: Term, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not value:
        raise _wrong_type(value, "a list of references")
    if len(value) > MAX_REFERENCES:
        raise BadValue("out_of_range", f"{len(value)} references", f"at most {MAX_REFERENCES}")
    read = []
    for index, item in enumerate(value):
        try:
            read.append(_reference(term, item))
        except BadValue as bad:
            raise BadValue(bad.code, bad.message, bad.allowed, f"/{index}") from bad
    return tuple(read)


def _loras(term: Term, value: Any) -> tuple[Lora, ...]:
    wanted = 'a list of {"url": "...", "scale": 1.0}'
    if not isinstance(value, list) or not value or len(value) > MAX_REFERENCES:
        raise _wrong_type(value, wanted)
    read = []
    for index, item in enumerate(value):
        if not isinstance(item, dict) or not {"url"} <= item.keys() <= {"url", "scale"}:
            raise BadValue("wrong_type", "not a LoRA", wanted, f"/{index}")
        scale = Term(type="number", about="", min=-4, max=4)
        try:
            read.append(Lora(url=_reference(term, item["url"]), scale=_number(scale, item.get("scale", 1.0))))
        except BadValue as bad:
            raise BadValue(bad.code, bad.message, bad.allowed, f"/{index}") from bad
    return tuple(read)


def _size(term: Term, value: Any) -> tuple[int, int]:
    if isinstance(value, dict) and value.keys() == {"width", "height"}:
        edge = Term(type="integer", about="", min=1, max=99999)
        return _integer(edge, value["width"]), _integer(edge, value["height"])
    size = parse_size(value) if isinstance(value, str) else None
    if size is None:
        raise BadValue("wrong_type", "not a size", '"1024x768", or {"width": 1024, "height": 768}')
    return size


def _ratio(term: Term, value: Any) -> str:
    ratio = parse_ratio(value) if isinstance(value, str) else None
    if ratio is None or not 0.05 <= ratio[0] / ratio[1] <= 20:
        raise BadValue("wrong_type", "not an aspect ratio", '"16:9"; from 1:20 to 20:1')
    return f"{ratio[0]}:{ratio[1]}"


READERS: dict[str, Callable[[Term, Any], Any]] = {
    "string": _string,
    "integer": _integer,
    "number": _number,
    "boolean": _boolean,
    "reference": _reference,
    "references": _references,
    "loras": _loras,
    "size": _size,
    "ratio": _ratio,
}
