"""A scene and an overlay made into a finished file, exactly of an output's size."""

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from templates.canvas import Overlay, draw
from templates.colors import write_color
from templates.formats import CONTENT_TYPES, encode, over_white
from templates.locales import is_rtl
from templates.paint import Painted, Shown, paint
from templates.picture import crop, plain, rounded
from templates.placeholder import placeholder_scene
from templates.rows import Output
from templates.spots import Spot, Staged

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Finished", "Placed", "compose", "finish", "placeholder_scene"]


class Placed(Struct, frozen=True, kw_only=True):
    """Words in a finished picture; places and sizes in pixels."""

    name: str
    """The variable that they come from."""
    text: str
    lines: tuple[str, ...]
    size: float
    x: float
    y: float
    width: float
    height: float
    color: str
    contrast: float
    """The lowest to any pixel beneath them, by WCAG 2."""
    scrim: float
    """The opacity of the scrim beneath them; 0: there is none."""


class Finished(Struct, frozen=True, kw_only=True):
    """A finished file."""

    name: str
    width: int
    height: int
    content_type: str
    data: bytes
    texts: tuple[Placed, ...]


def compose(
    overlay: Overlay | None,
    output: Output,
    values: Mapping[str, Any],
    scene: "Image | None",
    pictures: Mapping[str, "Image"],
    *,
    language: str = "en",
    stage: "Callable[[Image], Staged] | None" = None,
) -> Finished:
    """Compose one output.

    Args:
        overlay: of `canvas.compile_overlay`; None: there is none.
        output: its size, format, safe area and focus.
        values: of every variable; None where there is none.
        scene: what the model made, of any size; None: white.
        pictures: those of the variables that are images, decoded.
        language: the locale of its words.
        stage: puts something on the scene, once it has the output's size, that lies beneath the overlay.

    Raises:
        InvalidInputs: words do not fit, or no font has a letter of theirs; every fault at once.
        TemplateError: the overlay does what it must not.
    """
    painted = finish(overlay, output, values, scene, pictures, language=language, stage=stage)
    picture = painted.picture
    if output.radius:
        picture = rounded(picture, output.radius * min(picture.size))
    return Finished(
        name=output.name,
        width=output.width,
        height=output.height,
        content_type=CONTENT_TYPES[output.format],
        data=encode(picture, output.format, output.dpi),
        texts=tuple(_placed(shown) for shown in painted.words),
    )


def finish(
    overlay: Overlay | None,
    output: Output,
    values: Mapping[str, Any],
    scene: "Image | None",
    pictures: Mapping[str, "Image"],
    *,
    language: str = "en",
    stage: "Callable[[Image], Staged] | None" = None,
) -> Painted:
    """What `compose` writes, as a picture in RGB."""
    from PIL import Image

    size = (output.width, output.height)
    own = {name: plain(picture) for name, picture in pictures.items()}
    drawing = None if overlay is None else draw(overlay, output, values, own, language)
    if scene is None:
        ground = Image.new("RGB", size, "white")
    else:
        ground = laid_out(scene, output, language, None if drawing is None else drawing.ground)
    kept = None
    if stage is not None:
        staged = stage(ground)
        ground, kept = over_white(staged.picture), staged.kept
    if drawing is None:
        return Painted(picture=ground, beneath=ground, words=(), svg="")
    return paint(drawing, ground, kept)


def laid_out(scene: "Image", output: Output, language: str, part: Spot | None = None) -> "Image":
    """A scene filling an output, or the part of it that is the scene's; in RGB.

    Args:
        scene: of any size.
        output: its size, trim and focus.
        language: of its words: an output's area is mirrored where they run from the right.
        part: what the overlay leaves the scene, in place of the output's area.
    """
    from PIL import Image

    if part is not None:
        x, y, width, height = map(int, (part.x, part.y, part.width, part.height))
    else:
        left, top, right, bottom = output.area or (0, 0, 1, 1)
        if is_rtl(language):
            left, right = 1 - right, 1 - left
        x, y = math.floor(left * output.width), math.floor(top * output.height)
        width, height = math.ceil(right * output.width) - x, math.ceil(bottom * output.height) - y
    across, down = (round(output.trim * edge) for edge in scene.size)
    inner = scene.crop((across, down, scene.width - across, scene.height - down)) if output.trim else scene
    shown = over_white(crop(inner, width, height, output.focus))
    if shown.size == (output.width, output.height):
        return shown
    ground = Image.new("RGB", (output.width, output.height), "white")
    ground.paste(shown, (x, y))
    return ground


def _placed(shown: Shown) -> Placed:
    words, spot = shown.words, shown.words.spot
    return Placed(
        name=words.name,
        text=words.text,
        lines=tuple(line.text for line in words.block.lines),
        size=words.block.size,
        x=spot.x,
        y=spot.y,
        width=spot.width,
        height=spot.height,
        color=write_color(shown.color),
        contrast=round(shown.contrast, 3),
        scrim=round(shown.scrim, 3),
    )
