"""Presets laid out and made, over scenes that are hard on words; and what every one of them has to keep."""

import io
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
from PIL import Image

from templates.canvas import draw
from templates.colors import REQUIRED
from templates.compose import Finished
from templates.engine import Run, Template
from templates.library import TemplateLibrary
from templates.present import present
from templates.rows import Output
from templates.spots import Drawing

__all__ = ["SCENES", "check_finished", "check_layout", "laid_out", "made", "shipped", "spot_of"]

LOGO = Image.new("RGBA", (360, 90), (255, 255, 255, 0))
LOGO.paste((255, 255, 255, 255), (20, 20, 340, 70))


def scenes() -> dict[str, Image.Image]:
    """Sharp noise, near white, near black, and a small picture that is enlarged."""
    noise = np.random.default_rng(3).integers(0, 256, (90, 270, 3), dtype=np.uint8)
    sketch = np.zeros((96, 288, 3), np.uint8)
    sketch[:50], sketch[50:] = (250, 190, 120), (40, 60, 50)
    return {
        "noise": Image.fromarray(noise).resize((810, 270), Image.Resampling.NEAREST),
        "snow": Image.new("RGB", (900, 400), (248, 250, 252)),
        "night": Image.new("RGB", (900, 400), (6, 8, 20)),
        "sketch": Image.fromarray(sketch),
    }


SCENES = scenes()


@cache
def shipped(name: str) -> Template:
    """A template of the library."""
    return TemplateLibrary.load().templates[name]


def planned(name: str, given: Mapping[str, Any]) -> tuple[Template, Run]:
    template = shipped(name)
    return template, template.plan(given, {})


def laid_out(name: str, **given: Any) -> dict[Output, Drawing]:
    """Each output of a preset, laid out."""
    template, run = planned(name, given)
    assert template.overlay is not None
    pictures = dict.fromkeys(run.images, LOGO)
    return {one: draw(template.overlay, one, run.values, pictures, run.language) for one in run.outputs}


def made(name: str, scene: Image.Image, only: Sequence[str] = (), **given: Any) -> dict[Output, Finished]:
    """Outputs of a preset, finished."""
    template, run = planned(name, given)
    file = io.BytesIO()
    LOGO.save(file, "PNG")
    outputs = [one for one in run.outputs if not only or one.name in only]
    pictures = dict.fromkeys(run.images, file.getvalue())
    found = present(template, outputs, run.values, run.language, scene, pictures)
    return dict(zip(outputs, found, strict=True))


def spot_of(drawing: Drawing, name: str) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of the words of a variable, or of a picture."""
    spots = [words.spot for words in drawing.words if words.name == name]
    spots += [one.spot for one in drawing.pictures if one.name == name]
    assert len(spots) == 1, f"{name} is there {len(spots)} times"
    return spots[0].x, spots[0].y, spots[0].right, spots[0].bottom


def check_layout(output: Output, drawing: Drawing) -> None:
    """Everything lies within the safe area, and nothing on anything else."""
    left, top, right, bottom = output.edges
    spots = [(one.name, one.spot) for one in (*drawing.words, *drawing.pictures)]
    for name, spot in spots:
        assert spot.x >= left - 1, (output.name, name)
        assert spot.y >= top - 1, (output.name, name)
        assert spot.right <= output.width - right + 1, (output.name, name)
        assert spot.bottom <= output.height - bottom + 1, (output.name, name)
    for place, (name, one) in enumerate(spots):
        for other, two in spots[place + 1 :]:
            apart = one.right <= two.x or two.right <= one.x or one.bottom <= two.y or two.bottom <= one.y
            assert apart, f"{output.name}: {name} lies on {other}"


def check_finished(output: Output, finished: Finished, *texts: str) -> None:
    """It is of its size to the pixel, and says these words so that they can be read."""
    picture = Image.open(io.BytesIO(finished.data))
    assert picture.size == (finished.width, finished.height) == (output.width, output.height)
    assert sorted(text.text for text in finished.texts) == sorted(texts)
    for text in finished.texts:
        assert text.contrast >= REQUIRED, (output.name, text.name, text.contrast)
