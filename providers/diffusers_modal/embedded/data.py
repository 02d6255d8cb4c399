"""Batches to train on: scenes drawn as they are asked for, so that none comes twice."""

import dataclasses
from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np

from providers.diffusers_modal.embedded.captions import caption
from providers.diffusers_modal.embedded.draw import draw
from providers.diffusers_modal.embedded.scenes import (
    COLOURS,
    LANDS,
    ORBS,
    POSITIONS,
    SHAPES,
    SIZES,
    SKIES,
    Scene,
    Shape,
    held_out,
    random_scene,
)

__all__ = ["ATTRIBUTES", "GRIDS", "Batch", "labels", "pictures", "subject", "thumbnails"]

GRIDS = ((32, 32), (40, 24), (72, 24), (24, 40))
"""Columns and rows of latent cells: what the model draws as such, in 256x256, 320x192, 576x192
and 192x320 pixels."""

_DETAIL = 2  # pixels drawn along a side of a cell


@dataclasses.dataclass(frozen=True)
class Batch:
    """Scenes with one caption each and pixels of batch x 3 x height x width, from 0 to 1."""

    scenes: list[Scene]
    captions: list[str]
    pixels: Any


def thumbnails(seed: str, count: int, columns: int = 32, rows: int = 32) -> Batch:
    """One pixel a latent cell. The seed decides everything; held-out combinations do not occur."""

    def thumbnail(scene: Scene) -> Any:
        fine = draw(scene, columns * _DETAIL, rows * _DETAIL)
        return fine.reshape(rows, _DETAIL, columns, _DETAIL, 3).mean((1, 3))

    return _batch(seed, count, thumbnail)


def pictures(seed: str, count: int, side: int) -> Batch:
    """Square pictures at full size, to learn to sharpen from."""
    return _batch(seed, count, lambda scene: draw(scene, side))


def _batch(seed: str, count: int, render: Callable[[Scene], Any]) -> Batch:
    import torch

    rng = Random(seed)
    scenes: list[Scene] = []
    while len(scenes) < count:
        scene = random_scene(rng)
        if not held_out(scene):
            scenes.append(scene)
    drawn = np.stack([render(scene) for scene in scenes]).clip(0, 255) / 255
    pixels = torch.from_numpy(drawn.astype(np.float32)).permute(0, 3, 1, 2).contiguous()
    return Batch(scenes, [caption(scene, rng) for scene in scenes], pixels)


def subject(scenes: list[Scene], columns: int, rows: int) -> Any:
    """How much each cell of a thumbnail matters: those where the caption puts a shape, three times.

    A small shape covers a fifteenth of its picture, and all that is hard to draw about it. The weight
    follows from what the caption says alone, so it moves no cell's expected colour.

    Returns:
        Batch x 1 x rows x columns.
    """
    import torch

    unit = min(columns, rows)
    x, y = (np.arange(columns) + 0.5)[None, :], (np.arange(rows) + 0.5)[:, None]
    weights = np.ones((len(scenes), 1, rows, columns), np.float32)
    for index, scene in enumerate(scenes):
        if isinstance(scene, Shape):
            px, py = POSITIONS[scene.position]
            reach = (1.25 * SIZES[scene.size] + 0.05) * unit
            near = (abs(x - px * columns) < reach) & (abs(y - py * rows) < reach)
            weights[index, 0][near] = 3.0
    return torch.from_numpy(weights)


# What a caption says, as classes to be told from the text alone; the last class of each is
# "not of this kind of scene".
ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "kind": ("shape", "landscape"),
    "colour": (*COLOURS, "-"),
    "background": (*COLOURS, "-"),
    "shape": (*SHAPES, "-"),
    "size": (*SIZES, "-"),
    "position": (*POSITIONS, "-"),
    "sky": (*SKIES, "-"),
    "land": (*LANDS, "-"),
    "snow": ("no", "yes", "-"),
    "orb": (*ORBS, "-"),
    "stars": ("no", "yes", "-"),
}


def labels(scene: Scene) -> list[int]:
    """The class of a scene for each of `ATTRIBUTES`."""
    if isinstance(scene, Shape):
        said: dict[str, str] = {"kind": "shape"} | {
            name: getattr(scene, name) for name in ("colour", "background", "shape", "size", "position")
        }
    else:
        said = {"kind": "landscape", "sky": scene.sky, "land": scene.land, "orb": scene.orb}
        said |= {"snow": "yes" if scene.snow else "no", "stars": "yes" if scene.stars else "no"}
    return [classes.index(said.get(name, "-")) for name, classes in ATTRIBUTES.items()]
