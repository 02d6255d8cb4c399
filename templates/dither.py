"""Gradients without bands: the rounding of 8 bits is spread out at random."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["dithered"]

SEED = 1
"""The same picture has the same grain."""
TILE = 256


def dithered(layer: "Image") -> "Image":
    """A layer in RGBA whose half-clear pixels have a grain of about one step of 8 bits.

    A renderer rounds what it has multiplied with the alpha, so that a veil's colour and alpha go in steps,
    which show as stripes in the dark. What is wholly clear or solid stays as it is.
    """
    import numpy as np
    from PIL import Image

    pixels: Any = np.asarray(layer)
    alpha = pixels[..., 3]
    partly = (alpha > 0) & (alpha < 255)
    if not partly.any():
        return layer
    result = pixels.copy()
    some = pixels[partly].astype(np.float32)
    count = len(some)
    draws = np.random.default_rng(SEED).random((TILE * TILE, 4), dtype=np.float32) - 0.5
    grain = np.resize(draws, (count, 4))
    # A colour was rounded before it was divided by the alpha: the clearer, the coarser.
    grain[:, :3] *= 255 / some[:, 3:]
    grain[:, 3] *= 2
    some[:, 3] = np.clip(some[:, 3] + grain[:, 3], 1, 254)
    some[:, :3] += grain[:, :3]
    result[partly] = np.clip(some + 0.5, 0, 255).astype(np.uint8)
    return Image.fromarray(result)
