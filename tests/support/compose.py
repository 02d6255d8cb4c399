"""Reads a compose file as Docker Compose would: YAML with its merges, then the variables."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

__all__ = ["MissingVariableError", "env_file", "interpolated", "read_compose", "variables_of"]

VARIABLE = re.compile(r"\$(?:\$|\{)")
NAMED = re.compile(r"(\w+)(:?[-?])?")


class MissingVariableError(Exception):
    """`${NAME:?message}` has no value."""


def read_compose(path: Path, env: Mapping[str, str]) -> dict[str, Any]:
    """The file's document, with its variables' values in it."""
    found: dict[str, Any] = _each(yaml.safe_load(path.read_text()), lambda text: interpolated(text, env))
    return found


def variables_of(path: Path) -> set[str]:
    """The names of all variables that it asks for."""
    asked: set[str] = set()

    def look(text: str) -> str:
        return interpolated(text.replace(":?", ":-"), _Nothing(asked))

    _each(yaml.safe_load(path.read_text()), look)
    return asked


class _Nothing(dict[str, str]):
    """Has no value, so that each default is looked at too, and notes what was asked for."""

    def __init__(self, asked: set[str]) -> None:
        super().__init__()
        self._asked = asked

    def get(self, name: str, default: Any = None) -> Any:
        self._asked.add(name)
        return default


def env_file(text: str) -> dict[str, str]:
    """What a file like `.env` sets."""
    lines = (line.strip() for line in text.splitlines())
    pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
    return {name: value for name, _, value in pairs}


def interpolated(text: str, env: Mapping[str, str]) -> str:
    """The text with `${NAME}`, `${NAME:-else}`, `${NAME-else}`, `${NAME:?why}` and `$$` filled in.

    Raises:
        MissingVariableError: one that is needed has no value.
        ValueError: it is written otherwise.
    """
    out, rest = "", text
    while found := VARIABLE.search(rest):
        out += rest[: found.start()]
        if found[0] == "$$":
            out, rest = out + "$", rest[found.end() :]
            continue
        end = _closing(rest, found.end())
        out, rest = out + _value(rest[found.end() : end], env), rest[end + 1 :]
    if "$" in rest:
        raise ValueError(f"{text!r}: write ${{NAME}}, or $$ for a dollar")
    return out + rest


def _value(inner: str, env: Mapping[str, str]) -> str:
    found = NAMED.match(inner)
    if found is None or (found[2] is None and found.end() != len(inner)):
        raise ValueError(f"${{{inner}}}")
    value, how, rest = env.get(found[1]), found[2] or "", inner[found.end() :]
    if value is not None and (value or not how.startswith(":")):
        return value
    if how.endswith("?"):
        raise MissingVariableError(f"{found[1]}: {rest}")
    return interpolated(rest, env)


def _closing(text: str, start: int) -> int:
    depth = 1
    for at in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[at], 0)
        if depth == 0:
            return at
    raise ValueError(f"{text!r} is not closed")


def _each(node: Any, change: Any) -> Any:
    if isinstance(node, dict):
        return {key: _each(value, change) for key, value in node.items()}
    if isinstance(node, list):
        return [_each(value, change) for value in node]
    return change(node) if isinstance(node, str) else node
