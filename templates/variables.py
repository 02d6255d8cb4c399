"""The variables of a template: their types and limits, what a caller gave, and their JSON Schema."""

import re
from collections.abc import Callable, Mapping
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any, Literal

from babel import Locale, UnknownLocaleError
from babel.numbers import is_currency
from msgspec import Struct

from registry.errors import Fault, InvalidInputs, pointer
from registry.schema import Term
from registry.values import REFERENCE_FORMS, BadValue, read_value

__all__ = ["Kind", "Variable", "blank", "read_variables", "variables_schema"]

Kind = Literal[
    "string",
    "integer",
    "number",
    "boolean",
    "image",
    "lora",
    "color",
    "money",
    "date",
    "locale",
    "currency",
]
COLOR = re.compile(r"#(?:[0-9a-fA-F]{3}|[0-9a-fA-F]{6})")
LOCALE = re.compile(r"[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]{2,8}){0,3}")
MONEY = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,4})?")
COLOR_FORMS = '"#0b5fff" or "#05f"'
LOCALE_FORMS = 'a language, with a country where that matters: "en", "de-AT", "zh-Hant"'
MONEY_FORMS = 'an amount from 0 to 999999999.9999: "19.99"'
DATE_FORMS = 'a day: "2026-12-24"'
CURRENCY_FORMS = 'a code of ISO 4217: "EUR"'


class Variable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One variable of a template, as `template.yaml` writes it.

    Raises:
        ValueError: the default is not a value of the type, or there is one although it is
            required; a limit that its type does not have.
    """

    type: Kind
    about: str
    required: bool = False
    default: str | int | float | bool | None = None
    max_length: int | None = None
    """Characters; of a string alone."""
    enum: tuple[str, ...] = ()
    """What may be said; of a string alone."""
    min: float | None = None
    max: float | None = None
    """Of an integer, a number, money."""

    def __post_init__(self) -> None:
        if self.type != "string" and (self.max_length is not None or self.enum):
            raise ValueError("a length and an enum are of a string alone")
        if self.type not in ("integer", "number", "money") and (self.min, self.max) != (None, None):
            raise ValueError(f"a {self.type} has no min and max")
        if self.default is None:
            return
        if self.required:
            raise ValueError("a required variable has no default")
        try:
            self.read(self.default)
        except BadValue as bad:
            raise ValueError(f"the default does not fit: {bad.message}") from bad

    def read(self, value: Any) -> Any:
        """The value, typed: money as a Decimal, a day as a date, a colour as `#rrggbb`.

        Raises:
            BadValue: it does not fit.
        """
        return _READERS[self.type](self, value)

    def schema(self) -> dict[str, Any]:
        """Its JSON Schema."""
        found = {**_SCHEMAS[self.type], "description": self.about}
        limits = {
            "maxLength": self.max_length,
            "enum": list(self.enum) or None,
            "minimum": self.min if self.type != "money" else None,
            "maximum": self.max if self.type != "money" else None,
            "default": self.default,
        }
        return found | {name: limit for name, limit in limits.items() if limit is not None}


def blank(value: Any) -> bool:
    """Whether a value is as good as none."""
    return value is None or (isinstance(value, str) and not value.strip())


def read_variables(
    rows: Mapping[str, Variable], given: Mapping[str, Any], template: str
) -> tuple[dict[str, Any], frozenset[str]]:
    """The value of each variable, None where there is none; and which of them the caller gave.

    Raises:
        InvalidInputs: unknown, missing or wrong variables, each by JSON pointer.
    """
    faults = [
        Fault(
            pointer=pointer("variables", name),
            code="unknown_variable",
            message=f"{template} has no variable {name!r}",
            allowed=", ".join(rows),
        )
        for name in given
        if name not in rows
    ]
    values: dict[str, Any] = {}
    for name, variable in rows.items():
        at = pointer("variables", name)
        value = given.get(name)
        if blank(value):
            values[name] = None if variable.default is None else variable.read(variable.default)
            if variable.required:
                message = f"{template} needs {name}"
                faults.append(Fault(pointer=at, code="missing", message=message, allowed=variable.about))
            continue
        try:
            values[name] = variable.read(value)
        except BadValue as bad:
            faults.append(
                Fault(pointer=at + bad.inside, code=bad.code, message=bad.message, allowed=bad.allowed)
            )
    if faults:
        raise InvalidInputs(faults)
    return values, frozenset(name for name in rows if not blank(given.get(name)))


def variables_schema(rows: Mapping[str, Variable]) -> dict[str, Any]:
    """The JSON Schema of a template's `variables`."""
    return {
        "type": "object",
        "properties": {name: variable.schema() for name, variable in rows.items()},
        "required": [name for name, variable in rows.items() if variable.required],
        "additionalProperties": False,
    }


