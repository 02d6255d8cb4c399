"""Pictures that come in: files to pixels, and the size of what is made of them."""

import io
from typing import Any

from PIL import Image

from providers.diffusers_modal import prior
from providers.diffusers_modal.refusal import Refused

__all__ = ["MAX_PIXELS", "decode", "grid", "output_size", "place"]

MAX_PIXELS = 64 * 1024 * 1024
"""Of one input picture; checked before it is decoded."""


def decode(name: str, data: bytes) -> Image.Image:
    """A PNG or JPEG file as a picture: grey for a mask, else RGB.

    Raises:
        Refused: it is neither, is broken, or has more than `MAX_PIXELS`.
    """
    try:
        picture = Image.open(io.BytesIO(data), formats=("PNG", "JPEG"))
        if picture.width * picture.height > MAX_PIXELS:
            raise Refused("bad_parameter", f"{name} has more than {MAX_PIXELS} pixels.")
        return picture.convert("L" if name == "mask_image" else "RGB")
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise Refused("bad_parameter", f"{name} has more than {MAX_PIXELS} pixels.") from None
    except (OSError, SyntaxError, ValueError):
        # Pillow's words for a file that is not what it says, or not whole.
        raise Refused("bad_parameter", f"{name} is no whole PNG or JPEG file.") from None


def place(pipeline: Any, pictures: dict[str, Image.Image], width: int, height: int) -> dict[str, Any]:
    """The pictures as a pipeline's arguments, each of the size that is to be made.

    A picture of other proportions is stretched, as diffusers itself does.
    """
    if prior.has_prior(pipeline):
        # It reads pictures at their own size, and takes a list of them.
        picture = pictures["image"]
        size = prior.condition_size(pipeline, picture.width, picture.height)
        return {"image": [picture.resize(size, Image.Resampling.LANCZOS)]}
    placed = {}
    for name, picture in pictures.items():
        # A mask stays black and white.
        how = Image.Resampling.NEAREST if name == "mask_image" else Image.Resampling.LANCZOS
        placed[name] = picture if picture.size == (width, height) else picture.resize((width, height), how)
    return placed


def output_size(picture: Image.Image, width: int | None, height: int | None, step: int) -> tuple[int, int]:
    """Width and height to make: those asked for, else the picture's, rounded to what is possible.

    Of one that was not asked for, the picture's proportions decide.

    Args:
        picture: the input.
        width: as asked for, if it was.
        height: likewise.
        step: what both must be multiples of.

    Raises:
        Refused: one that was asked for is not possible.
    """
    for name, side in (("width", width), ("height", height)):
        if side is not None and side % step:
            raise Refused("bad_parameter", f"{name} is a multiple of {step} here.")
    scale = 1.0
    if width is not None:
        scale = width / picture.width
    elif height is not None:
        scale = height / picture.height
    return (
        width or max(step, round(picture.width * scale / step) * step),
        height or max(step, round(picture.height * scale / step) * step),
    )


def grid(pipeline: Any) -> int:
    """What width and height must be multiples of."""
    if prior.has_prior(pipeline):
        return prior.GRID
    cell: int = getattr(pipeline, "vae_scale_factor", 8)
    denoiser = getattr(pipeline, "transformer", None)
    patch = getattr(getattr(denoiser, "config", None), "patch_size", None)
    processor = getattr(getattr(pipeline, "image_processor", None), "config", {})
    widest: int = processor.get("vae_scale_factor", cell)
    return max(cell * (patch if isinstance(patch, int) else 1), widest)
