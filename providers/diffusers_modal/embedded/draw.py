"""From a scene to pixels, with numpy, at any size. Distances are in parts of the shorter side."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from providers.diffusers_modal.embedded.scenes import COLOURS, POSITIONS, SIZES, Landscape, Scene, Shape

__all__ = ["MOON", "SUN", "draw", "shape_distance"]

Pixels = NDArray[np.floating[Any]]

# Top, middle and horizon of a sky.
_SKY = {
    "day": ((64, 142, 230), (128, 190, 245), (208, 234, 250)),
    "sunset": ((92, 50, 110), (236, 104, 72), (255, 202, 112)),
    "night": ((8, 11, 38), (18, 26, 72), (46, 60, 118)),
    "dawn": ((112, 118, 184), (214, 160, 196), (254, 214, 186)),
}
# How the light of the hour falls on land: a factor, and a tint that it is mixed with.
_LIGHT = {
    "day": (1.0, (255, 255, 255), 0.0),
    "sunset": (0.62, (150, 50, 60), 0.28),
    "night": (0.6, (20, 28, 80), 0.3),
    "dawn": (0.82, (180, 140, 180), 0.25),
}
_LAND = {
    "mountains": (104, 112, 134),
    "hills": (86, 164, 70),
    "sea": (28, 104, 170),
    "desert": (226, 180, 104),
    "forest": (28, 92, 54),
}
# Snow throws back the light of the sky: brighter than any land of its hour.
_SNOW = {
    "day": (244, 248, 254),
    "sunset": (255, 208, 188),
    "night": (158, 176, 228),
    "dawn": (252, 228, 232),
}
SUN = (255, 232, 110)
MOON = (240, 240, 232)


def draw(scene: Scene, width: int, height: int | None = None) -> Pixels:
    """The picture of a scene.

    Returns:
        Height x width x 3, from 0 to 255, edges smoothed over one and a half pixels.
    """
    canvas = _Canvas(width, width if height is None else height)
    if isinstance(scene, Shape):
        _draw_shape(canvas, scene)
    else:
        _draw_landscape(canvas, scene)
    return canvas.pixels


class _Canvas:
    """Pixels, and where each of them is: `x` grows to the right and `y` downwards."""

    def __init__(self, width: int, height: int) -> None:
        self.unit = min(width, height)  # pixels
        self.wide = width / self.unit
        self.high = height / self.unit
        self.x = ((np.arange(width, dtype=np.float32) + 0.5) / self.unit)[None, :]
        self.y = ((np.arange(height, dtype=np.float32) + 0.5) / self.unit)[:, None]
        self.pixels: Pixels = np.zeros((height, width, 3), np.float32)

    def inside(self, distance: Pixels) -> Pixels:
        """How much of each pixel lies where `distance` is negative."""
        cover: Pixels = np.clip(0.5 - distance * self.unit / 1.5, 0, 1)
        return cover

    def lay(self, cover: Pixels, colour: Pixels | tuple[int, ...]) -> None:
        """Paint a colour, or a picture of colours, over what is there."""
        self.pixels += cover[..., None] * (np.asarray(colour, np.float32) - self.pixels)


def shape_distance(shape: str, x: Pixels, y: Pixels, radius: float) -> Pixels:
    """How far each point is outside of a shape around (0, 0); negative within."""
    distance: Pixels
    if shape == "circle":
        distance = np.hypot(x, y) - radius
    elif shape == "square":
        distance = np.maximum(abs(x), abs(y)) - 0.88 * radius
    elif shape == "triangle":
        distance = np.maximum(y - 0.75 * radius, (1.75 * abs(x) - (y + 1.1 * radius)) / 2.016)
    else:
        distance = _star_distance(x, y, 1.15 * radius)
    return distance


def _star_distance(x: Pixels, y: Pixels, radius: float) -> Pixels:
    """Five points up; each edge is a straight line from a tip to a notch."""
    turn = 2 * math.pi / 5
    # Fold the plane into half of one arm, whose tip is on the positive x axis.
    angle = abs((np.arctan2(x, -y) + turn / 2) % turn - turn / 2)
    along, aside = np.hypot(x, y) * np.cos(angle), np.hypot(x, y) * np.sin(angle)
    notch = 0.45 * radius
    dx, dy = notch * math.cos(turn / 2) - radius, notch * math.sin(turn / 2)
    return ((along - radius) * dy - aside * dx) / math.hypot(dx, dy)


def _draw_shape(canvas: _Canvas, scene: Shape) -> None:
    canvas.pixels[:] = COLOURS[scene.background]
    px, py = POSITIONS[scene.position]
    x = canvas.x - (px + scene.dx) * canvas.wide
    y = canvas.y - (py + scene.dy) * canvas.high
    distance = shape_distance(scene.shape, x, y, SIZES[scene.size] * scene.scale)
    canvas.lay(canvas.inside(distance), COLOURS[scene.colour])


def _draw_landscape(canvas: _Canvas, scene: Landscape) -> None:
    numbers = np.random.default_rng(scene.seed)
    horizon = float(numbers.uniform(0.56, 0.64))
    _sky(canvas, scene.sky, horizon)
    if scene.stars:
        _stars(canvas, numbers)
    sun_at = (
        float(numbers.uniform(0.16, 0.84)) * canvas.wide,
        float(numbers.uniform(0.15, 0.34)) * canvas.high,
    )
    if scene.orb != "none":
        _orb(canvas, scene, sun_at)
    {"sea": _sea, "desert": _desert}.get(scene.land, _ridges)(canvas, scene, numbers, horizon, sun_at)


def _sky(canvas: _Canvas, sky: str, horizon: float) -> None:
    depth = np.clip(canvas.y / (horizon * canvas.high), 0, 1)[:, 0]
    stops = np.array(_SKY[sky], np.float32)
    for channel in range(3):
        canvas.pixels[..., channel] = np.interp(depth, (0, 0.55, 1), stops[:, channel])[:, None]


def _stars(canvas: _Canvas, numbers: np.random.Generator) -> None:
    for _ in range(round(16 * canvas.wide * canvas.high)):
        x, y = numbers.uniform(0, canvas.wide), numbers.uniform(0, 0.5 * canvas.high)
        radius = numbers.uniform(0.011, 0.018)
        # Of a star smaller than a pixel, no more light than it has.
        light = min(1.0, math.pi * (radius * canvas.unit) ** 2)
        distance = np.hypot(canvas.x - x, canvas.y - y) - radius
        canvas.lay(canvas.inside(distance) * light, (255, 252, 232))


def _orb(canvas: _Canvas, scene: Landscape, at: tuple[float, float]) -> None:
    distance = np.hypot(canvas.x - at[0], canvas.y - at[1])
    colour = SUN if scene.orb == "sun" else MOON
    glow = 0.55 if scene.orb == "sun" else 0.3
    canvas.lay(glow * np.exp(-np.maximum(distance - 0.085, 0) / 0.07), colour)
    canvas.lay(canvas.inside(distance - 0.085), colour)


def _lit(colour: tuple[int, ...], sky: str) -> Pixels:
    light, tint, share = _LIGHT[sky]
    return np.asarray(colour, np.float32) * light * (1 - share) + np.asarray(tint, np.float32) * share


def _waves(canvas: _Canvas, numbers: np.random.Generator, *parts: tuple[float, float]) -> Pixels:
    """A smooth line over the width: a sum of sines, each of a height and a number of waves."""
    line = np.zeros_like(canvas.x)
    for height, waves in parts:
        line += height * np.sin(waves * 2 * math.pi * canvas.x + numbers.uniform(0, 2 * math.pi))
    return line


def _peaks(canvas: _Canvas, numbers: np.random.Generator, count: float) -> Pixels:
    """A jagged line, 0 in the valleys and 1 at the tallest tips."""
    line = np.zeros_like(canvas.x)
    for _ in range(max(2, round(count * canvas.wide))):
        at, tall, slope = (
            numbers.uniform(-0.1, canvas.wide + 0.1),
            numbers.uniform(0.6, 1),
            numbers.uniform(2.2, 3.2),
        )
        line = np.maximum(line, tall - slope * abs(canvas.x - at))
    return line


def _ridges(
    canvas: _Canvas, scene: Landscape, numbers: np.random.Generator, horizon: float, _: tuple[float, float]
) -> None:
    """Mountains, hills and forest: three layers, paler with distance."""
    haze = np.array(_SKY[scene.sky][2], np.float32)
    for layer in range(3):
        base = (horizon + 0.02 + 0.14 * layer) * canvas.high
        line = _ridge(canvas, scene.land, numbers, layer)
        near = (0.62, 0.85, 1.0)[layer]
        body = _lit(_LAND[scene.land], scene.sky) * (1.1 - 0.18 * layer)
        white = np.asarray(_SNOW[scene.sky], np.float32) * (0.9 + 0.05 * layer)
        if scene.snow and scene.land != "mountains":
            # Hills and trees are white with some of their own colour left; trees more.
            body = body + (0.85 - 0.25 * (scene.land == "forest")) * (white - body)
        colour = np.clip(haze + near * (body - haze), 0, 255)
        top = base - line
        canvas.lay(canvas.inside(top - canvas.y), colour)
        if scene.snow and scene.land == "mountains":
            _caps(canvas, base, top, np.clip(haze + near * (white - haze), 0, 255), layer)


def _ridge(canvas: _Canvas, land: str, numbers: np.random.Generator, layer: int) -> Pixels:
    if land == "mountains":
        if layer == 2:
            return _waves(canvas, numbers, (0.03, numbers.uniform(0.5, 0.9)))
        return (0.34, 0.2)[layer] * _peaks(canvas, numbers, 2.2)
    if land == "hills":
        return _waves(canvas, numbers, (0.05, numbers.uniform(0.7, 1.1)), (0.02, numbers.uniform(1.6, 2.4)))
    trees = _waves(canvas, numbers, (0.02, numbers.uniform(0.6, 1.2)))
    step = (0.11, 0.15, 0.2)[layer]
    tooth = 1 - 2 * abs(((canvas.x + numbers.uniform(0, step)) / step) % 1 - 0.5)
    return trees + (0.12, 0.16, 0.2)[layer] * tooth


def _caps(canvas: _Canvas, base: float, top: Pixels, colour: Pixels, layer: int) -> None:
    """Snow above one height, with teeth that follow the slope; the foreground is white all over."""
    line = base - (0.11, 0.06, -1.0)[layer]
    teeth = 0.05 * (2 * abs((top / 0.09) % 1 - 0.5) - 0.5)
    cover = canvas.inside(top - canvas.y) * canvas.inside(canvas.y - (line + teeth))
    canvas.lay(cover, colour)


def _sea(
    canvas: _Canvas, scene: Landscape, numbers: np.random.Generator, horizon: float, at: tuple[float, float]
) -> None:
    line = np.full_like(canvas.x, horizon * canvas.high)
    depth = np.clip((canvas.y - line) / ((1 - horizon) * canvas.high), 0, 1)[..., None]
    far, near = _lit((70, 150, 205), scene.sky), _lit((4, 62, 128), scene.sky)
    colour = far + depth * (near - far)
    # The sky lies on the water, most of all far off, where one looks along it.
    colour = colour + (0.6 - 0.35 * depth) * (np.array(_SKY[scene.sky][1], np.float32) - colour)
    ripple = np.sin(2 * math.pi * (6 * np.sqrt(depth[..., 0]) + 0.25 * _waves(canvas, numbers, (1.0, 0.6))))
    colour = colour + 7.0 * ripple[..., None]
    canvas.lay(canvas.inside(line - canvas.y), np.clip(colour, 0, 255))
    if scene.orb != "none":
        spread = 0.05 + 0.12 * depth[..., 0]
        path = np.exp(-(((canvas.x - at[0]) / spread) ** 2)) * canvas.inside(line - canvas.y)
        canvas.lay(0.5 * path, SUN if scene.orb == "sun" else MOON)


def _desert(
    canvas: _Canvas, scene: Landscape, numbers: np.random.Generator, horizon: float, _: tuple[float, float]
) -> None:
    haze = np.array(_SKY[scene.sky][2], np.float32)
    for layer in range(3):
        line = _waves(canvas, numbers, (0.045, numbers.uniform(0.5, 0.9)), (0.015, numbers.uniform(1.2, 1.8)))
        top = (horizon + 0.03 + 0.14 * layer) * canvas.high - line
        body = _lit(_LAND["desert"], scene.sky) * (1.05 - 0.12 * layer)
        colour = haze + (0.7, 0.9, 1.0)[layer] * (body - haze)
        # A dune is brightest on its crest.
        shade = 1.06 - 0.35 * np.clip((canvas.y - top) / 0.3, 0, 1)
        canvas.lay(canvas.inside(top - canvas.y), np.clip(colour * shade[..., None], 0, 255))
