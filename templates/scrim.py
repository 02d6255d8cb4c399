"""Scrims: veils of black, white or a brand's dark, no stronger than the words on them need.

They are solid beneath the words and fade out around them. Those of a scene lie beneath the overlay's
shapes, so that a button near a headline keeps its colour.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from templates.colors import INK, WHITE, Color
from templates.contrast import ENOUGH, blend, edges, measure, pixels_of, plan, scrim_for, strength, tone_of
from templates.picture import over
from templates.spots import Words

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image

__all__ = ["Choice", "over_scrim", "under_scrims", "zone_of"]

Box = tuple[float, float, float, float]

AROUND = 0.06
"""Of the letters' size: how far around the words pixels count."""
FEATHER = 2.0
"""Of the letters' size: how far a scrim fades out."""


class Choice(Struct, kw_only=True):
    """What was decided of some words so far."""

    words: Words
    color: Color
    scrim: float = 0.0


def zone_of(words: Words) -> Box:
    """The pixels that count for words."""
    spot, more = words.spot, AROUND * words.spot.size
    return spot.x - more, spot.y - more, spot.width + 2 * more, spot.height + 2 * more


def under_scrims(ground: "Image", layer: "Image", choices: Sequence[Choice]) -> "Image":
    """The scene with scrims beneath the shapes, for words that they help."""
    import numpy as np

    for choice in choices:
        zone = zone_of(choice.words)
        if measure(_part(ground, layer, zone), (0, 0, 1e9, 1e9), choice.color) >= ENOUGH:
            continue
        box = edges(zone, ground.size)
        scrim = scrim_for(choice.color, choice.words.scrim)
        above = np.asarray(layer.crop(box))
        choice.scrim = strength(pixels_of(ground, zone), choice.color, scrim, above) or 0.0
    for color in dict.fromkeys(scrim_for(one.color, one.words.scrim) for one in choices if one.scrim):
        those = [one for one in choices if one.scrim and scrim_for(one.color, one.words.scrim) == color]
        tone = tone_of(those[0].color)
        spared = [one for one in choices if tone_of(one.color) != tone]
        ground = _veiled(ground, color, those, spared)
    return ground


def _part(ground: "Image", layer: "Image", zone: Box) -> "Image":
    """A box of the scene with the layer on it."""
    box = edges(zone, ground.size)
    return over(ground.crop(box), layer.crop(box))


def _veiled(ground: "Image", color: Color, those: Sequence[Choice], spared: Sequence[Choice] = ()) -> "Image":
    """A scene with soft scrims of one colour.

    Args:
        ground: the scene.
        color: of the scrims.
        those: what they are for: solid beneath the words, fading out around them.
        spared: words that scrims keep off.
    """
    import numpy as np
    from PIL import Image

    reach = [FEATHER * one.words.spot.size for one in those]
    zones = [zone_of(one.words) for one in those]
    left = min(zone[0] - far for zone, far in zip(zones, reach, strict=True))
    top = min(zone[1] - far for zone, far in zip(zones, reach, strict=True))
    right = max(zone[0] + zone[2] + far for zone, far in zip(zones, reach, strict=True))
    bottom = max(zone[1] + zone[3] + far for zone, far in zip(zones, reach, strict=True))
    box = edges((left, top, right - left, bottom - top), ground.size)
    veil: Any = np.zeros((box[3] - box[1], box[2] - box[0]), dtype=np.float32)
    solid: Any = np.zeros_like(veil)
    for one, zone, far in zip(those, zones, reach, strict=True):
        away = _distance(box, edges(zone, ground.size))
        np.maximum(veil, one.scrim * _fade(away / max(far, 1.0)), out=veil)
        np.maximum(solid, np.where(away <= 0, one.scrim, 0.0), out=solid)
    for other in spared:
        away = _distance(box, edges(zone_of(other.words), ground.size))
        veil *= 1 - _fade(away / max(FEATHER * other.words.spot.size / 2, 1.0))
    part = np.asarray(ground.crop(box))
    result = ground.copy()
    result.paste(Image.fromarray(blend(part, color, np.maximum(veil, solid))), box[:2])
    return result


def _distance(box: tuple[int, int, int, int], inner: tuple[int, int, int, int]) -> "NDArray[Any]":
    """How far each pixel of a box is from the nearest of an inner one; 0 within it."""
    import numpy as np

    x = np.arange(box[0], box[2], dtype=np.float32)
    y = np.arange(box[1], box[3], dtype=np.float32)
    across = np.maximum(np.maximum(inner[0] - x, x - (inner[2] - 1)), 0)
    down = np.maximum(np.maximum(inner[1] - y, y - (inner[3] - 1)), 0)
    found: NDArray[Any] = np.sqrt(across[None, :] ** 2 + down[:, None] ** 2)
    return found


def _fade(away: "NDArray[Any]") -> "NDArray[Any]":
    """1 at nought, 0 from 1 on, without a corner in between."""
    import numpy as np

    near = np.clip(1 - away, 0, 1)
    found: NDArray[Any] = near * near * (3 - 2 * near)
    return found


def over_scrim(beneath: "Image", choice: Choice, others: Sequence[Choice]) -> "Image":
    """The picture with a scrim right beneath words that still cannot be read; it keeps off all others."""
    zone = zone_of(choice.words)
    pixels = pixels_of(beneath, zone)
    if pixels.size == 0 or measure(beneath, zone, choice.color) >= ENOUGH:
        return beneath
    if not choice.words.colors:
        choice.color = plan(pixels, (choice.color, WHITE, INK), ordered=True).color
    scrim = scrim_for(choice.color, choice.words.scrim)
    opacity = strength(pixels, choice.color, scrim) or 1.0
    own = Choice(words=choice.words, color=choice.color, scrim=opacity)
    veiled = _veiled(beneath, scrim, [own], [one for one in others if one is not choice])
    choice.scrim = 1 - (1 - choice.scrim) * (1 - opacity)
    return veiled
