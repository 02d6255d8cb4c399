"""`-p NAME=VALUE`: inputs that have no option of their own."""

import json
from typing import Any

import rich_click as click

__all__ = ["read_params"]


def read_params(pairs: tuple[str, ...]) -> dict[str, Any]:
    """By name; a value that is JSON as what it says, any other as text."""
    read: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise click.UsageError(f"-p {pair!r}: write it as NAME=VALUE")
        try:
            read[name] = json.loads(text, parse_constant=_no_constant)
        except ValueError:
            read[name] = text
    return read


def _no_constant(text: str) -> None:
    raise ValueError(f"{text} is no JSON")
