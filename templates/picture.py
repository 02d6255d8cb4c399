"""Pictures in memory: brought to RGB or RGBA, cropped to a size by what matters in them, laid over others."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["cover", "crop", "crop_box", "over", "plain", "rounded", "scaled"]

Box = tuple[float, float, float, float]

ENLARGED = 1.15
"""From here on a picture that was enlarged is sharpened a little."""


def plain(picture: "Image") -> "Image":
    """A copy in RGB, or in RGBA where something is clear, with 8 bits each and no metadata."""
    from PIL import Image

    if picture.mode.startswith(("I", "F")):
        picture = _eight_bits(picture)
    clear = picture.has_transparency_data
    found = picture.convert("RGBA" if clear else "RGB")
    if found.mode == "RGBA" and found.getchannel("A").getextrema() == (255, 255):
        found = found.convert("RGB")
    bare = Image.new(found.mode, found.size)
    bare.paste(found)
    return bare


def crop_box(size: tuple[int, int], width: int, height: int, focus: tuple[float, float]) -> Box:
    """The part of a picture that fills another shape: left, top, right, bottom in its pixels.

    Args:
        size: the picture's width and height.
        width: of the shape; its ratio to the height counts.
        height: of the shape.
        focus: the place that comes as near to the middle as the edges allow: 0, 0 is the picture's
            upper left corner and 1, 1 its lower right one.
    """
    across, down = size
    scale = min(across / width, down / height)
    # A product of floats may be a hair more than what there is, and no picture is read beyond its edge.
    wide, high = min(width * scale, across), min(height * scale, down)
    left = min(max(focus[0] * across - wide / 2, 0), across - wide)
    top = min(max(focus[1] * down - high / 2, 0), down - high)
    return left, top, min(left + wide, across), min(top + high, down)


def crop(picture: "Image", width: int, height: int, focus: tuple[float, float] = (0.5, 0.5)) -> "Image":
    """The picture filling exactly `width` x `height` pixels; what sticks out is cut off around its focus.

    It is sharpened a little where it had to be enlarged; a small one is drawn anew.
    """
    from PIL import ImageFilter

    from templates.enlarge import redrawn, too_small

    source = plain(picture)
    if source.mode == "RGB" and too_small(source.size, width, height):
        source = redrawn(source)
    result = cover(source, width, height, focus)
    grown = max(width / source.width, height / source.height)
    if grown > ENLARGED and result.mode == "RGB":
        result = result.filter(ImageFilter.UnsharpMask(radius=min(grown, 4.0), percent=50, threshold=2))
    return result


def cover(picture: "Image", width: int, height: int, focus: tuple[float, float] = (0.5, 0.5)) -> "Image":
    """A plain picture cropped and brought to a size, and nothing more."""
    from PIL import Image

    if picture.size == (width, height):
        return picture
    box = crop_box(picture.size, width, height, focus)
    return picture.resize((width, height), Image.Resampling.LANCZOS, box=box, reducing_gap=3.0)


def scaled(picture: "Image", width: int, height: int) -> "Image":
    """The picture at another size; its edges stay free of the colour that its clear pixels hold."""
    from PIL import Image

    if picture.size == (width, height):
        return picture
    return picture.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=3.0)


def rounded(picture: "Image", radius: float) -> "Image":
    """The picture with round corners, in RGBA."""
    from PIL import Image, ImageChops, ImageDraw

    found = picture.convert("RGBA")
    more = 4  # drawn larger and brought down: Pillow's own edges are jagged
    mask = Image.new("L", (found.width * more, found.height * more))
    edge = (0, 0, mask.width - 1, mask.height - 1)
    ImageDraw.Draw(mask).rounded_rectangle(edge, radius * more, fill=255)
    mask = mask.resize(found.size, Image.Resampling.BOX)
    found.putalpha(ImageChops.multiply(found.getchannel("A"), mask))
    return found


def over(ground: "Image", picture: "Image", x: int = 0, y: int = 0) -> "Image":
    """The picture laid on an opaque one, in RGB; what sticks out is cut off."""
    result = ground.copy()
    if picture.mode == "RGBA":
        result.paste(picture, (x, y), picture)
    else:
        result.paste(picture, (x, y))
    return result


def _eight_bits(picture: "Image") -> "Image":
    """A grey picture of 16 or more bits, which a plain conversion would cut off at 255."""
    import numpy as np
    from PIL import Image

    values = np.asarray(picture, dtype=np.float64)
    top = float(values.max(initial=0))
    fraction = picture.mode == "F" and top <= 1
    scale = 255.0 if fraction else 1.0 if top <= 255 else 255 / 65535
    return Image.fromarray(np.clip(values * scale + 0.5, 0, 255).astype(np.uint8))
