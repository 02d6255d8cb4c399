"""One value against one row of the vocabulary: its type, its limits, its other spellings."""

import math
import re
import sys
from collections.abc import Callable
from typing import Any, TypeVar

from registry.inputs import Lora
from registry.schema import ParameterRule, Term
from registry.sizes import parse_ratio, parse_size

__all__ = ["BadValue", "read_native", "read_value"]

T = TypeVar("T")

REFERENCE_FORMS = "an https:// URL, a data: URL, an s3:// URL or an upload id (upl_...)"
MAX_REFERENCES = 16
# Half of a surrogate pair cannot be written as UTF-8: stored, sent or answered.
NOT_UNICODE = re.compile("[\ud800-\udfff]")
NOT_IN_REFERENCE = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")
SHOWN = 80
MAX_INTEGER = (1 << 63) - 1  # JSON writers stop there


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
    enum = rule.enum if kind == "string" else ()
    term = Term(type=kind, about=rule.about, enum=enum, min=rule.min, max=rule.max)
    return READERS[kind](term, value)


def _wrong_type(value: Any, wanted: str) -> BadValue:
    names = {bool: "a boolean", int: "an integer", float: "a number", str: "text", list: "a list"}
    return BadValue("wrong_type", f"expected {wanted}, got {names.get(type(value), 'an object')}", wanted)


def _string(term: Term, value: Any) -> str:
    if not isinstance(value, str):
        raise _wrong_type(value, "text")
    stripped = value.strip()
    text = term.values.get(stripped, term.values.get(stripped.lower(), stripped))
    if "\x00" in text:
        raise BadValue("not_allowed", "holds a NUL character", "text without control codes")
    if NOT_UNICODE.search(text):
        raise BadValue("not_allowed", "holds half of a surrogate pair", "Unicode text")
    if term.max_length is not None and len(text) > term.max_length:
        message = f"{len(text)} characters are more than {term.max_length}"
        raise BadValue("out_of_range", message, f"at most {term.max_length} characters")
    if term.enum and text not in term.enum:
        raise BadValue("not_allowed", f"{_shown(text)} is not allowed", ", ".join(term.enum))
    return text


def _shown(value: Any) -> str:
    """A value for a message: short, whatever was sent."""
    if isinstance(value, int) and abs(value) >= 10**SHOWN:
        return "a number of that size"  # Python refuses to write very long ones
    text = repr(value)
    return text if len(text) <= SHOWN else text[:SHOWN] + "..."


def _limits(term: Term, value: float) -> None:
    low = -math.inf if term.min is None else term.min
    high = math.inf if term.max is None else term.max
    # Infinity, and an integer that no float can hold, fit nothing, limits or not.
    if not low <= value <= high or abs(value) > sys.float_info.max:
        bounds = [f"at least {low}"] * (term.min is not None) + [f"at most {high}"] * (term.max is not None)
        allowed = " and ".join(bounds) or "a finite number"
        raise BadValue("out_of_range", f"{_shown(value)} is out of range", allowed)


def _integer(term: Term, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise _wrong_type(value, "an integer")
    _limits(term, value)
    if abs(value) > MAX_INTEGER:
        raise BadValue("out_of_range", f"{_shown(value)} is out of range", f"at most {MAX_INTEGER}")
    return value


def _number(term: Term, value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise _wrong_type(value, "a number")
    _limits(term, value)
    return float(value) + 0.0  # -0.0 becomes 0.0


def _boolean(term: Term, value: Any) -> bool:
    if not isinstance(value, bool):
        raise _wrong_type(value, "true or false")
    return value


def _reference(term: Term, value: Any) -> str:
    if not isinstance(value, str):
        raise _wrong_type(value, REFERENCE_FORMS)
    if not value.startswith(("https://", "http://", "data:", "s3://", "upl_")):
        raise BadValue("invalid_reference", "cannot be read from there", REFERENCE_FORMS)
    if NOT_IN_REFERENCE.search(value):
        raise BadValue("invalid_reference", "holds a control character", REFERENCE_FORMS)
    return value


def _references(term: Term, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not value:
        raise _wrong_type(value, "a list of references")
    if len(value) > MAX_REFERENCES:
        raise BadValue("out_of_range", f"{len(value)} references", f"at most {MAX_REFERENCES}")
    return tuple(_inside(_reference, term, item, f"/{index}") for index, item in enumerate(value))


def _loras(term: Term, value: Any) -> tuple[Lora, ...]:
    wanted = 'a list of {"url": "...", "scale": 1.0}'
    if not isinstance(value, list) or not value:
        raise _wrong_type(value, wanted)
    if len(value) > MAX_REFERENCES:
        raise BadValue("out_of_range", f"{len(value)} LoRAs", f"at most {MAX_REFERENCES}")
    return tuple(_lora(item, f"/{index}") for index, item in enumerate(value))


def _lora(item: Any, at: str) -> Lora:
    if not isinstance(item, dict) or not {"url"} <= item.keys() <= {"url", "scale"}:
        raise BadValue("wrong_type", "not a LoRA", '{"url": "...", "scale": 1.0}', at)
    scale = Term(type="number", about="", min=-4, max=4)
    return Lora(
        url=_inside(_reference, scale, item["url"], f"{at}/url"),
        scale=_inside(_number, scale, item.get("scale", 1.0), f"{at}/scale"),
    )


def _inside(read: Callable[[Term, Any], T], term: Term, value: Any, at: str) -> T:
    """Read a part of a value; a fault says where in the value it is."""
    try:
        return read(term, value)
    except BadValue as bad:
        raise BadValue(bad.code, bad.message, bad.allowed, at) from bad


def _size(term: Term, value: Any) -> tuple[int, int]:
    if isinstance(value, dict) and value.keys() == {"width", "height"}:
        edge = Term(type="integer", about="", min=1, max=99999)
        width = _inside(_integer, edge, value["width"], "/width")
        return width, _inside(_integer, edge, value["height"], "/height")
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
