"""What the embedded model can draw: flat shapes and landscapes, as data and as a seeded draw.

A scene is what a caption (`captions.py`) says and a picture (`draw.py`) shows. Everything that
a caption can say is a field here; what it leaves open comes from the random numbers given.
"""

import dataclasses
import zlib
from random import Random

__all__ = [
    "COLOURS",
    "LANDS",
    "ORBS",
    "POSITIONS",
    "SHAPES",
    "SIZES",
    "SKIES",
    "SNOWLESS",
    "Landscape",
    "Scene",
    "Shape",
    "held_out",
    "random_landscape",
    "random_meaning",
    "random_scene",
    "random_shape",
]

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (221, 42, 42),
    "orange": (244, 138, 28),
    "yellow": (245, 214, 54),
    "green": (42, 160, 72),
    "teal": (26, 148, 152),
    "blue": (48, 88, 218),
    "purple": (138, 62, 190),
    "pink": (248, 158, 196),
    "white": (250, 250, 250),
    "grey": (128, 128, 130),
    "black": (16, 16, 18),
}
"""sRGB, 0 to 255. Of shapes and of backgrounds; a scene never has the same one for both."""

SHAPES = ("circle", "square", "triangle", "star")

POSITIONS: dict[str, tuple[float, float]] = {
    "center": (0.5, 0.5),
    "top": (0.5, 0.26),
    "bottom": (0.5, 0.74),
    "left": (0.26, 0.5),
    "right": (0.74, 0.5),
    "top left": (0.26, 0.26),
    "top right": (0.74, 0.26),
    "bottom left": (0.26, 0.74),
    "bottom right": (0.74, 0.74),
}
"""Centre of the shape, as parts of the picture's width and height, from the top left."""

SIZES = {"small": 0.145, "large": 0.24}
"""Radius of the shape, as a part of the picture's shorter side."""

SKIES = ("day", "sunset", "night", "dawn")
LANDS = ("mountains", "hills", "sea", "desert", "forest")
ORBS = ("none", "sun", "moon")

SNOWLESS = ("sea", "desert")
_JITTER = 0.025


@dataclasses.dataclass(frozen=True)
class Shape:
    """One flat shape on a flat background."""

    colour: str
    shape: str
    size: str
    position: str
    background: str
    # What no caption says.
    dx: float = 0.0
    dy: float = 0.0
    scale: float = 1.0


@dataclasses.dataclass(frozen=True)
class Landscape:
    """Sky above land. `seed` decides what no caption says: ridges, trees, where the sun stands."""

    sky: str
    land: str
    snow: bool
    orb: str
    stars: bool
    seed: int = 0


Scene = Shape | Landscape


def random_shape(rng: Random) -> Shape:
    """Every combination is as likely as any other."""
    background = rng.choice(list(COLOURS))
    return Shape(
        colour=rng.choice([name for name in COLOURS if name != background]),
        shape=rng.choice(SHAPES),
        size=rng.choice(list(SIZES)),
        position=rng.choice(list(POSITIONS)),
        background=background,
        dx=rng.uniform(-_JITTER, _JITTER),
        dy=rng.uniform(-_JITTER, _JITTER),
        scale=rng.uniform(0.92, 1.08),
    )


def random_landscape(rng: Random) -> Landscape:
    """Stars are a matter of nights; neither the sea nor the desert has snow."""
    sky = rng.choice(SKIES)
    land = rng.choice(LANDS)
    # The orb of the hour is the likelier one.
    orb = rng.choices(ORBS, (4, 1, 5) if sky == "night" else (4, 5, 1))[0]
    return Landscape(
        sky=sky,
        land=land,
        snow=land not in SNOWLESS and rng.random() < 0.4,
        orb=orb,
        stars=sky == "night" and rng.random() < 0.7,
        seed=rng.randrange(1 << 31),
    )


def random_meaning(rng: Random) -> Scene:
    """A scene to read about and not to draw: what it says of one thing tells nothing of any other.

    Where every starry sea of the captions had a moon or a sun over it, "a starry sea by night" was read
    as one with a moon, 118 times of 118. Stars by day and snow on the sea are said here as often as not.
    """
    if rng.random() < 0.5:
        return random_shape(rng)
    return Landscape(
        sky=rng.choice(SKIES),
        land=rng.choice(LANDS),
        snow=rng.random() < 0.5,
        orb=rng.choice(ORBS),
        stars=rng.random() < 0.5,
    )


def random_scene(rng: Random) -> Scene:
    """Six shapes to four landscapes."""
    return random_shape(rng) if rng.random() < 0.6 else random_landscape(rng)


def held_out(scene: Scene) -> bool:
    """Whether the training never shows this combination.

    All that a caption can say counts, and a checksum decides: so of a held-out combination each part,
    and each few of them together, is seen in training. Where a whole triple of colour, shape and place
    was held out, the model learned that it does not occur (33% of those right, and 56% of others).
    A first rule holds an eighth out, the checksum half of that: the weights that are shipped saw
    nothing of that eighth for the first part of their training.
    """
    if isinstance(scene, Shape):
        parts = (list(COLOURS).index(scene.colour), SHAPES.index(scene.shape))
        eighth = 3 * parts[0] + parts[1] + 5 * list(POSITIONS).index(scene.position)
        said = f"{scene.colour} {scene.background} {scene.shape} {scene.size} {scene.position}"
    else:
        parts = (SKIES.index(scene.sky), LANDS.index(scene.land))
        eighth = parts[0] + 3 * parts[1] + 5 * ORBS.index(scene.orb) + 2 * scene.snow
        said = f"{scene.sky} {scene.land} {scene.snow} {scene.orb} {scene.stars}"
    return eighth % 8 == 0 and zlib.crc32(said.encode()) % 2 == 0
