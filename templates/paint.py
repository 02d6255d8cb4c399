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
from templates.contrast import edges, measure
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


STRIKE = 0.075
"""Of the letters' size: how thick the line through a price is,"""
STRIKE_AT = 0.35
"""how high it lies over the baseline, and"""
STRIKE_BEYOND = 0.06
"""how far it reaches beyond."""


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


def paint(drawing: Drawing, ground: "Image", kept: "Image | None" = None) -> Painted:
    """Paint a drawing.

    Args:
        drawing: of `canvas.draw`.
        ground: the scene, in RGB and of the drawing's size.
        kept: what scrims keep off, in L, unless words lie right on it.

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
    kept = None if kept is None else _unwritten(kept, drawing.words)
    beneath = over(_kept(ground, under_scrims(ground, layer, choices), kept), layer)
    for pasted in drawing.pictures:
        beneath = lay(beneath, pasted)
    bare = beneath
    for choice in choices:
        beneath = over_scrim(beneath, choice, choices)
    beneath = _kept(bare, beneath, kept)
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


def _unwritten(kept: "Image", words: Sequence[Words]) -> "Image":
    """What scrims keep off, without the places of words: these have to be read."""
    found = kept.copy()
    for one in words:
        found.paste(0, edges(zone_of(one), kept.size))
    return found


def _kept(own: "Image", veiled: "Image", kept: "Image | None") -> "Image":
    """A veiled picture, with its own pixels where they are kept."""
    from PIL import Image

    return veiled if kept is None or veiled is own else Image.composite(own, veiled, kept)


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
            y=choice.words.y,
            width=choice.words.width,
            align=choice.words.align,
            fill=write_color(choice.color),
        )
        for choice in choices
    ]
    texts += [_struck(choice) for choice in choices if choice.words.strike]
    root = f'<svg xmlns="http://www.w3.org/2000/svg" width="{size[0]}" height="{size[1]}">'
    return f'{root}<g transform="translate({-start[0]} {-start[1]})">{"".join(texts)}</g></svg>'


def _struck(choice: Choice) -> str:
    """A line through the middle of each line's figures, a little wider than they are."""
    words, block = choice.words, choice.words.block
    share = {"left": 0.0, "center": 0.5, "right": 1.0}[words.align]
    thick, more = max(1.0, STRIKE * block.size), STRIKE_BEYOND * block.size
    bars = []
    for place, line in enumerate(block.lines):
        x = words.x + (words.width - line.width) * share - more
        y = words.y + block.ascent + place * block.line_height - STRIKE_AT * block.size
        bars.append(
            f'<rect x="{x:.3f}" y="{y - thick / 2:.3f}" width="{line.width + 2 * more:.3f}" '
            f'height="{thick:.3f}" fill="{write_color(choice.color)}"/>'
        )
    return "".join(bars)
