"""Contrast of WCAG 2: which colour can be read on these pixels, and how dark a scrim has to be.

Pixels are arrays of 8-bit sRGB, height x width x 3. Nothing here draws.
"""

import math
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from templates.colors import BLACK, REQUIRED, WHITE, Color, linear, luminance, ratio, read_color

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

    Pixels = NDArray[np.uint8]
    Light = NDArray[np.float32]

__all__ = ["ENOUGH", "Plan", "blend", "measure", "pixels_of", "plan", "scrim_for", "strength", "tone_of"]

Tone = Literal["light", "dark"]

ENOUGH = REQUIRED + 0.002
"""What is aimed at: arithmetic of single precision errs by less."""
STEPS = 255
EXTREMES = 2048
"""So many of the lightest and darkest pixels are looked at while a strength is sought; then all are."""


class Plan(Struct, frozen=True, kw_only=True):
    """The colour that words have on some pixels."""

    color: Color
    contrast: float
    """The lowest to any of the pixels, without a scrim."""
    change: float
    """How much a scrim would change the pixels: its opacity times how far they are from it; about."""


def light(pixels: "Pixels") -> "Light":
    """The luminance of each pixel."""
    curve = _curve()
    found: Light = curve[pixels[..., 0]] * 0.2126
    found += curve[pixels[..., 1]] * 0.7152
    found += curve[pixels[..., 2]] * 0.0722
    return found


def lowest(lights: "Light", color: Color) -> float:
    """The lowest contrast of a colour to any of these luminances; 21 where there are none."""
    import numpy as np

    if lights.size == 0:
        return 21.0
    own = luminance(color)
    apart = (np.maximum(lights, own) + 0.05) / (np.minimum(lights, own) + 0.05)
    return float(apart.min())


def measure(picture: "Image", box: tuple[float, float, float, float], color: str | Color) -> float:
    """The lowest contrast of a colour to any pixel of a box: x, y, width, height.

    Args:
        picture: what lies beneath the words, without them.
        box: in its pixels; each pixel that it touches counts.
        color: of the words.
    """
    return lowest(light(pixels_of(picture, box)), read_color(color) if isinstance(color, str) else color)


def pixels_of(picture: "Image", box: tuple[float, float, float, float]) -> "Pixels":
    """The pixels that a box touches: x, y, width, height."""
    import numpy as np

    left, top, right, bottom = edges(box, picture.size)
    return np.asarray(picture.crop((left, top, right, bottom)).convert("RGB"))


