"""What an author of a template wants to know of a folder that can be loaded: does it fit the registry?"""

from collections.abc import Iterator

from gateway.template_files import THUMBNAIL, has_thumbnail, sample_pictures
from registry.catalog import Catalog
from registry.errors import UnknownModel
from templates.engine import Template
from templates.rows import Step, Use

__all__ = ["faults_of", "notes_of"]

MOST_SAMPLE = 512 << 10
"""Bytes of a sample's picture: it is sent within a request, of which 1 MiB is taken."""


def faults_of(template: Template, catalog: Catalog) -> list[str]:
    """What is wrong with a template beyond what stops its load: its runs would be refused, or be others."""
    return [
        *(fault for step in template.row.steps for fault in _step_faults(step, catalog)),
        *_sample_faults(template),
    ]


def notes_of(template: Template) -> list[str]:
    """What a template could do better."""
    notes = (
        [] if has_thumbnail(template) else [f"it has no {THUMBNAIL}: `gateway template thumbnail` makes one"]
    )
    missing = sorted(template.row.variables.keys() - template.row.sample.keys())
    return notes + ([f"its sample leaves out {', '.join(missing)}"] if missing else [])


def _sample_faults(template: Template) -> Iterator[str]:
    for name, file in sample_pictures(template.row).items():
        path = template.folder.joinpath(file)
        if not path.is_file():
            yield f"the sample's {name} is {file}, which is not in the folder"
        elif len(path.read_bytes()) > MOST_SAMPLE:
            yield f"the sample's {name}, {file}, has more than {MOST_SAMPLE >> 10} KiB: no request takes it"


def _step_faults(step: Step, catalog: Catalog) -> Iterator[str]:
    for use in step.use:
        fault = _use_fault(use, catalog)
        if fault is not None:
            yield f"{step.name}: {fault}"
    for name in (*step.inputs, *step.send):
        if name not in catalog.vocabulary:
            yield f"{step.name}: the vocabulary has no input {name!r}"


def _use_fault(use: Use, catalog: Catalog) -> str | None:
    if use.model is not None:
        try:
            catalog.model(use.model)
        except UnknownModel:
            return f"the registry has no model {use.model!r}"
    elif use.intent not in catalog.data.intents:
        return f"the registry has no intent {use.intent!r}: its default would serve"
    return None
