"""From the size that a model draws well to the size that was asked for.

A model is trained at a few sizes, and draws badly at others. Where the registry names them
(`pipeline.sizes`), pictures are drawn at the one of the nearest proportions, then cut to the
proportions asked for and scaled.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

from PIL import Image, ImageOps

__all__ = ["Finish", "nearest_size"]

Size = tuple[int, int]
"""Width and height in pixels."""


def nearest_size(width: int, height: int, sizes: Sequence[Size]) -> Size | None:
    """Of `sizes` the one of which the least is cut off; of several such, the first. None of none."""

    def kept(size: Size) -> float:
        ratio = (width / height) / (size[0] / size[1])
        return min(ratio, 1 / ratio)

    return max(sizes, key=kept, default=None)


@dataclasses.dataclass(frozen=True)
class Finish:
    """What is done to each picture of a plan before it is a file."""

    size: Size
    over: Image.Image | None = None
    """The input picture. What is made of it has its proportions, so nothing is cut off."""
    mask: Image.Image | None = None
    """White where `over` was painted anew: elsewhere its own pixels stay."""

    def apply(self, picture: Any) -> Any:
        """The picture as it was asked for."""
        how = Image.Resampling.LANCZOS
        if self.over is None:
            return picture if picture.size == self.size else ImageOps.fit(picture, self.size, how)
        scaled = picture.resize(self.size, how)
        if self.mask is None:
            return scaled
        return Image.composite(scaled, self.over.resize(self.size, how), self.mask.resize(self.size, how))
