"""A template: its variables turned into what its steps ask of the gateway.

Prompts are rendered in a sandbox, strict and without escaping: variables are data, never template source.
"""

from collections.abc import Callable, Mapping
from functools import cached_property
from importlib.resources.abc import Traversable
from typing import Any

import jinja2
from msgspec import Struct

from registry.sizes import SIZE_WORDS
from templates.errors import TemplateError
from templates.rows import Output, Step, TemplateRow
from templates.variables import blank, read_variables, variables_schema

__all__ = ["Request", "Run", "Sources", "Template"]


class Request(Struct, frozen=True, kw_only=True):
    """What a step asks for, in the gateway's vocabulary; of an edit and its like without the picture."""

    step: Step
    model: str | None
    intent: str | None
    inputs: dict[str, Any]


class Run(Struct, frozen=True, kw_only=True):
    """What a template makes of its variables."""

    values: dict[str, Any]
    """Of each variable; None where there is none."""
    requests: tuple[Request, ...]
    """In their order."""
    outputs: tuple[Output, ...]
    images: dict[str, str]
    """References to the caller's own pictures, by variable."""

    @property
    def language(self) -> str:
        """The language of its text."""
        return str(self.values.get("locale") or "en")


class Sources(Struct, frozen=True, kw_only=True):
    """A template's own Jinja, compiled."""

    prompts: dict[str, jinja2.Template]
    """By file."""
    overlay: jinja2.Template | None = None
    """What is laid over the scene; None: nothing is."""
    underlay: jinja2.Template | None = None
    """Shapes between the scene and the product; None: there are none."""


class Template:
    """One preset.

    Args:
        name: of its folder.
        row: its `template.yaml`.
        sources: compiles its Jinja, when that is first needed.
        folder: where it lies.
        version: of its files, the first digits of a SHA-256.
    """

    def __init__(
        self, name: str, row: TemplateRow, sources: Callable[[], Sources], folder: Traversable, version: str
    ) -> None:
        self.name = name
        self.row = row
        self.folder = folder
        self.version = version
        self._compile = sources

    @cached_property
    def sources(self) -> Sources:
        """Its Jinja, compiled once.

        Raises:
            TemplateError: it is none.
        """
        return self._compile()

    @property
    def overlay(self) -> jinja2.Template | None:
        """What is laid over the scene; None: nothing is."""
        return self.sources.overlay

    @property
    def underlay(self) -> jinja2.Template | None:
        """Shapes between the scene and the product; None: there are none."""
        return self.sources.underlay

    @property
    def schema(self) -> dict[str, Any]:
        """The JSON Schema of its variables."""
        return variables_schema(self.row.variables)

    @property
    def scene(self) -> str:
        """The step whose picture fills each output."""
        return self.row.scene or self.row.steps[-1].name

    def plan(self, variables: Mapping[str, Any], options: Mapping[str, Any]) -> Run:
        """What these variables ask for.

        Args:
            variables: as the caller gave them.
            options: the caller's parameters; one of them in a step's fixed inputs wins, and one that asks for
                a size wins over all those that do.

        Raises:
            InvalidInputs: unknown, missing or wrong variables, each by JSON pointer.
            TemplateError: a prompt does something that the sandbox forbids.
        """
        values, given = read_variables(self.row.variables, variables, self.name)
        steps = [s for s in self.row.steps if set(s.when) <= given and not set(s.unless) & given]
        return Run(
            values=values,
            requests=tuple(self._request(step, values, given, options) for step in steps),
            outputs=tuple(output for output in self.row.outputs if set(output.when) <= given),
            images={
                name: values[name]
                for name, variable in self.row.variables.items()
                if variable.type == "image" and not blank(values[name])
            },
        )

    def _request(
        self, step: Step, values: Mapping[str, Any], given: frozenset[str], options: Mapping[str, Any]
    ) -> Request:
        use = next(
            use
            for use in step.use
            if set(use.when) <= given and all(str(values[name]) in may for name, may in use.if_.items())
        )
        asked = {name for name, value in options.items() if value is not None}
        if asked & {*SIZE_WORDS, "image_size"}:
            asked.update(SIZE_WORDS)
        # What the caller may ask for is of what is generated; the other steps take a picture as it is.
        fixed = {
            name: value for name, value in step.inputs.items() if name not in asked or step.do != "generate"
        }
        sent = {name: values[word] for name, word in step.send.items() if not blank(values[word])}
        prompt = {} if step.prompt_file is None else {"prompt": self._write(step.prompt_file, values)}
        return Request(step=step, model=use.model, intent=use.intent, inputs={**prompt, **fixed, **sent})

    def _write(self, file: str, values: Mapping[str, Any]) -> str:
        """A prompt, on one line."""
        try:
            return " ".join(self.sources.prompts[file].render(values).split())
        except (jinja2.TemplateError, TypeError, ValueError, ArithmeticError) as error:
            raise TemplateError(f"{file} of {self.name} cannot be rendered: {error}") from error

    def rehearse(self, samples: Mapping[str, Any]) -> None:
        """Render each prompt with what is required alone, and with every variable.

        Args:
            samples: a value of each variable.

        Raises:
            TemplateError: one cannot be rendered.
            InvalidInputs: a sample is no value of its variable.
        """
        required = {n: samples[n] for n, variable in self.row.variables.items() if variable.required}
        for given in (samples, required):
            values, _ = read_variables(self.row.variables, given, self.name)
            for file in self.sources.prompts:
                self._write(file, values)
