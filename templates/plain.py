"""The product before a plain background: what of a picture is background.

    model   a smooth surface of colour through what the picture's border shows: it may be lit
            unevenly, or darker in its corners
    flood   whatever is like it, from the border inwards; soft shadows on it as well
    holes   `holes`: what shows the background inside the product, as a mug's handle does
    edges   `matting`: what belongs to both is taken apart

Whoever is in doubt here refuses. A product whose colour is the background's is eaten by a flood,
and the contour that stays is then one across which little changes: that is what is looked for.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from templates.cutout import NoCutout
from templates.holes import holes
from templates.matting import Matte, clinging, matte

__all__ = ["cut_off_plain"]

Floats = NDArray[np.float32]
Mask = NDArray[np.uint8]
"""0 or 1."""

MODEL_EDGE = 512
"""Pixels of the longer edge of the copy on which the background is learnt."""
WORK_EDGE = 2400
"""A picture whose longer edge is longer is cut out in a copy of this size."""
LEAST_TOLERANCE, MOST_TOLERANCE = 3.5, 12.0
"""How far in Lab a colour may be from the model; more than the most, and the background isn't plain."""
LEAST_BORDER = 0.6
"""Share of the border that must be background."""
SOFT = 1.0
"""Steps of lightness a pixel of the small copy, under which a darkening is a shadow's; up to twice
as many where the picture is smaller than that copy would be."""
DARKEST = 45.0
"""How much less light a shadow may have than the background around it."""
LEAST_SHARE, MOST_SHARE = 0.002, 0.97
"""Of the frame, that a product covers."""
MOST_PIECES = 40
MOST_WEAK = 0.2
"""Share of a product's contour that may be hard to see."""


@dataclass(frozen=True)
class Ground:
    """A background as learnt: its colour at each pixel, and what is like it."""

    lab: Floats
    tolerance: float
    noise: float
    shadow: Mask


def cut_off_plain(picture: Image.Image) -> Image.Image:
    """The product in RGBA, of the picture's size.

    Args:
        picture: RGB.

    Raises:
        NoCutout: the background isn't plain, or product and background are too alike.
    """
    longest = max(picture.size)
    if longest <= WORK_EDGE:
        return _cut(picture)
    scale = WORK_EDGE / longest
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    large = _cut(picture.resize(size, Image.Resampling.BOX)).resize(picture.size, Image.Resampling.BICUBIC)
    alpha = large.getchannel("A")
    large.paste(picture, mask=alpha.point([0] * 255 + [255]))
    large.putalpha(alpha)
    return large


def _cut(picture: Image.Image) -> Image.Image:
    pixels = np.asarray(picture)
    ground = _learn(pixels)
    mask = _product(pixels, ground)
    mask = _without_specks(_outline(pixels, mask, ground))
    made = matte(pixels, mask)
    _see(mask, made, ground.tolerance)
    return Image.fromarray(np.dstack([made.colours, made.alpha]))


def _lab(pixels: NDArray[np.uint8], blur: float) -> Floats:
    lab = cv2.cvtColor(pixels.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    return cv2.GaussianBlur(lab, (0, 0), blur).astype(np.float32) if blur else lab.astype(np.float32)


# ---- the model -----------------------------------------------------------------------------


def _terms(height: int, width: int, degree: int) -> Floats:
    """The polynomials of x and y up to a degree, at each pixel: (height, width, terms)."""
    across, down = (np.linspace(-1, 1, length, dtype=np.float32) for length in (width, height))
    both = [(i, j) for i in range(degree + 1) for j in range(degree + 1 - i)]
    terms = np.empty((height, width, len(both)), np.float32)
    for n, (i, j) in enumerate(both):
        terms[..., n] = np.outer(down**j, across**i)
    return terms


def _surface(terms: Floats, colours: Floats, keep: Floats) -> Floats:
    """The coefficients of the surface through these points, each with a weight."""
    weighed = terms * keep[:, None]
    ridge = 1e-4 * float(keep.sum()) * np.eye(terms.shape[1], dtype=np.float32)
    ridge[0, 0] = 0
    return np.linalg.solve(weighed.T @ terms + ridge, weighed.T @ colours).astype(np.float32)


def _learn(pixels: NDArray[np.uint8]) -> Ground:
    """The background of a picture.

    Raises:
        NoCutout: the border is not of one colour, however softly it changes.
    """
    height, width = pixels.shape[:2]
    scale = min(1.0, MODEL_EDGE / max(height, width))
    size = (max(8, round(width * scale)), max(8, round(height * scale)))
    lab = _lab(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA).astype(np.uint8), 0.8)
    ring = np.zeros(lab.shape[:2], bool)
    thick = max(2, round(min(size) * 0.02))
    ring[:thick] = ring[-thick:] = True
    ring[:, :thick] = ring[:, -thick:] = True
    terms = _terms(lab.shape[0], lab.shape[1], 2)
    model = terms @ _border(terms[ring], lab[ring])
    away = np.linalg.norm(lab - model, axis=2)
    tolerance, noise = _tolerance(away[ring])
    shadow = np.zeros(lab.shape[:2], np.uint8)
    for degree in (2, 4):
        known = _outside(((away < tolerance) & (shadow == 0)).astype(np.uint8))
        if known.mean() > 0.25:
            terms = _terms(lab.shape[0], lab.shape[1], degree)
            at = known > 0
            model = terms @ _surface(terms[at], lab[at], np.ones(int(at.sum()), np.float32))
            away = np.linalg.norm(lab - model, axis=2)
            tolerance, noise = _tolerance(away[ring])
        shadow = _shadow(lab, model, tolerance)
    full = (width, height)
    return Ground(
        lab=cv2.resize(model, full, interpolation=cv2.INTER_LINEAR).astype(np.float32),
        tolerance=tolerance,
        noise=noise,
        shadow=(cv2.resize(shadow.astype(np.float32), full, interpolation=cv2.INTER_LINEAR) > 0.5).astype(
            np.uint8
        ),
    )


