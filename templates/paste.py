"""Callers' pictures and round plates: behind words, and behind logos that would be lost without."""

from typing import TYPE_CHECKING, Any

from templates.colors import INK, WHITE, Color, luminance, ratio
from templates.contrast import light, pixels_of
from templates.picture import cover, over, rounded, scaled
from templates.spots import Pasted, Words

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["lay", "plated"]

Box = tuple[float, float, float, float]

PLATE_BESIDE, PLATE_ABOVE = 0.6, 0.36
"""Of the letters' size: a plate around words."""
LOGO_CONTRAST = 3.0
"""What WCAG asks of graphics."""
LOGO_ROOM = 0.12
"""Of a logo's shorter edge: its plate around it."""


def plated(layer: "Image", words: Words) -> "Image":
    """A layer with the round plate of some words: as high over the capitals as below the baseline."""
    spot, block = words.spot, words.block
    baseline = block.ascent + (len(block.lines) - 1) * block.line_height
    above = max(PLATE_ABOVE * spot.size, block.height - baseline + 0.1 * spot.size)
    beside = PLATE_BESIDE * spot.size
    box = (spot.x - beside, words.y - above, spot.width + 2 * beside, baseline + 2 * above)
    return _plate(layer, box, words.plate or WHITE, min(box[3] / 2, spot.size))


def _plate(layer: "Image", box: Box, color: Color, radius: float) -> "Image":
    """A layer with a rounded rectangle on it."""
    from PIL import Image

    x, y, width, height = (round(edge) for edge in box)
    plate = rounded(Image.new("RGB", (max(width, 1), max(height, 1)), color), radius)
    if layer.mode == "RGB":
        return over(layer, plate, x, y)
    sheet = Image.new("RGBA", layer.size)
    sheet.paste(plate, (x, y))
    return Image.alpha_composite(layer, sheet)


def lay(beneath: "Image", pasted: Pasted) -> "Image":
    """The picture with a caller's one on it, on a plate where it would be lost."""
    spot = pasted.spot
    width, height = max(1, round(spot.width)), max(1, round(spot.height))
    x, y = round(spot.x), round(spot.y)
    box = (float(x), float(y), float(width), float(height))
    color = _plate_color(pasted, pixels_of(beneath, box)) if pasted.plate else None
    if color is not None:
        room = round(LOGO_ROOM * min(width, height))
        beneath = _plate(beneath, box, color, 1.5 * room)
        ratio_kept = min((width - 2 * room) / width, (height - 2 * room) / height)
        small = max(1, round(width * ratio_kept)), max(1, round(height * ratio_kept))
        x, y = x + (width - small[0]) // 2, y + (height - small[1]) // 2
        width, height = small
    resized = cover if pasted.cover else scaled
    picture = resized(pasted.picture, width, height)
    if pasted.radius > 0:
        picture = rounded(picture, pasted.radius)
    return over(beneath, picture, x, y)


def _plate_color(pasted: Pasted, beneath: Any) -> Color | None:
    """The colour of the plate that a logo needs; None where it stands out, or fills its own rectangle."""
    import numpy as np

    if pasted.picture.mode != "RGBA" or pasted.cover or beneath.size == 0:
        return None
    logo = np.asarray(pasted.picture)
    seen = logo[..., 3] > 127
    if not seen.any():
        return None
    own = float(light(logo[..., :3])[seen].mean())
    low, high = (float(part) for part in np.percentile(light(beneath), (5, 95)))
    inside = low <= own <= high
    if not inside and min(ratio(own, low), ratio(own, high)) >= LOGO_CONTRAST:
        return None
    wanted = pasted.plate_color
    if wanted is not None and ratio(luminance(wanted), own) >= LOGO_CONTRAST:
        return wanted
    return max((WHITE, INK), key=lambda plate: ratio(luminance(plate), own))
