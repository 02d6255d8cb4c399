"""Loads templates and turns their variables into a request for the gateway.

A template is a folder: `template.yaml` (variables, which model, fixed inputs) and
`prompt.jinja`. Prompts are rendered in a sandbox, strict and without escaping: variables are
data, never template source.
"""

from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import jinja2
import msgspec
from jinja2.sandbox import ImmutableSandboxedEnvironment
from msgspec import Struct

from registry.document import Document
from registry.errors import Fault, InvalidInputs, RegistryError, pointer
from registry.schema import Term
from registry.values import BadValue, read_value

__all__ = ["Rendered", "Template", "TemplateError", "TemplateLibrary"]


class TemplateError(Exception):
    """A template folder cannot be used; the message names the file and what is wrong."""


class Variable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One variable of a template."""

    type: str
    about: str
    required: bool = False
    default: str | None = None
    max_length: int | None = None


class Use(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which model or intent serves, when these variables are given."""

    when: tuple[str, ...] = ()
    model: str | None = None
    intent: str | None = None


class TemplateRow(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`template.yaml` as written."""

    title: str
    description: str
    use: tuple[Use, ...]
    variables: dict[str, Variable]
    inputs: dict[str, Any] = {}
    """Inputs that every request of this template has."""
    send: dict[str, str] = {}
    """Inputs filled from a variable: input name -> variable name."""


class Rendered(Struct, frozen=True, kw_only=True):
    """A request in the gateway's vocabulary."""

    model: str | None
    intent: str | None
    inputs: dict[str, Any]


class Template:
    """One preset."""

    def __init__(self, name: str, row: TemplateRow, prompt: jinja2.Template) -> None:
        self.name = name
        self.row = row
        self._prompt = prompt

    def render(self, variables: dict[str, Any], options: dict[str, Any]) -> Rendered:
        """The request that these variables make.

        Args:
            variables: as the caller gave them.
            options: the caller's parameters; one of them in the template's fixed inputs wins.

        Raises:
            InvalidInputs: unknown, missing or wrong variables, each by JSON pointer.
        """
        values = self._read(variables)
        given = {name for name, value in values.items() if value}
        use = next(use for use in self.row.use if set(use.when) <= given)
        fixed = {name: value for name, value in self.row.inputs.items() if name not in options}
        sent = {name: values[variable] for name, variable in self.row.send.items() if values[variable]}
        prompt = " ".join(self._prompt.render(values).split())
        return Rendered(model=use.model, intent=use.intent, inputs={"prompt": prompt, **fixed, **sent})

    def _read(self, variables: dict[str, Any]) -> dict[str, Any]:
        faults: list[Fault] = []
        values: dict[str, Any] = {}
        for name in variables.keys() - self.row.variables.keys():
            known = ", ".join(self.row.variables)
            message = f"{self.name} has no variable {name!r}"
            at = pointer("variables", name)
            faults.append(Fault(pointer=at, code="unknown_variable", message=message, allowed=known))
        for name, variable in self.row.variables.items():
            at = pointer("variables", name)
            value = variables.get(name)
            if value is None or value == "":
                values[name] = variable.default or ""
                if variable.required:
                    message = f"{self.name} needs {name}"
                    faults.append(Fault(pointer=at, code="missing", message=message, allowed=variable.about))
                continue
            term = msgspec.convert(
                {"type": variable.type, "about": variable.about, "max_length": variable.max_length}, Term
            )
            try:
                values[name] = read_value(term, value)
            except BadValue as bad:
                faults.append(
                    Fault(pointer=at + bad.inside, code=bad.code, message=bad.message, allowed=bad.allowed)
                )
        if faults:
            raise InvalidInputs(faults)
        return values


class TemplateLibrary:
    """Every template, by name."""

    def __init__(self, templates: dict[str, Template]) -> None:
        self.templates = templates

    @classmethod
    def load(cls, extra: Path | None = None) -> "TemplateLibrary":
        """The shipped templates and those of one more folder, whose names win.

        Raises:
            TemplateError: a folder cannot be used.
        """
        env = ImmutableSandboxedEnvironment(
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=False,
        )
        folders: dict[str, Traversable] = {}
        for root in (resources.files("templates").joinpath("library"), extra):
            if root is None:
                continue
            if not root.is_dir():
                raise TemplateError(f"{root} is no folder")
            folders.update({f.name: f for f in root.iterdir() if f.is_dir() and f.name[0].isalpha()})
        return cls({name: _load(name, folders[name], env) for name in sorted(folders)})


def _load(name: str, folder: Traversable, env: jinja2.Environment) -> Template:
    where = f"templates/{name}/template.yaml"
    try:
        document = Document(folder.joinpath("template.yaml").read_text("utf-8"), where)
        row = msgspec.convert(document.data, TemplateRow)
        prompt = env.from_string(folder.joinpath("prompt.jinja").read_text("utf-8"))
    except (OSError, RegistryError, msgspec.ValidationError, jinja2.TemplateError) as error:
        raise TemplateError(f"{where}: {error}") from error
    if not row.use or row.use[-1].when:
        raise TemplateError(f"{where}: the last `use` serves always, so it has no `when`")
    for variable in [*row.send.values(), *(name for use in row.use for name in use.when)]:
        if variable not in row.variables:
            raise TemplateError(f"{where}: there is no variable {variable!r}")
    return Template(name, row, prompt)