def edges(box: tuple[float, float, float, float], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """The whole pixels that a box touches within a picture: left, top, right, bottom."""
    x, y, width, height = box
    left, top = max(0, math.floor(x)), max(0, math.floor(y))
    right, bottom = min(size[0], math.ceil(x + width)), min(size[1], math.ceil(y + height))
    return left, top, max(left, right), max(top, bottom)


def plan(pixels: "Pixels", candidates: Sequence[Color], ordered: bool = False) -> Plan:
    """The colour for words on these pixels.

    One that reaches 4.5 everywhere is preferred to one that does not. Among those that do, the one of
    the highest contrast is taken; among those that do not, the one whose scrim would change the
    picture least, a few specks aside.

    Args:
        pixels: what lies beneath.
        candidates: the colours to choose from, at least one.
        ordered: the first that reaches 4.5 is taken.
    """
    lights = light(pixels)
    judged = []
    for place, color in enumerate(candidates):
        found = Plan(color=color, contrast=lowest(lights, color), change=_change(lights, color))
        reaches = found.contrast >= ENOUGH
        rank = -found.change if not reaches else float(-place) if ordered else found.contrast
        judged.append((reaches, rank, -place, found))
    return max(judged, key=lambda one: one[:3])[3]


def tone_of(color: Color) -> Tone:
    """Whether a colour is read better on black or on white; on one of them it always reaches 4.5."""
    own = luminance(color)
    return "light" if ratio(own, 0.0) >= ratio(own, 1.0) else "dark"


def scrim_for(color: Color, own: Color | None = None) -> Color:
    """The colour of a scrim beneath words: the brand's own where it is far enough from the words."""
    if own is not None and ratio(luminance(own), luminance(color)) >= REQUIRED * 1.3:
        return own
    return BLACK if tone_of(color) == "light" else WHITE


def blend(pixels: "Pixels", scrim: Color, opacity: "float | Light") -> "Pixels":
    """The pixels under a scrim, as they are stored: whole steps.

    Args:
        pixels: what lies beneath.
        scrim: its colour.
        opacity: 0 to 1, one for all or one for each pixel.
    """
    import numpy as np

    share = np.asarray(opacity, dtype=np.float32)
    share = share[..., None] if share.ndim else share
    mixed = pixels + (np.asarray(scrim, dtype=np.float32) - pixels) * share
    found: Pixels = np.rint(mixed).astype(np.uint8)
    return found


def strength(pixels: "Pixels", color: Color, scrim: Color, above: "Pixels | None" = None) -> float | None:
    """The least opacity of a scrim at which a colour reaches 4.5 to each of these pixels.

    Args:
        pixels: what lies beneath the scrim.
        color: of the words.
        scrim: its colour.
        above: what lies between the scrim and the words, in RGBA.

    Returns:
        0 to 1, in steps of 1/255; None where even a solid scrim does not do.
    """
    flat = pixels.reshape(1, -1, 3)
    cover = None if above is None or not above[..., 3].any() else above.reshape(1, -1, 4)

    def reaches(step: int, those: "Pixels", covers: "Pixels | None") -> bool:
        seen = covered(blend(those, scrim, step / STEPS), covers)
        return lowest(light(seen), color) >= ENOUGH

    if not reaches(STEPS, flat, cover):
        return None
    some = _nearest(covered(flat, cover), color)
    few, over = flat[:, some], None if cover is None else cover[:, some]
    low, high = 0, STEPS
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if reaches(middle, few, over) else (middle + 1, high)
    # What is worst may change with the opacity: all pixels have the last word.
    return next(step for step in range(low, STEPS + 1) if reaches(step, flat, cover)) / STEPS


def covered(pixels: "Pixels", above: "Pixels | None") -> "Pixels":
    """The pixels under others, which are RGBA."""
    import numpy as np

    if above is None:
        return pixels
    share = above[..., 3:].astype(np.float32) / 255
    found: Pixels = np.rint(pixels + (above[..., :3].astype(np.float32) - pixels) * share).astype(np.uint8)
    return found


def _nearest(pixels: "Pixels", color: Color) -> "NDArray[np.intp]":
    """Which pixels of a row are nearest to a colour's luminance."""
    import numpy as np

    near = np.abs(light(pixels)[0] - np.float32(luminance(color)))
    if near.size <= EXTREMES:
        return np.arange(near.size)
    found: NDArray[np.intp] = np.argpartition(near, EXTREMES)[:EXTREMES]
    return found


def _change(lights: "Light", color: Color) -> float:
    """How much a scrim for a colour would change an area: its opacity times how far it is from the mean.

    Of what 2% of the lightly blurred area lie below or above: a speck does not decide.
    """
    import numpy as np

    if lights.size == 0:
        return 0.0
    greys = _grey(_coarse(lights, 4))
    low, high = np.percentile(greys, (2, 98))
    own, mean = luminance(color), float(greys.mean())
    if tone_of(color) == "light":
        most = float(_grey(max((own + 0.05) / REQUIRED - 0.05, 0.0)))
        return max(0.0, 1 - most / max(float(high), 1e-6)) * mean
    least = float(_grey(min(REQUIRED * (own + 0.05) - 0.05, 1.0)))
    return max(0.0, (least - float(low)) / max(1 - float(low), 1e-6)) * (1 - mean)


def _grey(lights: "Light | float") -> "Light":
    """The grey value, 0 to 1, of a luminance."""
    import numpy as np

    value = np.asarray(lights, dtype=np.float32)
    found: Light = np.where(value <= 0.0031308, value * 12.92, 1.055 * value ** (1 / 2.4) - 0.055)
    return found


def _coarse(lights: "Light", cell: int) -> "Light":
    """Means of squares: a blur and a smaller array at once."""
    high, wide = (edge // cell * cell for edge in lights.shape)
    if not high or not wide:
        return lights
    found: Light = lights[:high, :wide].reshape(high // cell, cell, wide // cell, cell).mean(axis=(1, 3))
    return found


@cache
def _curve() -> "Light":
    """Linear light of each 8-bit value."""
    import numpy as np

    found: Light = np.array([linear(part) for part in range(256)], dtype=np.float32)
    return found
