"""Loads templates and turns their variables into a request for the gateway.

A template is a folder: `template.yaml` (variables, which model, fixed inputs) and
`prompt.jinja`. Prompts are rendered in a sandbox, strict and without escaping: variables are
data, never template source.
"""

from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Literal

import jinja2
import msgspec
from jinja2 import meta
from jinja2.sandbox import ImmutableSandboxedEnvironment
from msgspec import Struct

from registry.document import Document
from registry.errors import Fault, InvalidInputs, RegistryError, pointer
from registry.schema import Term
from registry.sizes import SIZE_WORDS
from registry.values import BadValue, read_value

__all__ = ["Rendered", "Template", "TemplateError", "TemplateLibrary"]


class TemplateError(Exception):
    """A template folder cannot be used; the message names the file and what is wrong."""


class Variable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One variable of a template.

    Raises:
        ValueError: the default is not a value of the type, or there is one although it is
            required; a length of what is no text.
    """

    type: Literal["string", "integer", "number", "boolean", "reference"]
    about: str
    required: bool = False
    default: str | int | float | bool | None = None
    max_length: int | None = None
    """Characters; of text alone."""

    def __post_init__(self) -> None:
        self._term()
        if self.default is None:
            return
        if self.required:
            raise ValueError("a required variable has no default")
        try:
            self.read(self.default)
        except BadValue as bad:
            raise ValueError(f"the default does not fit: {bad.message}") from bad

    def read(self, value: Any) -> Any:
        """The value, typed.

        Raises:
            BadValue: it does not fit.
        """
        return read_value(self._term(), value)

    def _term(self) -> Term:
        return Term(type=self.type, about=self.about, max_length=self.max_length)


class Use(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which model or intent serves, when the caller gives these variables."""

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
            options: the caller's parameters; one of them in the template's fixed inputs wins,
                and one that asks for a size wins over all those that do.

        Raises:
            InvalidInputs: unknown, missing or wrong variables, each by JSON pointer.
            TemplateError: the prompt does something that the sandbox forbids.
        """
        values = self._read(variables)
        given = {name for name in self.row.variables if not _blank(variables.get(name))}
        use = next(use for use in self.row.use if set(use.when) <= given)
        asked = {name for name, value in options.items() if value is not None}
        if asked & {*SIZE_WORDS, "image_size"}:
            asked.update(SIZE_WORDS)
        fixed = {name: value for name, value in self.row.inputs.items() if name not in asked}
        sent = {name: values[word] for name, word in self.row.send.items() if values[word] != ""}
        return Rendered(
            model=use.model, intent=use.intent, inputs={"prompt": self._write(values), **fixed, **sent}
        )

    def _write(self, values: dict[str, Any]) -> str:
        """The prompt, on one line."""
        try:
            return " ".join(self._prompt.render(values).split())
        except (jinja2.TemplateError, TypeError, ValueError, ArithmeticError) as error:
            raise TemplateError(f"the prompt of {self.name} cannot be rendered: {error}") from error

    def rehearse(self) -> None:
        """Render once with what the template has of its own, and once with every variable given.

        Raises:
            TemplateError: the prompt cannot be rendered.
        """
        samples = {"integer": 1, "number": 1.0, "boolean": True, "reference": "upl_sample"}
        blank = {n: "" if v.default is None else v.default for n, v in self.row.variables.items()}
        self._write({n: samples.get(v.type, "sample") for n, v in self.row.variables.items()})
        required = {n: samples.get(v.type, "sample") for n, v in self.row.variables.items() if v.required}
        self._write({**blank, **required})

    def _read(self, variables: dict[str, Any]) -> dict[str, Any]:
        faults: list[Fault] = []
        values: dict[str, Any] = {}
        for name in (name for name in variables if name not in self.row.variables):
            known = ", ".join(self.row.variables)
            message = f"{self.name} has no variable {name!r}"
            at = pointer("variables", name)
            faults.append(Fault(pointer=at, code="unknown_variable", message=message, allowed=known))
        for name, variable in self.row.variables.items():
            at = pointer("variables", name)
            value = variables.get(name)
            if _blank(value):
                values[name] = "" if variable.default is None else variable.default
                if variable.required:
                    message = f"{self.name} needs {name}"
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
    where = str(folder.joinpath("template.yaml"))
    try:
        document = Document(folder.joinpath("template.yaml").read_text("utf-8"), where)
        row = msgspec.convert(document.data, TemplateRow)
        source = folder.joinpath("prompt.jinja").read_text("utf-8")
        words = meta.find_undeclared_variables(env.parse(source)) - env.globals.keys()
        prompt = env.from_string(source)
    except (OSError, UnicodeDecodeError, RegistryError, msgspec.ValidationError) as error:
        raise TemplateError(f"{where}: {error}") from error
    except jinja2.TemplateError as error:
        raise TemplateError(f"{folder.joinpath('prompt.jinja')}: {error}") from error
    problem = _problem(row, words)
    if problem is not None:
        raise TemplateError(f"{where}: {problem}")
    template = Template(name, row, prompt)
    try:
        template.rehearse()
    except TemplateError as error:
        raise TemplateError(f"{folder.joinpath('prompt.jinja')}: {error}") from error
    return template


def _blank(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _problem(row: TemplateRow, words: set[str]) -> str | None:
    """What the rows of a template say against one another."""
    if not row.use or row.use[-1].when:
        return "the last `use` serves always, so it has no `when`"
    if any((use.model is None) == (use.intent is None) for use in row.use):
        return "a `use` names a model or an intent"
    if "prompt" in (*row.inputs, *row.send):
        return "the prompt is prompt.jinja's"
    named = [*row.send.values(), *(name for use in row.use for name in use.when), *sorted(words)]
    unknown = next((name for name in named if name not in row.variables), None)
    return None if unknown is None else f"there is no variable {unknown!r}"
