"""A preset's outputs from variables, over a picture that stands in for the model's."""

import io
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
from PIL import Image

from templates.colors import REQUIRED
from templates.compose import Finished
from templates.engine import Template
from templates.library import TemplateLibrary
from templates.present import check, present
from templates.rows import Output

__all__ = ["logo", "made", "of", "opened", "outside", "planned", "png", "scene", "well_read"]


@cache
def _library() -> TemplateLibrary:
    return TemplateLibrary.load()


def of(name: str) -> Template:
    """A shipped template."""
    return _library().templates[name]


@cache
def scene(kind: str = "sunset") -> Image.Image:
    """A picture that is hard on words: a sky from dark to bright, or noise."""
    if kind == "noise":
        return Image.fromarray(np.random.default_rng(5).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    down = np.linspace(0, 1, 96)[:, None]
    sky = np.concatenate([80 + 175 * down, 40 + 150 * down, 110 - 40 * down], axis=1)
    return Image.fromarray(np.repeat(sky[:, None], 96, axis=1).astype(np.uint8))


def png(picture: Image.Image) -> bytes:
    """A picture's file."""
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def logo(color: str = "#ffffff") -> bytes:
    """A logo of one colour with clear around it, wider than high."""
    made = Image.new("RGBA", (240, 80))
    made.paste(color, (0, 0, 240, 30))
    made.paste(color, (0, 50, 160, 80))
    return png(made)


def opened(finished: Finished) -> Image.Image:
    """What was made, as a picture."""
    picture = Image.open(io.BytesIO(finished.data))
    picture.load()
    return picture


def made(
    name: str,
    variables: Mapping[str, Any],
    only: Sequence[str] = (),
    ground: Image.Image | None = None,
    pictures: Mapping[str, bytes] | None = None,
) -> dict[str, Finished]:
    """The outputs of a preset, by name."""
    template = of(name)
    run = template.plan({**variables, **dict.fromkeys(pictures or {}, "upl_1")}, {})
    outputs = [output for output in run.outputs if not only or output.name in only]
    found = present(template, outputs, run.values, run.language, ground or scene(), pictures or {})
    return {one.name: one for one in found}


def planned(name: str, variables: Mapping[str, Any]) -> None:
    """What a run sees of its words before anything is spent: an `InvalidInputs` where they do not fit."""
    template = of(name)
    run = template.plan(variables, {})
    check(template, run.outputs, run.values, run.language, run.images)


def outside(finished: Finished, output: Output) -> list[str]:
    """Words that leave an output's safe area."""
    left, top, right, bottom = output.edges
    return [
        f"{output.name}: {word.text}"
        for word in finished.texts
        if word.x < left - 1
        or word.y < top - 1
        or word.x + word.width > output.width - right + 1
        or word.y + word.height > output.height - bottom + 1
    ]


def well_read(finished: Mapping[str, Finished]) -> bool:
    """Whether all words have the contrast that WCAG asks for, and are in view."""
    return all(word.contrast >= REQUIRED for one in finished.values() for word in one.texts)
