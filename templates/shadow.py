"""The shadow that makes a product stand in a scene, and the white picture of a catalogue.

Two shadows are multiplied onto the scene before the product is laid over it: a narrow, dark one where
the product touches the ground, and a wide, soft one that its outline casts to the side. Neither is
ever on the product.
"""

from msgspec import Struct
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from templates.cutout import SOLID, Cutout
from templates.place import Placed, laid, place

__all__ = ["CONTACT", "FAINT", "NONE", "SOFT", "Shade", "catalogue", "shadowed"]

WHITE = (255, 255, 255)
CATALOGUE_FILL = 0.85
"""Of a catalogue picture's edge, that marketplaces want filled."""
CATALOGUE_MOST = 0.9
CATALOGUE_MARGIN = 0.03
"""Of the shorter edge, around the picture, where there is no shadow: only white."""
LYING = 0.3
"""The height of a cast shadow, in heights of the product."""
FOOT = 0.05
"""The part of a product's height that stands on the ground."""


class Shade(Struct, frozen=True, kw_only=True):
    """How dark a shadow is, from 0 to 1."""

    contact: float
    """Where the product touches the ground."""
    cast: float
    """Beside and behind it."""
    ambient: float
    """Around its foot."""
    lean: float = 1.1
    """How far to the right the cast shadow lies, in heights of itself; negative is to the left."""
    spread: float = 1.0
    """How soft they are."""


SOFT = Shade(contact=0.6, cast=0.36, ambient=0.34)
FAINT = Shade(contact=0.36, cast=0.0, ambient=0.2, spread=0.6)
CONTACT = Shade(contact=0.6, cast=0.0, ambient=0.45)
NONE = Shade(contact=0, cast=0, ambient=0)


def shadowed(scene: Image.Image, placed: Placed, shade: Shade = SOFT, *, margin: int = 0) -> Image.Image:
    """A scene with the product's shadow, and the product on it: RGB, of the scene's size.

    Args:
        scene: what is behind the product.
        placed: the product in it.
        shade: how dark the shadow is.
        margin: pixels along the scene's edges within which the shadow fades to nothing.
    """
    ground = scene.convert("RGB")
    light = _light(ground.size, placed, shade)
    if margin:
        light = _faded(light, margin)
    return laid(ImageChops.multiply(ground, Image.merge("RGB", (light, light, light))), placed)


def catalogue(cutout: Cutout, size: tuple[int, int], shade: Shade = FAINT) -> tuple[Image.Image, Placed]:
    """A product on pure white, in the middle, filling what marketplaces ask for.

    It fills 85% to 90% of the frame, at its own size where that comes to as much; a product under
    half that size fills less, since more than twofold is not enlarged.

    Args:
        cutout: the product.
        size: width and height of the picture, in pixels.
        shade: its shadow; faint, and all white again before the picture's edge.
    """
    across, down = (round(edge * (1 - CATALOGUE_MOST) / 2) for edge in size)
    room = across, down, size[0] - across, size[1] - down
    placed = place(cutout, room, least=CATALOGUE_FILL / CATALOGUE_MOST, align=(0.5, 0.5))
    margin = max(1, round(min(size) * CATALOGUE_MARGIN))
    return shadowed(Image.new("RGB", size, WHITE), placed, shade, margin=margin), placed


def _light(size: tuple[int, int], placed: Placed, shade: Shade) -> Image.Image:
    """What is left of the scene's light, as L: 255 where all of it is."""
    light = Image.new("L", size, 255)
    for dark, strength in (
        (_cast, shade.cast),
        (_ambient, shade.ambient),
        (_contact, shade.contact),
    ):
        if strength:
            less = [round(255 - strength * value) for value in range(256)]
            light = ImageChops.multiply(light, dark(size, placed, shade).point(less))
    return light


def _faded(light: Image.Image, margin: int) -> Image.Image:
    """Without shadow at its edges."""
    inside = Image.new("L", light.size)
    inside.paste(255, (margin, margin, light.width - margin, light.height - margin))
    inside = inside.filter(ImageFilter.GaussianBlur(margin / 3))
    return ImageChops.invert(ImageChops.multiply(ImageChops.invert(light), inside))


def _contact(size: tuple[int, int], placed: Placed, shade: Shade) -> Image.Image:
    return _blurred(_flat(size, placed, wide=0.99, high=0.055), placed, 0.7 * shade.spread)


def _ambient(size: tuple[int, int], placed: Placed, shade: Shade) -> Image.Image:
    return _blurred(_flat(size, placed, wide=1.08, high=0.15), placed, 3.0 * shade.spread)


def _cast(size: tuple[int, int], placed: Placed, shade: Shade) -> Image.Image:
    """The outline laid down behind the product, softer and paler the further it is from the foot."""
    bottom = placed.box[3]
    high = max(1.0, (bottom - placed.box[1]) * LYING)
    shape = Image.new("L", size)
    shape.paste(_solid(placed), (placed.x, placed.y))
    down = (1, shade.lean, -shade.lean * bottom, 0, 1 / LYING, bottom - bottom / LYING)
    lying = shape.transform(size, Image.Transform.AFFINE, down, Image.Resampling.BILINEAR)
    near, far = (_blurred(lying, placed, blur * shade.spread) for blur in (1.6, 5.5))
    fade = Image.new("L", (1, size[1]))
    fade.putdata([round(255 * min(1.0, max(0.0, (bottom - y) / high))) for y in range(size[1])])
    distance = fade.resize(size)
    soft = Image.composite(far, near, distance.point([min(255, 2 * value) for value in range(256)]))
    return ImageChops.multiply(soft, distance.point([255 - round(0.6 * value) for value in range(256)]))


def _flat(size: tuple[int, int], placed: Placed, wide: float, high: float) -> Image.Image:
    """The product's foot, seen from a little above: as wide as what stands on the ground."""
    left, top, right, bottom = placed.box
    strip = max(1, round((bottom - top) * FOOT))
    foot = _solid(placed).crop(
        (left - placed.x, bottom - placed.y - strip, right - placed.x, bottom - placed.y)
    )
    stands = foot.getbbox()
    if stands is None:
        return Image.new("L", size)
    foot = foot.crop((stands[0], 0, stands[2], strip))
    left, right = left + stands[0], left + stands[2]
    wider = max(1, round((right - left) * wide))
    higher = max(2, round(min(right - left, bottom - top) * high))
    oval = Image.new("L", (wider, higher))
    ImageDraw.Draw(oval).ellipse((0, 0, wider - 1, higher - 1), fill=255)
    flat = Image.new("L", size)
    flat.paste(
        ImageChops.multiply(foot.resize((wider, higher), Image.Resampling.BILINEAR), oval),
        (left - (wider - (right - left)) // 2, bottom - round(higher * 0.6)),
    )
    return flat


def _solid(placed: Placed) -> Image.Image:
    """The product without shadows that it brought: 255 where it is, else 0."""
    return placed.image.getchannel("A").point([0] * SOLID + [255] * (256 - SOLID))


def _blurred(shape: Image.Image, placed: Placed, hundredths: float) -> Image.Image:
    """Softer by so many hundredths of the product's size."""
    left, top, right, bottom = placed.box
    extent = ((right - left) * (bottom - top)) ** 0.5
    return shape.filter(ImageFilter.GaussianBlur(max(0.8, hundredths * extent / 100)))
