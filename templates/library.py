"""Loads the templates' folders and checks them, as the registry is: what is wrong stops the start."""

import hashlib
from collections.abc import Iterable, Iterator
from functools import cache, lru_cache
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import jinja2
import msgspec
from jinja2 import meta
from jinja2.sandbox import ImmutableSandboxedEnvironment

from registry.document import Document
from registry.errors import InvalidInputs, RegistryError
from templates.canvas import Overlay, compile_overlay
from templates.engine import Sources, Template
from templates.errors import TemplateError
from templates.present import check
from templates.rows import TemplateRow, problem_of
from templates.variables import Variable

__all__ = ["OVERLAY", "TRIED", "UNDERLAY", "TemplateLibrary", "load_template", "rehearse", "sample_values"]

OVERLAY = "overlay.svg.jinja"
UNDERLAY = "underlay.svg.jinja"
TRIED = "tried.json"
MOST_BYTES = 32 << 20
"""Of a file in a template's folder."""
_SAMPLES: dict[str, Any] = {
    "string": "sample",
    "integer": 1,
    "number": 1.0,
    "boolean": True,
    "image": "upl_sample",
    "lora": "upl_sample",
    "color": "#0b5fff",
    "money": "19.99",
    "date": "2026-12-24",
    "locale": "en",
    "currency": "EUR",
}


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
        folders: dict[str, Traversable] = {}
        for root in (resources.files("templates").joinpath("library"), extra):
            if root is None:
                continue
            if not root.is_dir():
                raise TemplateError(f"{root} is no folder")
            folders.update({f.name: f for f in root.iterdir() if f.is_dir() and f.name[0].isalpha()})
        return cls({name: _load(name, folders[name]) for name in sorted(folders)})


def load_template(folder: Path) -> Template:
    """One template, of its folder.

    Raises:
        TemplateError: it cannot be used.
    """
    return _load(folder.resolve().name, folder)


def prompt_environment() -> jinja2.Environment:
    """The sandbox of prompts: a variable that is not there is a fault, one without a value prints nothing."""
    return ImmutableSandboxedEnvironment(
        undefined=jinja2.StrictUndefined,
        finalize=lambda value: "" if value is None else value,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=False,
    )


def sample_values(template: Template) -> dict[str, Any]:
    """A value of each variable, for a rehearsal: the template's own sample, else one of the type's."""
    own = template.row.sample
    return {name: _sample(variable, own.get(name)) for name, variable in template.row.variables.items()}


def _sample(variable: Variable, own: Any) -> Any:
    if variable.type == "image":
        return _SAMPLES["image"]  # its sample names a file of the folder
    if own is not None:
        return own
    if variable.default is not None:
        return variable.default
    if variable.enum:
        return variable.enum[0]
    if variable.type == "string":
        return _SAMPLES["string"][: variable.max_length]
    if variable.type in ("integer", "number", "money"):
        low, high = variable.min, variable.max
        found = 1 if low is None else low
        found = found if high is None else min(found, high)
        return {"integer": int, "number": float, "money": str}[variable.type](found)
    return _SAMPLES[variable.type]


def _load(name: str, folder: Traversable) -> Template:
    try:
        version = _version(folder)
    except OSError as error:
        raise TemplateError(f"{folder}: {error}") from error
    return _read(name, folder, version)  # type: ignore[arg-type]  # folders are paths, which are hashable


@lru_cache(128)
def _read(name: str, folder: Traversable, version: str) -> Template:
    """A template of these very files: a reload need not rehearse what did not change."""
    where = str(folder.joinpath("template.yaml"))
    try:
        row = msgspec.convert(
            Document(folder.joinpath("template.yaml").read_text("utf-8"), where).data, TemplateRow
        )
    except (OSError, UnicodeDecodeError, RegistryError, msgspec.ValidationError) as error:
        raise TemplateError(f"{where}: {error}") from error
    if not row.steps and not row.outputs:
        raise TemplateError(f"{where}: it makes nothing: neither a step nor an output")
    problem = problem_of(row)
    if problem is not None:
        raise TemplateError(f"{where}: {problem}")
    template = Template(name, row, lambda: _sources(folder, row), folder, version)
    if version == _tried().get(name):
        return template
    rehearse(template)
    return template


