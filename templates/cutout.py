"""A product cut out of its picture: by its own alpha, or off a plain background.

What is wholly product keeps the pixels of the picture it came in, bit for bit; along the edge,
where a pixel shows product and background at once, the two are taken apart. A picture in which
that cannot be told is refused: a product with a bite taken out of it helps nobody.
"""

from typing import TYPE_CHECKING, Literal

from msgspec import Struct
from PIL import Image

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Box", "Cutout", "NoCutout", "cut_out", "cut_out_by", "solid_box"]

Box = tuple[int, int, int, int]
"""Left, top, right, bottom, as Pillow has it."""

CLEAR = 250
"""An alpha under it lets something through. Encoders round: 251 to 255 is meant as opaque."""
SOLID = 128
"""From this alpha on a pixel counts as the product's when its place is looked for."""
SMALLEST = 16
"""Pixels of an edge under which no background can be told from a product."""
ADVICE = "send a picture with a transparent background, or one of the product before a plain background"


class NoCutout(ValueError):
    """A product cannot be told from what surrounds it.

    Args:
        why: what stands in the way, for people.
    """

    def __init__(self, why: str) -> None:
        super().__init__(f"{why}: {ADVICE}")
        self.why = why


class Cutout(Struct, frozen=True, kw_only=True):
    """A product without its background."""

    image: Image.Image
    """RGBA, of the picture's size."""
    how: Literal["alpha", "plain_background", "model"]
    """What told the product from its background."""
    box: Box
    """The product's place in `image`; faint edges and shadows of its own may reach beyond it."""


def cut_out(picture: Image.Image) -> Cutout:
    """The product of a picture, of any of Pillow's modes.

    Args:
        picture: with an alpha that says what is product, or before a plain background.

    Raises:
        NoCutout: neither, or nothing is left.
    """
    own = _rgba(picture)
    alpha = own.getchannel("A")
    if _says_something(alpha):
        return _made(own, "alpha")
    if not any(alpha.histogram()[CLEAR + 1 :]):
        raise NoCutout("nothing in the picture is opaque")
    if min(own.size) < SMALLEST:
        size = f"{own.width} x {own.height} pixels"
        raise NoCutout(f"the picture of {size} is too small for its background to be found")
    from templates.plain import cut_off_plain  # with it come numpy and OpenCV

    return _made(cut_off_plain(own.convert("RGB")), "plain_background")


def cut_out_by(picture: Image.Image, removed: Image.Image) -> Cutout:
    """The product of a picture, by what a background-removal model left of it.

    Models answer with pixels of their own: here the alpha alone is theirs, and the colours where
    they made a pixel half transparent. What is opaque keeps the picture's.

    Args:
        picture: that the model was given.
        removed: the model's answer, of any size.

    Raises:
        NoCutout: the answer has no alpha that says anything.
    """
    answer = _rgba(removed)
    if answer.size != picture.size:
        answer = answer.resize(picture.size, Image.Resampling.LANCZOS)
    alpha = answer.getchannel("A").point([0 if a < 4 else a if a <= CLEAR else 255 for a in range(256)])
    if not _says_something(alpha):
        raise NoCutout("the model that removes backgrounds found no product")
    answer.paste(_rgba(picture), mask=alpha.point([0] * 255 + [255]))
    answer.putalpha(alpha)
    return _made(answer, "model")


def _made(image: Image.Image, how: Literal["alpha", "plain_background", "model"]) -> Cutout:
    box = solid_box(image)
    if box is None:
        raise NoCutout("nothing in the picture is opaque")
    return Cutout(image=image, how=how, box=box)


def solid_box(image: Image.Image) -> Box | None:
    """The place of what is more opaque than clear in an RGBA picture."""
    return image.getchannel("A").point([0] * SOLID + [255] * (256 - SOLID)).getbbox()


def _says_something(alpha: Image.Image) -> bool:
    """Whether an alpha has both: what is let through and what is not, more than a stray pixel of each."""
    counts = alpha.histogram()
    few = max(1, sum(counts) // 10_000)
    return sum(counts[:CLEAR]) >= few and sum(counts[CLEAR + 1 :]) >= few


def _rgba(picture: Image.Image) -> Image.Image:
    """8 bits a channel, with alpha, whatever it was."""
    if picture.mode[0] in "IF":  # 16 bit grey, and numbers
        return Image.fromarray(_eight_bits(picture)).convert("RGBA")
    if picture.mode in ("RGBa", "La"):  # Pillow knows one way out of these
        picture = picture.convert("RGBA" if picture.mode == "RGBa" else "LA")
    return picture.convert("RGBA")


def _eight_bits(picture: Image.Image) -> "NDArray[np.uint8]":
    import numpy as np

    values = np.nan_to_num(np.asarray(picture).astype(np.float64))
    most = float(values.max(initial=0))
    scale = 255 / 65535 if most > 255 else 1.0
    return np.clip(np.rint(values * scale), 0, 255).astype(np.uint8)
