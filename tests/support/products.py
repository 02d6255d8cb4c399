"""Products drawn by code, whose alpha is known, and backgrounds to put them on."""

import functools
import io
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

__all__ = ["GROUNDS", "PRODUCTS", "as_jpeg", "before", "bottle", "ground", "mug", "shoe"]

OVER = 4
"""Drawn this many times larger and then reduced: edges are anti-aliased as a camera's are."""


Drawing = Callable[[int], Image.Image]


def kept(draw: Drawing) -> Drawing:
    """Draws a product once of a size, and gives a copy each time."""
    drawn = functools.cache(draw)
    return functools.wraps(draw)(lambda edge: drawn(edge).copy())


@kept
def bottle(edge: int) -> Image.Image:
    """A dark green bottle with a cream label and a highlight."""
    picture, draw, u = _sheet(edge)
    draw.rounded_rectangle((38 * u, 36 * u, 62 * u, 88 * u), 5 * u, fill=(24, 74, 48))
    draw.polygon(
        [(38 * u, 42 * u), (62 * u, 42 * u), (54.5 * u, 26 * u), (45.5 * u, 26 * u)], fill=(24, 74, 48)
    )
    draw.rectangle((45.5 * u, 14 * u, 54.5 * u, 30 * u), fill=(24, 74, 48))
    draw.rounded_rectangle((44.5 * u, 10 * u, 55.5 * u, 17 * u), u, fill=(150, 40, 34))
    draw.rectangle((38 * u, 52 * u, 62 * u, 74 * u), fill=(226, 206, 158))
    draw.rectangle((42 * u, 58 * u, 58 * u, 60 * u), fill=(90, 40, 20))
    draw.rectangle((45 * u, 64 * u, 55 * u, 65 * u), fill=(90, 40, 20))
    draw.rounded_rectangle((40.5 * u, 40 * u, 42 * u, 50 * u), 0.7 * u, fill=(128, 170, 140))
    return _reduced(picture, edge)


@kept
def mug(edge: int) -> Image.Image:
    """A red mug, with a handle that one sees through."""
    picture, draw, u = _sheet(edge)
    draw.ellipse((54 * u, 38 * u, 82 * u, 70 * u), fill=(176, 32, 40))
    draw.ellipse((60 * u, 45 * u, 75 * u, 63 * u), fill=(0, 0, 0, 0))
    draw.rounded_rectangle((24 * u, 28 * u, 66 * u, 80 * u), 6 * u, fill=(190, 38, 46))
    draw.rectangle((24 * u, 28 * u, 66 * u, 34 * u), fill=(150, 26, 34))
    draw.ellipse((34 * u, 44 * u, 54 * u, 64 * u), fill=(240, 200, 80))
    return _reduced(picture, edge)


@kept
def shoe(edge: int) -> Image.Image:
    """A blue shoe with a pale sole and laces, all curves and points."""
    picture, draw, u = _sheet(edge)
    upper = [
        *[(14, 62), (17, 38), (24, 32), (36, 34), (44, 42)],
        *[(60, 50), (78, 54), (88, 60), (89, 66), (14, 66)],
    ]
    draw.polygon([(x * u, y * u) for x, y in upper], fill=(36, 66, 140))
    draw.rounded_rectangle((12 * u, 64 * u, 91 * u, 72 * u), 4 * u, fill=(206, 150, 96))
    for n in range(4):
        x, y = 42 + 6 * n, 42.5 + 2.4 * n
        draw.line([(x * u, y * u), ((x - 4) * u, (y + 7) * u)], fill=(250, 240, 220), width=int(u))
    return _reduced(picture, edge)


PRODUCTS: dict[str, Drawing] = {"bottle": bottle, "mug": mug, "shoe": shoe}

Colours = NDArray[np.float64]


def ground(name: str, width: int, height: int) -> Image.Image:
    """A background by its name."""
    y, x = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    random = np.random.default_rng(7)
    return Image.fromarray(np.clip(np.rint(GROUNDS[name](x, y, random)), 0, 255).astype(np.uint8))


def _flat(*colour: int) -> Callable[[Colours, Colours, np.random.Generator], Colours]:
    return lambda x, _y, _random: np.ones_like(x)[..., None] * np.array(colour, float)


def _gradient(x: Colours, y: Colours, _random: np.random.Generator) -> Colours:
    return (215 + 22 * x - 28 * y)[..., None] * np.array([1, 0.98, 0.95])


def _vignette(x: Colours, y: Colours, _random: np.random.Generator) -> Colours:
    return (238 / (1 + 0.09 * (x**2 + y**2)) ** 2)[..., None] * np.array([1, 1, 1.0])


def _noisy(x: Colours, _y: Colours, random: np.random.Generator) -> Colours:
    return 200 + random.normal(0, 5, (*x.shape, 3))


def _shadowed(x: Colours, y: Colours, _random: np.random.Generator) -> Colours:
    """As a studio leaves it: the product's soft shadow lies on the sweep."""
    return (244 - 70 * np.exp(-(((x - 0.1) / 0.6) ** 2) - ((y - 0.6) / 0.14) ** 2))[..., None] * np.ones(3)


def _stripes(x: Colours, y: Colours, _random: np.random.Generator) -> Colours:
    return (150 + 70 * np.sign(np.sin(14 * x + 6 * y)))[..., None] * np.array([1, 0.9, 0.7])


def _leaves(x: Colours, y: Colours, random: np.random.Generator) -> Colours:
    cells = random.uniform(30, 220, (24, 24, 3))
    row, column = ((y + 1) * 11.9).astype(int), ((x + 1) * 11.9).astype(int)
    return cells[row, column]


def _horizon(_x: Colours, y: Colours, _random: np.random.Generator) -> Colours:
    return np.where((y > 0.3)[..., None], np.array([140, 96, 60.0]), np.array([222, 226, 230.0]))


GROUNDS: dict[str, Callable[[Colours, Colours, np.random.Generator], Colours]] = {
    "white": _flat(255, 255, 255),
    "grey": _flat(168, 168, 170),
    "black": _flat(0, 0, 0),
    "teal": _flat(110, 196, 190),
    "gradient": _gradient,
    "vignette": _vignette,
    "noisy": _noisy,
    "shadowed": _shadowed,
    "stripes": _stripes,
    "leaves": _leaves,
    "horizon": _horizon,
}


def before(product: Image.Image, name: str) -> Image.Image:
    """A product in front of a background, as RGB."""
    picture = ground(name, *product.size).convert("RGBA")
    picture.alpha_composite(product)
    return picture.convert("RGB")


def as_jpeg(picture: Image.Image, quality: int = 85) -> Image.Image:
    """What a JPEG makes of a picture: with its colours at half the size."""
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return Image.open(io.BytesIO(file.getvalue())).convert("RGB")


def _sheet(edge: int) -> tuple[Image.Image, ImageDraw.ImageDraw, float]:
    picture = Image.new("RGBA", (edge * OVER, edge * OVER))
    return picture, ImageDraw.Draw(picture), edge * OVER / 100


def _reduced(picture: Image.Image, edge: int) -> Image.Image:
    """With a little shading from left to right, as round things have it."""
    small = picture.convert("RGBa").resize((edge, edge), Image.Resampling.BOX).convert("RGBA")
    shade = np.linspace(1.06, 0.8, edge)[None, :, None]
    pixels = np.asarray(small).astype(float)
    pixels[..., :3] = np.clip(pixels[..., :3] * shade, 0, 255)
    return Image.fromarray(pixels.astype(np.uint8))