def rehearse(template: Template) -> None:
    """Compile a template's Jinja, and render it with its sample.

    Raises:
        TemplateError: something is wrong with it.
    """
    folder = template.folder
    where = str(folder.joinpath("template.yaml"))
    _ = template.sources
    try:
        template.rehearse(sample_values(template))
        _rehearse_overlay(template)
    except InvalidInputs as error:
        raise TemplateError(f"{where}: the sample: {error}") from error
    except TemplateError as error:
        raise TemplateError(f"{folder}: {error}") from error


@cache
def _tried() -> dict[str, str]:
    """The versions of shipped templates that the tests have rehearsed: that takes a second for all of them,
    which no start need spend. One that was changed, or added, is rehearsed.
    """
    file = resources.files("templates").joinpath("library", TRIED)
    return msgspec.json.decode(file.read_bytes(), type=dict[str, str]) if file.is_file() else {}


def _sources(folder: Traversable, row: TemplateRow) -> Sources:
    """A template's Jinja, compiled."""
    files = list(dict.fromkeys(step.prompt_file for step in row.steps if step.prompt_file is not None))
    env = prompt_environment()
    underlay = _overlay(folder.joinpath(UNDERLAY), row)
    if underlay is not None and row.product is None:
        raise TemplateError(f"{folder.joinpath(UNDERLAY)}: there is no `product` that lies on it")
    return Sources(
        prompts={file: _compile(folder.joinpath(file), env, row) for file in files},
        overlay=_overlay(folder.joinpath(OVERLAY), row),
        underlay=underlay,
    )


def _compile(file: Traversable, env: jinja2.Environment, row: TemplateRow) -> jinja2.Template:
    """A prompt, which names none but the template's variables."""
    try:
        source = file.read_text("utf-8")
        words = meta.find_undeclared_variables(env.parse(source)) - env.globals.keys()
        compiled = env.from_string(source)
    except (OSError, UnicodeDecodeError, jinja2.TemplateError) as error:
        raise TemplateError(f"{file}: {error}") from error
    unknown = sorted(words - row.variables.keys())
    if unknown:
        raise TemplateError(f"{file}: there is no variable {unknown[0]!r}")
    return compiled


def _overlay(file: Traversable, row: TemplateRow) -> Overlay | None:
    """What is laid over the scene; None where the folder has no such file."""
    if not file.is_file():
        return None
    if not row.outputs:
        raise TemplateError(f"{file}: there are no `outputs` that it is laid over")
    try:
        return compile_overlay(file.read_text("utf-8"), frozenset(row.variables))
    except (OSError, UnicodeDecodeError, TemplateError) as error:
        raise TemplateError(f"{file}: {error}") from error


def _rehearse_overlay(template: Template) -> None:
    """Lay the sample's words out, with every picture and with none."""
    if template.overlay is None and template.underlay is None:
        return
    samples = sample_values(template)
    images = [name for name, variable in template.row.variables.items() if variable.type == "image"]
    for run in (template.plan(samples, {}), template.plan(_own(template), {})):
        check(template, run.outputs, run.values, run.language, [n for n in images if n in run.images])


def _own(template: Template) -> dict[str, Any]:
    """The template's own sample, its pictures as references."""
    rows = template.row.variables
    return {
        name: _SAMPLES["image"] if rows[name].type == "image" else value
        for name, value in template.row.sample.items()
    }


def _version(folder: Traversable) -> str:
    """Of all files of a folder, so that a run can say which it was made with."""
    digest = hashlib.sha256()
    for name, data in sorted(_files(folder)):
        digest.update(f"{name}\0{len(data)}\0".encode() + data)
    return digest.hexdigest()[:12]


def _files(folder: Traversable) -> Iterator[tuple[str, bytes]]:
    found: Iterable[Traversable] = folder.iterdir()
    for file in found:
        if file.is_file():
            data = file.read_bytes()
            if len(data) > MOST_BYTES:
                raise TemplateError(f"{file} has more than {MOST_BYTES} bytes")
            yield file.name, data
