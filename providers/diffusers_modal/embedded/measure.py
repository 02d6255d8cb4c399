"""What a picture shows, measured from its pixels alone: the ruler of `evaluate.py`.

Shapes are measured by geometry: what stands out from the border's colour, where it is, how
large, and which outline of the same area covers it best. A landscape is compared with drawn
ones: rows of colour and of roughness from top to bottom, and the nearest kind wins. How often
the ruler is right on drawn scenes, `evaluate.py --ruler` prints.
"""

import functools
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from providers.diffusers_modal.embedded.draw import MOON, SUN, draw, shape_distance
from providers.diffusers_modal.embedded.scenes import (
    COLOURS,
    LANDS,
    POSITIONS,
    SHAPES,
    SIZES,
    SKIES,
    SNOWLESS,
    Landscape,
    Scene,
    Shape,
)

__all__ = ["LANDSCAPE_ATTRIBUTES", "SHAPE_ATTRIBUTES", "measure"]

SHAPE_ATTRIBUTES = ("colour", "background", "position", "size", "shape")
LANDSCAPE_ATTRIBUTES = ("sky", "land", "snow", "orb")

_SIDE = 128
_ROWS = 16
_STANDS_OUT = 50.0  # of 441: the distance from black to white
_COVERS = 0.75  # of the outline and the mask together
_NOTHING = {name: "nothing" for name in SHAPE_ATTRIBUTES}

Pixels = NDArray[np.floating[Any]]


def measure(picture: Image.Image, asked: Scene) -> dict[str, bool]:
    """For each attribute of the scene that was asked for, whether the picture has it.

    Args:
        picture: square, of any size.
        asked: what it should show.
    """
    seen = _see_shape(picture) if isinstance(asked, Shape) else _see_landscape(picture)
    return {name: found == getattr(asked, name) for name, found in seen.items()}


def _see_shape(picture: Image.Image) -> dict[str, Any]:
    pixels = np.asarray(picture.convert("RGB").resize((_SIDE, _SIDE), Image.Resampling.BOX), float)
    edge = np.concatenate(
        [pixels[:3], pixels[-3:], pixels[:, :3].swapaxes(0, 1), pixels[:, -3:].swapaxes(0, 1)]
    )
    background = np.median(edge.reshape(-1, 3), 0)
    mask = np.linalg.norm(pixels - background, axis=-1) > _STANDS_OUT
    seen = {**_NOTHING, "background": _nearest(background)}
    if mask.mean() < 0.005:
        return seen
    rows, columns = np.nonzero(mask)
    x, y = (columns.mean() + 0.5) / _SIDE, (rows.mean() + 0.5) / _SIDE
    shape, radius, cover = _best_outline(mask, x, y)
    middle = (SIZES["small"] * SIZES["large"]) ** 0.5
    seen["colour"] = _nearest(np.median(pixels[mask], 0))
    seen["position"] = min(POSITIONS, key=lambda name: abs(np.subtract(POSITIONS[name], (x, y))).max())
    seen["size"] = "small" if radius < middle else "large"
    seen["shape"] = shape if cover > _COVERS else "unclear"
    return seen


def _nearest(colour: Pixels) -> str:
    return min(COLOURS, key=lambda name: float(np.linalg.norm(colour - COLOURS[name])))


def _best_outline(mask: NDArray[np.bool_], x: float, y: float) -> tuple[str, float, float]:
    """The shape that covers the mask best, its radius, and intersection over union."""

    def fit(shape: str) -> tuple[str, float, float]:
        area, drop = _outline(shape)
        radius = float(np.sqrt(mask.mean() / area))
        at = (np.arange(_SIDE, dtype=np.float32) + 0.5) / _SIDE
        outline = shape_distance(shape, at[None, :] - x, at[:, None] - y + drop * radius, radius) < 0
        return shape, radius, float((outline & mask).sum() / (outline | mask).sum())

    return max((fit(shape) for shape in SHAPES), key=lambda found: found[2])


@functools.cache
def _outline(shape: str) -> tuple[float, float]:
    """Of a shape of radius 1: its area, and how far below its centre its middle of mass is."""
    at = np.linspace(-2, 2, 401, dtype=np.float32)
    inside = shape_distance(shape, at[None, :], at[:, None], 1.0) < 0
    return float(inside.mean() * 16), float((inside * at[:, None]).sum() / inside.sum())


def _see_landscape(picture: Image.Image) -> dict[str, Any]:
    kinds, means, spread = _references()
    found = _profile(picture)
    sky, land, snow = kinds[int(np.argmin((((means - found) / spread) ** 2).sum(1)))]
    return {"sky": sky, "land": land, "snow": snow, "orb": _orb(picture)}


def _profile(picture: Image.Image) -> Pixels:
    """From top to bottom: the middle colour of each band, and how rough the band is along it."""
    pixels = np.asarray(picture.convert("RGB").resize((64, 64), Image.Resampling.BOX), float)
    bands = pixels.reshape(_ROWS, 64 // _ROWS, 64, 3)
    colours = np.median(bands, (1, 2))
    rough = abs(np.diff(bands, 2, axis=2)).mean((1, 2, 3))
    return np.concatenate([colours.ravel(), 3 * rough])


@functools.cache
def _references() -> tuple[list[tuple[str, str, bool]], Pixels, Pixels]:
    """Every kind of landscape: its mean profile, and how much one of a kind differs from it."""
    rng = Random("references")
    kinds = [
        (sky, land, snow)
        for sky in SKIES
        for land in LANDS
        for snow in (False, True)
        if not (snow and land in SNOWLESS)
    ]
    profiles = np.array([[_profile(_reference(kind, rng)) for _ in range(24)] for kind in kinds])
    means = profiles.mean(1)
    return kinds, means, np.sqrt(((profiles - means[:, None]) ** 2).mean((0, 1))) + 4.0


def _reference(kind: tuple[str, str, bool], rng: Random) -> Image.Image:
    sky, land, snow = kind
    orb = rng.choice(("none", "none", "sun", "moon"))
    scene = Landscape(
        sky, land, snow, orb, stars=sky == "night" and rng.random() < 0.7, seed=rng.randrange(1 << 31)
    )
    return Image.fromarray(draw(scene, 64).clip(0, 255).astype("uint8"))


def _orb(picture: Image.Image) -> str:
    """A disc of the sun's or the moon's colour in the upper half, and not just a star."""
    pixels = np.asarray(picture.convert("RGB").resize((32, 32), Image.Resampling.BOX), float)[:15]
    counts = {
        name: int((np.linalg.norm(pixels - colour, axis=-1) < 48).sum())
        for name, colour in (("sun", SUN), ("moon", MOON))
    }
    name = max(counts, key=lambda key: counts[key])
    return name if counts[name] >= 7 else "none"
