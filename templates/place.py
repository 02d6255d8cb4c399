"""A product's place in a scene: at its own size where that can be, so that its pixels stay its own.

Outputs have fixed sizes and pictures come in any. A product keeps its own pixels, each of them, when
it fills between `least` and the whole of its room. One that is larger is reduced to the room; one
that is smaller is enlarged to `least` of it, at most `ENLARGE` times, since more would only blur.
Offsets are whole pixels always.
"""

from typing import TYPE_CHECKING

from msgspec import Struct
from PIL import Image

from templates.cutout import Box, Cutout, solid_box

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["ENLARGE", "Placed", "covered", "laid", "place"]

ENLARGE = 2.0
FILTER = Image.Resampling.LANCZOS


class Placed(Struct, frozen=True, kw_only=True):
    """A product, and where in a scene it goes."""

    image: Image.Image
    """RGBA, of the size that it has in the scene."""
    x: int
    y: int
    """Where `image` begins; what lies outside of the scene is cut off."""
    box: Box
    """The product itself, in pixels of the scene."""
    scale: float
    """1.0: the picture's own pixels; else it was resized by so much."""

    @property
    def scaled(self) -> bool:
        """Whether the product's pixels were made anew."""
        return self.scale != 1.0


def place(
    cutout: Cutout, room: Box, *, least: float = 0.6, align: tuple[float, float] = (0.5, 1.0)
) -> Placed:
    """A product in its room.

    Args:
        cutout: the product.
        room: where in the scene it may be, in pixels.
        least: how much of the room it fills at least, by the edge that fills more of it.
        align: where in the room it goes when it is smaller: 0 is left and top, 1 right and bottom.
            By itself it stands on the room's floor.

    Raises:
        ValueError: the room is empty.
    """
    width, height = room[2] - room[0], room[3] - room[1]
    if width < 1 or height < 1:
        raise ValueError(f"a room of {width} x {height} pixels holds nothing")
    left, top, right, bottom = cutout.box
    scale = _scale(width, height, right - left, bottom - top, least)
    image, x, y = _resized(cutout.image, scale)
    box = cutout.box if scale == 1.0 else solid_box(image)
    if box is None:  # so thin that it is nowhere half opaque
        box = 0, 0, min(width, image.width), min(height, image.height)
    across = room[0] + round((width - (box[2] - box[0])) * align[0]) - box[0]
    down = room[1] + round((height - (box[3] - box[1])) * align[1]) - box[1]
    return Placed(
        image=image,
        x=x + across,
        y=y + down,
        box=(box[0] + across, box[1] + down, box[2] + across, box[3] + down),
        scale=scale,
    )


def laid(scene: Image.Image, placed: Placed) -> Image.Image:
    """A scene with the product on it, in RGB: where that is opaque, its pixels and nothing else."""
    layer = Image.new("RGBA", scene.size)
    layer.paste(placed.image, (placed.x, placed.y))
    return Image.alpha_composite(scene.convert("RGBA"), layer).convert("RGB")


def covered(placed: Placed, size: tuple[int, int]) -> Image.Image:
    """How much of each pixel of a scene is the product's: L, of the scene's size."""
    found = Image.new("L", size)
    found.paste(placed.image.getchannel("A"), (placed.x, placed.y))
    return found


def _scale(width: int, height: int, wide: int, high: int, least: float) -> float:
    fills = max(wide / width, high / height)
    if fills > 1:  # less a pixel, for edges that end between two
        return min(max(width - 1, 0.5) / wide, max(height - 1, 0.5) / high)
    return min(least / fills, ENLARGE) if fills < least else 1.0


def _resized(image: Image.Image, scale: float) -> tuple[Image.Image, int, int]:
    """What is visible of a picture, and where in the whole resized picture that begins."""
    if scale == 1.0:
        box = image.getbbox(alpha_only=True)
        return (image.crop(box), box[0], box[1]) if box else (image, 0, 0)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    return _linear_resize(image, size), 0, 0


def _linear_resize(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Resize as light mixes, and so that what is clear lends its colour to nothing."""
    import numpy as np

    pixels = np.asarray(image)
    alpha = np.linspace(0, 1, 256, dtype=np.float32)[pixels[..., 3]]
    small = _channel(alpha, size)  # overshoots at edges, and so does the light: what is divided does not
    made = np.empty((size[1], size[0], 4), np.uint8)
    made[..., 3] = np.rint(np.clip(small, 0, 1) * 255)
    linear = _to_linear()
    for n in range(3):
        light = _channel(np.multiply(linear[pixels[..., n]], alpha), size) / np.maximum(small, 1e-4)
        made[..., n] = _from_linear(np.clip(light, 0, 1))
    made[made[..., 3] == 0] = 0
    return Image.fromarray(made)


def _channel(values: "NDArray[np.float32]", size: tuple[int, int]) -> "NDArray[np.float32]":
    import numpy as np

    return np.asarray(Image.fromarray(values).resize(size, FILTER), np.float32)


def _to_linear() -> "NDArray[np.float32]":
    """Light for each of sRGB's 256 values."""
    import numpy as np

    value = np.arange(256) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4).astype(np.float32)


def _from_linear(light: "NDArray[np.float32]") -> "NDArray[np.uint8]":
    import numpy as np

    value = np.where(light <= 0.0031308, light * 12.92, 1.055 * np.power(light, 1 / 2.4) - 0.055)
    return np.asarray(np.rint(value * 255), np.uint8)
