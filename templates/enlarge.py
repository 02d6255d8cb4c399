"""Small pictures drawn anew at three times their size: smooth contours in place of stairs, rings and tiles.

Plain enlargement shows the grid of what made a small picture. Here weak structure is smoothed away, and
at strong edges each pixel moves towards the side that it belongs to (a shock filter along the gradient
of the structure tensor): what comes out looks painted, and not blown up.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["MUCH", "redrawn", "too_small"]

MUCH = 1.5
"""Small pictures that would have to grow by more than this are drawn anew."""
TIMES = 3
MOST = 400 * 400
"""Pixels: larger ones have texture, which this would wash out."""
LEAST = 48
"""Pixels of an edge: smaller ones have no contours."""
EDGE = 0.015
"""Of the shorter edge: models leave a seam along the edges of small pictures; it is cut off."""

ROUNDS = 12
PACE = 0.9
"""How far a pixel goes in a round."""
WEAK, STRONG = 8.0, 28.0
"""Of the gradient: edges below stay soft, those above become firm."""


def too_small(size: tuple[int, int], width: int, height: int) -> bool:
    """Whether a picture of this size is drawn anew before it fills so many pixels."""
    grown = max(width / size[0], height / size[1])
    return grown > MUCH and size[0] * size[1] <= MOST and min(size) >= LEAST


def redrawn(picture: "Image") -> "Image":
    """A picture in RGB at three times its size, less a narrow strip along its edges."""
    import cv2
    import numpy as np
    from PIL import Image

    strip = max(1, round(EDGE * min(picture.size)))
    small: Any = np.asarray(picture)[strip:-strip, strip:-strip].astype(np.float32)
    large = cv2.resize(_calmed(small), None, fx=TIMES, fy=TIMES, interpolation=cv2.INTER_CUBIC)
    large = cv2.GaussianBlur(large, (0, 0), 0.4 * TIMES)
    firm = cv2.GaussianBlur(_firmed(large), (0, 0), 1.2)
    return Image.fromarray(np.clip(firm + 0.5, 0, 255).astype(np.uint8))


def _calmed(small: Any) -> Any:
    """Without weak structure, and with colours that do not stray over edges."""
    import cv2

    apart = cv2.cvtColor(small, cv2.COLOR_RGB2YCrCb)
    for _ in range(2):
        apart = cv2.bilateralFilter(apart, 15, 28, 5)
    for part in (1, 2):
        apart[..., part] = cv2.GaussianBlur(apart[..., part], (0, 0), 2)
    return cv2.cvtColor(apart, cv2.COLOR_YCrCb2RGB)


def _firmed(large: Any) -> Any:
    """With firm contours where there are strong edges."""
    import cv2
    import numpy as np

    around = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3))
    grey = cv2.cvtColor(large, cv2.COLOR_RGB2GRAY)
    across, down, gate = _directions(grey)
    for turn in range(ROUNDS):
        if turn % 4 == 3:
            across, down, gate = _directions(grey)
        soft = cv2.GaussianBlur(grey, (0, 0), 4)
        bend = across * across * cv2.Sobel(soft, cv2.CV_32F, 2, 0, ksize=3)
        bend += 2 * across * down * cv2.Sobel(soft, cv2.CV_32F, 1, 1, ksize=3)
        bend += down * down * cv2.Sobel(soft, cv2.CV_32F, 0, 2, ksize=3)
        pull = (PACE * np.tanh(2 * bend) * gate)[..., None]
        up = np.maximum(-pull, 0) * (cv2.dilate(large, around) - large)
        large = large + up + np.maximum(pull, 0) * (cv2.erode(large, around) - large)
        grey = cv2.cvtColor(large, cv2.COLOR_RGB2GRAY)
    return large


def _directions(grey: Any) -> tuple[Any, Any, Any]:
    """The direction across the nearest edge, as a unit vector, and from 0 to 1 how strong that edge is."""
    import cv2
    import numpy as np

    x, y = cv2.Sobel(grey, cv2.CV_32F, 1, 0, ksize=3), cv2.Sobel(grey, cv2.CV_32F, 0, 1, ksize=3)
    xx, xy, yy = (cv2.GaussianBlur(part, (0, 0), 7) for part in (x * x, x * y, y * y))
    angle = 0.5 * np.arctan2(2 * xy, xx - yy)
    strength = np.sqrt(xx + yy)
    return np.cos(angle), np.sin(angle), np.clip((strength - WEAK) / (STRONG - WEAK), 0, 1)
