"""The sandbox of `overlay.svg.jinja`: strict, and what a variable holds is always text."""

import re
from typing import Any

import jinja2
from jinja2 import meta, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from templates import locales
from templates.errors import TemplateError

__all__ = ["WORDS", "Overlay", "compile_overlay"]

Overlay = jinja2.Template

WORDS = frozenset(
    (
        *("text", "measure", "picture", "scene", "out", "w", "h", "u", "safe", "rtl", "locale", "values"),
        *("mix", "dark", "readable", "contrast", "product"),
    )
)
"""Names that an overlay finds beside the template's variables; a variable of the same name is in `values`."""
NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def overlay_environment() -> jinja2.Environment:
    """The sandbox of overlays: strict, and what a variable holds is always text."""
    env = ImmutableSandboxedEnvironment(
        undefined=jinja2.StrictUndefined,
        autoescape=True,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.filters.update(locales.FILTERS)
    for name in ("safe", "tojson", "xmlattr", "urlize"):
        del env.filters[name]
    return env


def compile_overlay(source: str, variables: frozenset[str] | None = None) -> Overlay:
    """An overlay from its source.

    Args:
        source: of `overlay.svg.jinja`.
        variables: the names that it may use beside those of the canvas; any, by default.

    Raises:
        TemplateError: it is no Jinja, would turn the escaping off, or uses another name.
    """
    env = overlay_environment()
    try:
        tree = env.parse(source)
        # What is set in one branch of an `if` counts as undeclared there, although it is the overlay's own.
        own = {name.name for name in tree.find_all(nodes.Name) if name.ctx == "store"}
        unknown = meta.find_undeclared_variables(tree) - env.globals.keys() - WORDS - own
        if tree.find(nodes.EvalContextModifier) is not None:
            raise TemplateError("the escaping of an overlay stays on")
        overlay = env.from_string(source)
    except jinja2.TemplateError as error:
        raise TemplateError(str(error)) from error
    if variables is not None and unknown - variables:
        raise TemplateError(f"there is no variable {min(unknown - variables)!r}")
    return overlay


def _finalize(value: Any) -> Any:
    """What `{{ }}` prints: nothing for None, and no character that XML does not have."""
    if value is None:
        return ""
    return NOT_XML.sub("", value) if type(value) is str else value
