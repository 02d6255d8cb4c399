"""The plain values that settings have."""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from pathlib import Path

__all__ = ["SettingsError", "dollars", "integer", "listed", "one_of", "path", "seconds"]


class SettingsError(Exception):
    """A setting has a value that cannot be used; the message says which and what would be right."""


def integer(values: Mapping[str, str], name: str, low: int, high: int) -> int:
    """A whole number within bounds.

    Raises:
        SettingsError: it is none.
    """
    text = values[name]
    if not text.isdecimal() or len(text) > 9 or not low <= int(text) <= high:
        raise SettingsError(f"{name}={text!r} must be a whole number from {low} to {high}")
    return int(text)


def seconds(values: Mapping[str, str], name: str, low: float = 0) -> float:
    """Seconds, up to a day.

    Raises:
        SettingsError: it is none.
    """
    try:
        found = float(values[name])
    except ValueError:
        found = -1
    if not low <= found <= 86_400:
        raise SettingsError(f"{name}={values[name]!r} must be seconds, from {low} to 86400")
    return found


def dollars(values: Mapping[str, str], name: str) -> Decimal | None:
    """US dollars, more than 0; None where nothing is said.

    Raises:
        SettingsError: it is none.
    """
    if not values[name]:
        return None
    try:
        found = Decimal(values[name])
    except InvalidOperation:
        found = Decimal(0)
    if not found.is_finite() or found <= 0:
        raise SettingsError(f"{name}={values[name]!r} must be US dollars, more than 0")
    return found


def one_of(values: Mapping[str, str], name: str, allowed: tuple[str, ...]) -> str:
    """One of the words that are allowed.

    Raises:
        SettingsError: it is none.
    """
    if values[name] not in allowed:
        raise SettingsError(f"{name}={values[name]!r} must be one of {', '.join(allowed)}")
    return values[name]


def path(values: Mapping[str, str], name: str) -> Path | None:
    """A path, made absolute; None where nothing is said."""
    return Path(values[name]).expanduser().absolute() if values[name] else None


def listed(text: str) -> tuple[str, ...]:
    """What stands between commas."""
    return tuple(item.strip() for item in text.split(",") if item.strip())