def _border(terms: Floats, colours: Floats) -> Floats:
    """The surface through most of the border: what a product touches of it weighs little."""
    off = np.linalg.norm(colours - np.median(colours, axis=0), axis=1)
    for _ in range(12):
        found = _surface(terms, colours, (1 / np.maximum(off, 0.5)).astype(np.float32))
        off = np.linalg.norm(colours - terms @ found, axis=1)
    near = off < max(3 * float(np.median(off)), LEAST_TOLERANCE)
    return _surface(terms, colours, near.astype(np.float32))


def _tolerance(away: Floats) -> tuple[float, float]:
    """How far from the model is still background, and how far it is as a rule."""
    noise = float(np.median(away))
    near = away[away < max(4 * noise, LEAST_TOLERANCE)]
    tolerance = max(LEAST_TOLERANCE, 1.25 * float(np.quantile(near, 0.99)))
    share = float((away < min(tolerance, MOST_TOLERANCE)).mean())
    if share < LEAST_BORDER:
        raise NoCutout(f"the background isn't plain (only {share:.0%} of the picture's border is alike)")
    if tolerance > MOST_TOLERANCE:
        raise NoCutout("the background isn't plain (its colour changes from place to place)")
    return tolerance, noise


def _shadow(lab: Floats, model: Floats, tolerance: float) -> Mask:
    """Where the background is softly darker, and of its own hue."""
    light, ground = lab[..., 0], np.maximum(model[..., 0], 1.0)
    hue = lab[..., 1:] - model[..., 1:] * (light / ground)[..., None]
    smooth = cv2.GaussianBlur(light, (0, 0), 1.2)
    steep = np.hypot(
        cv2.Sobel(smooth, cv2.CV_32F, 1, 0, scale=1 / 8), cv2.Sobel(smooth, cv2.CV_32F, 0, 1, scale=1 / 8)
    )
    less = ground - light
    soft = (
        (steep < SOFT * min(2.0, MODEL_EDGE / max(light.shape)))
        & (less > LEAST_TOLERANCE / 2)
        & (less < DARKEST)
        & (np.linalg.norm(hue, axis=2) < tolerance)
    )
    return np.asarray(soft, np.uint8)


# ---- what is product -----------------------------------------------------------------------


def _outside(like: Mask) -> Mask:
    """What is connected with the frame, of what is like the background."""
    frame = np.ones_like(like)
    frame[1:-1, 1:-1] = 0
    return _flooded(like, frame)


def _flooded(ground: Mask, sources: Mask) -> Mask:
    """The parts of a ground with a source in them."""
    number, labels = cv2.connectedComponents(ground, connectivity=4)
    wet = np.zeros(number, np.uint8)
    wet[labels[sources > 0]] = 1
    wet[0] = 0
    return np.asarray(wet[labels], np.uint8)


def _product(pixels: NDArray[np.uint8], ground: Ground) -> Mask:
    """Where the product is.

    Raises:
        NoCutout: nowhere, everywhere, or in too many places.
    """
    lab = _lab(pixels, 0.8)
    away = np.linalg.norm(lab - ground.lab, axis=2)
    like = ((away < ground.tolerance) | (ground.shadow > 0)).astype(np.uint8)
    product = (1 - _outside(like)).astype(np.uint8)
    product = _without_specks(product)
    return product & (1 - holes(product, like, away.astype(np.float32), ground.tolerance, ground.noise))


def _without_specks(product: Mask) -> Mask:
    """The pieces that are large enough to be meant."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(product, connectivity=8)
    areas = stats[1:, cv2.CC_STAT_AREA]
    total = product.size
    if not len(areas) or int(areas.max()) < LEAST_SHARE * total:
        raise NoCutout("nothing stands out from the background")
    large = areas >= max(0.01 * int(areas.max()), 0.0002 * total)
    if int(large.sum()) > MOST_PIECES or int(areas[~large].sum()) > 0.02 * total:
        raise NoCutout("the background isn't plain (too much stands out from it)")
    kept: Mask = np.concatenate([[0], large]).astype(np.uint8)[labels]
    if float(kept.mean()) > MOST_SHARE:
        raise NoCutout("the product fills the picture, and no background is left around it")
    return kept


def _outline(pixels: NDArray[np.uint8], product: Mask, ground: Ground) -> Mask:
    """Without what clings to the product's edge: a file's ringing, the dark of where it stands.

    It is much nearer to the background beside it than to the product beside it.
    """
    clings = clinging(pixels, product, 3 * ground.tolerance)
    around = (1 - product).astype(np.uint8)
    return np.asarray(1 - _flooded(around | clings, around), np.uint8)


def _see(mask: Mask, made: Matte, tolerance: float) -> None:
    """Raise where the contour that was found is not one that can be seen."""
    frame = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
    corners = int(mask[0, 0]) + int(mask[0, -1]) + int(mask[-1, 0]) + int(mask[-1, -1])
    if float(frame.mean()) > 1 - LEAST_BORDER or corners > 1:
        raise NoCutout("the background isn't plain (what stands out from it runs along the picture's border)")
    weak = float((made.contrast < 1.5 * tolerance).mean()) if made.contrast.size else 1.0
    if weak > MOST_WEAK:
        raise NoCutout("product and background are too alike to be told apart")
