"""The holes of a product, through which its background is seen: a mug's handle, a ring.

A printed label may have the background's colour as well, and a highlight may. A label has letters on
it, or light and shade of the product's own; a highlight fades. A hole does neither.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from templates.matting import distance

__all__ = ["holes"]

Floats = NDArray[np.float32]
Flags = NDArray[np.bool_]
Mask = NDArray[np.uint8]
"""0 or 1."""

LEAST_PIXELS, LEAST_SHARE = 25, 0.0004
"""Of a picture, under which a hole is none."""
BORDER = 12
"""Pixels around a hole that are looked at."""


def holes(product: Mask, like: Mask, away: Floats, tolerance: float, noise: float) -> Mask:
    """1 where the background is seen through the product.

    Args:
        product: 1 where it is, its holes among it.
        like: 1 where a pixel's colour is the background's.
        away: how far in Lab it is from that.
        tolerance: up to where it counts as the background's.
        noise: how far the background's own pixels are, as a rule.
    """
    found = np.zeros_like(product)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(like * product, connectivity=4)
    large = stats[:, cv2.CC_STAT_AREA] >= max(LEAST_PIXELS, LEAST_SHARE * product.size)
    for n in np.flatnonzero(large[1:]) + 1:
        left, top, width, height, _area = (int(value) for value in stats[n])
        room = (
            slice(max(0, top - BORDER), top + height + BORDER),
            slice(max(0, left - BORDER), left + width + BORDER),
        )
        part = np.asarray(labels[room] == n)
        if (
            _middle(part, away[room]) <= max(1.5, 1.5 * noise + 0.5)
            and _islands(part, away[room] > 4 * tolerance) <= 0.01
            and _sharp(part, product[room] > 0, away[room], tolerance)
        ):
            found[room][part] = 1
    return found


def _middle(part: Flags, away: Floats) -> float:
    """How unlike the background it is, away from its edge, where files smear colours."""
    depth = distance(np.pad(part, 1))[1:-1, 1:-1]
    return float(np.median(away[depth > 0.5 * float(depth.max())]))


def _islands(part: Flags, clear: Flags) -> float:
    """The share of a hole that is clearly something else: letters."""
    around = np.pad(~part, 1, constant_values=True).astype(np.uint8)
    _, labels = cv2.connectedComponents(around, connectivity=8)
    inside = labels[1:-1, 1:-1]
    return float(((inside > 0) & (inside != labels[0, 0]) & clear).sum() / part.sum())


def _sharp(part: Flags, product: Flags, away: Floats, tolerance: float) -> bool:
    """Whether the product begins at once around a hole."""
    beyond = distance(~part)
    beside = away[product & (beyond > 3) & (beyond <= 5)]
    further = away[product & (beyond > 7) & (beyond <= 10)]
    if not beside.size or float(np.median(beside)) < 3 * tolerance:
        return False
    return not further.size or float(np.median(beside)) > 0.6 * float(np.median(further))
