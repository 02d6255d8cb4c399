"""A template in lines, for people."""

from collections.abc import Iterator
from typing import Any

from rich.console import RenderableType
from rich.markup import escape
from rich.text import Text

from gateway.cli.console import table

__all__ = ["lines_of", "price_words", "state_words"]

ENDS = (("at least", "minimum"), ("at most", "maximum"))


def price_words(one: dict[str, Any]) -> str:
    """What its example would cost."""
    return "-" if one["price"] is None else str(one["price"])


def state_words(one: dict[str, Any]) -> str:
    """Whether it can be run now."""
    return "ready" if one["available"] else f"not now: {one['unavailableBecause']}"


def lines_of(one: dict[str, Any]) -> Iterator[RenderableType]:
    """A template as `GET /api/templates/{name}` shows it: its title, variables, steps and files."""
    yield Text.assemble((one["title"], "bold"), f" ({one['name']}), {state_words(one)}")
    yield Text(one["description"])
    yield Text(f"its example costs {price_words(one)} {one['currency']}\n")
    yield _variables(one)
    if one["steps"]:
        yield Text()
        yield _steps(one["steps"])
    if one["outputs"]:
        yield Text()
        yield _outputs(one["outputs"])


def _variables(one: dict[str, Any]) -> RenderableType:
    rows = table("variable", "takes", "default", "about")
    for name, schema in one["variables"]["properties"].items():
        needed = name in one["variables"]["required"]
        default = "needed" if needed else str(schema.get("default", ""))
        cells = (name, _takes(schema), default, schema.get("description", ""))
        rows.add_row(*(escape(cell) for cell in cells), style="bold" if needed else "")
    return rows


def _takes(schema: dict[str, Any]) -> str:
    """What a variable may be: its values, or its type with its limits."""
    if "enum" in schema:
        return " | ".join(schema["enum"])
    kind = schema.get("x-kind") or schema.get("format") or schema["type"]
    words = kind if isinstance(kind, str) else " or ".join(kind)
    if "maxLength" in schema:
        return f"{words}, at most {schema['maxLength']} characters"
    limits = [f"{word} {schema[end]:g}" for word, end in ENDS if end in schema]
    if limits:
        return f"{words}, {' and '.join(limits)}"
    example = "" if "x-kind" in schema else next(iter(schema.get("examples", ())), "")
    return f"{words}, as {example}" if example else words


def _steps(steps: list[dict[str, Any]]) -> RenderableType:
    rows = table("step", "does", "with", "state", "about")
    for step in steps:
        uses = " or ".join(_use(use) for use in step["uses"])
        about = "left out where no model can do it" if step["optional"] else ""
        if step["onlyIf"] == "no-cutout":
            about = "only where the product cannot be cut out by rule"
        if step["when"]:
            about = f"only with {', '.join(step['when'])}"
        does = step["does"] + (f" of {step['of']}" if step["of"] else "")
        cells = (step["name"], does, uses, state_words(step), about)
        rows.add_row(*(escape(cell) for cell in cells))
    return rows


def _use(use: dict[str, Any]) -> str:
    what = use["model"] or f"intent {use['intent']}"
    where = [*use["when"], *(f"{name}: {'/'.join(may)}" for name, may in use["if"].items())]
    return what + (f" (with {', '.join(where)})" if where else "")


def _outputs(outputs: list[dict[str, Any]]) -> RenderableType:
    rows = table("output", "pixels", "format", "about")
    for output in outputs:
        when = f"only with {', '.join(output['when'])}" if output["when"] else ""
        about = "; ".join(part for part in (output["about"], when) if part)
        size = f"{output['width']} x {output['height']}"
        rows.add_row(*(escape(cell) for cell in (output["name"], size, output["format"], about)))
    return rows
