"""A drawing painted on a scene: scrims, shapes, pictures, and at last the words in colours that are read.

From below: the scene; scrims where words need them; the overlay's shapes; its pictures; where words
still need it (on a shape or a picture that is neither light nor dark), a scrim on these; the words.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from templates import svg
from templates.colors import Color, write_color
from templates.contrast import measure
from templates.dither import dithered
from templates.paste import lay, plated
from templates.picture import over
from templates.scrim import Choice, over_scrim, under_scrims, zone_of
from templates.spots import Drawing, Words
from templates.tones import choose
from templates.typeset import font_files, svg_text

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Painted", "Shown", "paint"]


class Shown(Struct, frozen=True, kw_only=True):
    """Words as they were painted."""

    words: Words
    color: Color
    scrim: float
    """The opacity of the scrim beneath them; 0: there is none."""
    contrast: float
    """The lowest to any pixel beneath."""


class Painted(Struct, frozen=True, kw_only=True):
    """A finished picture."""

    picture: Any
    beneath: Any
    """The same without its words."""
    words: tuple[Shown, ...]
    svg: str
    """The words, as they were drawn."""


def paint(drawing: Drawing, ground: "Image") -> Painted:
    """Paint a drawing.

    Args:
        drawing: of `canvas.draw`.
        ground: the scene, in RGB and of the drawing's size.

    Raises:
        TemplateError: its shapes cannot be drawn.
    """
    from PIL import Image

    size = ground.size
    layer = Image.new("RGBA", size) if drawing.blank else svg.render(drawing.shapes, *size)
    if "Gradient" in drawing.shapes:
        layer = dithered(layer)
    for words in drawing.words:
        if words.plate is not None:
            layer = plated(layer, words)
    choices = choose(drawing.words, over(ground, layer))
    beneath = over(under_scrims(ground, layer, choices), layer)
    for pasted in drawing.pictures:
        beneath = lay(beneath, pasted)
    for choice in choices:
        beneath = over_scrim(beneath, choice, choices)
    document, picture = "", beneath
    if choices:
        x, y, *room = _room(size, choices)
        document = _document((x, y), (room[0], room[1]), choices)
        files = font_files([choice.words.block for choice in choices])
        picture = over(beneath, svg.render(document, room[0], room[1], files, words=True), x, y)
    shown = tuple(
        Shown(
            words=choice.words,
            color=choice.color,
            scrim=choice.scrim,
            contrast=measure(beneath, zone_of(choice.words), choice.color),
        )
        for choice in choices
    )
    return Painted(picture=picture, beneath=beneath, words=shown, svg=document)


def _room(size: tuple[int, int], choices: Sequence[Choice]) -> tuple[int, int, int, int]:
    """Left, top, width and height of what holds all words: the rest need not be drawn."""
    spots = [choice.words.spot for choice in choices]
    left = max(0, min(math.floor(spot.x - spot.size / 2) for spot in spots))
    top = max(0, min(math.floor(spot.y - spot.size / 2) for spot in spots))
    right = min(size[0], max(math.ceil(spot.right + spot.size / 2) for spot in spots))
    bottom = min(size[1], max(math.ceil(spot.bottom + spot.size / 2) for spot in spots))
    return left, top, right - left, bottom - top


def _document(start: tuple[int, int], size: tuple[int, int], choices: Sequence[Choice]) -> str:
    """The words as SVG, of a part of the picture."""
    texts = [
        svg_text(
            choice.words.block,
            x=choice.words.x,
            y=choice.words.spot.y,
            width=choice.words.width,
            align=choice.words.align,
            fill=write_color(choice.color),
        )
        for choice in choices
    ]
    root = f'<svg xmlns="http://www.w3.org/2000/svg" width="{size[0]}" height="{size[1]}">'
    return f'{root}<g transform="translate({-start[0]} {-start[1]})">{"".join(texts)}</g></svg>'