# -- the types ------------------------------------------------------------------------


def _of_registry(variable: Variable, value: Any) -> Any:
    """The types that the registry's vocabulary has too."""
    term = Term(
        type="reference" if variable.type in ("image", "lora") else variable.type,  # type: ignore[arg-type]
        about=variable.about,
        max_length=variable.max_length,
        enum=variable.enum,
        min=variable.min,
        max=variable.max,
    )
    return read_value(term, value)


def _text(value: Any, pattern: re.Pattern[str], forms: str) -> str:
    if not isinstance(value, str):
        raise BadValue("wrong_type", "expected text", forms)
    found = value.strip()
    if not pattern.fullmatch(found):
        raise BadValue("not_allowed", f"{found[:40]!r} is not allowed", forms)
    return found


def _color(variable: Variable, value: Any) -> str:
    found = _text(value, COLOR, COLOR_FORMS).lower()
    return found if len(found) == 7 else "#" + "".join(digit * 2 for digit in found[1:])


def _money(variable: Variable, value: Any) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise BadValue("wrong_type", "expected an amount", MONEY_FORMS)
    written = value.strip() if isinstance(value, str) else str(value)
    if not MONEY.fullmatch(written):
        raise BadValue("not_allowed", f"{written[:40]!r} is no amount", MONEY_FORMS)
    try:
        amount = Decimal(written)
    except InvalidOperation as error:
        raise BadValue("not_allowed", f"{written[:40]!r} is no amount", MONEY_FORMS) from error
    low, high = variable.min, variable.max
    if (low is not None and amount < Decimal(str(low))) or (high is not None and amount > Decimal(str(high))):
        ends = (("at least", low), ("at most", high))
        words = [f"{word} {end:g}" for word, end in ends if end is not None]
        raise BadValue("out_of_range", f"{written} is out of range", " and ".join(words))
    return amount


def _date(variable: Variable, value: Any) -> date:
    if not isinstance(value, str):
        raise BadValue("wrong_type", "expected a day", DATE_FORMS)
    try:
        return date.fromisoformat(value.strip())
    except ValueError as error:
        raise BadValue("not_allowed", f"{value[:40]!r} is no day", DATE_FORMS) from error


def _locale(variable: Variable, value: Any) -> str:
    found = _text(value, LOCALE, LOCALE_FORMS).replace("_", "-")
    try:
        Locale.parse(found, sep="-")
    except (ValueError, UnknownLocaleError) as error:
        raise BadValue("not_allowed", f"{found!r} is no language that is known", LOCALE_FORMS) from error
    return found


def _currency(variable: Variable, value: Any) -> str:
    if not isinstance(value, str):
        raise BadValue("wrong_type", "expected text", CURRENCY_FORMS)
    found = value.strip().upper()
    if not is_currency(found):
        raise BadValue("not_allowed", f"{value[:40]!r} is no currency that is known", CURRENCY_FORMS)
    return found


_READERS: dict[str, Callable[[Variable, Any], Any]] = {
    "string": _of_registry,
    "integer": _of_registry,
    "number": _of_registry,
    "boolean": _of_registry,
    "image": _of_registry,
    "lora": _of_registry,
    "color": _color,
    "money": _money,
    "date": _date,
    "locale": _locale,
    "currency": _currency,
}
_SCHEMAS: dict[str, dict[str, Any]] = {
    "string": {"type": "string"},
    "integer": {"type": "integer"},
    "number": {"type": "number"},
    "boolean": {"type": "boolean"},
    "image": {"type": "string", "x-kind": "image", "examples": [REFERENCE_FORMS]},
    "lora": {"type": "string", "x-kind": "lora", "examples": [REFERENCE_FORMS]},
    "color": {"type": "string", "pattern": f"^{COLOR.pattern}$", "examples": ["#0b5fff"]},
    "money": {"type": ["string", "number"], "pattern": f"^{MONEY.pattern}$", "examples": ["19.99"]},
    "date": {"type": "string", "format": "date"},
    "locale": {"type": "string", "pattern": f"^{LOCALE.pattern}$", "examples": ["en", "de-AT"]},
    "currency": {"type": "string", "pattern": "^[A-Za-z]{3}$", "examples": ["EUR"]},
}
