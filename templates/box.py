"""Whether a measured text fits a box at a size, and the largest size at which it does."""

from itertools import pairwise

from msgspec import Struct

from templates.fonts.faces import Face
from templates.wrap import Paragraph, wrap

__all__ = ["Box", "Heights", "Layout", "largest"]

_AIR = 0.02
"""Ems that stay free between the ink of two lines."""
_STEPS = 12


class Heights(Struct, frozen=True):
    """Of lines, in ems."""

    ascent: float
    pitch: float
    descent: float
    count: int

    @property
    def total(self) -> float:
        """From the top of the first line to the bottom of the last."""
        return self.ascent + self.pitch * (self.count - 1) + self.descent


class Layout(Struct, frozen=True):
    """Where each paragraph is broken, as pieces [first, last), and how high that is."""

    lines: list[list[tuple[int, int]]]
    heights: Heights


class Box(Struct, frozen=True):
    """A measured text, and the box that it has to fit."""

    paragraphs: list[Paragraph]
    rtl: bool
    face: Face
    width: float
    height: float
    leading: float
    max_lines: int | None

    def at(self, size: float) -> Layout | None:
        """The lines at this size, or None where they don't fit."""
        lines, count = [], 0
        for paragraph in self.paragraphs:
            most = float("inf") if self.max_lines is None else self.max_lines - count
            broken = wrap(paragraph, self.width / size, most)
            if broken is None or len(broken) > most:
                return None
            lines.append(broken)
            count += len(broken)
        heights = self.heights(lines)
        return Layout(lines, heights) if heights.total * size <= self.height else None

    def heights(self, lines: list[list[tuple[int, int]]]) -> Heights:
        """How high these lines are, and how far apart: no ink of one touches that of another."""
        ink = [
            (max(p.top for p in paragraph.pieces[a:b]), -min(p.bottom for p in paragraph.pieces[a:b]))
            for paragraph, broken in zip(self.paragraphs, lines, strict=True)
            for a, b in broken
        ]
        tight = [below + above + _AIR for (_, below), (above, _) in pairwise(ink)]
        usual = self.face.metrics
        return Heights(
            ascent=max(usual.cap_height, ink[0][0]),
            pitch=max([self.leading, *tight]),
            descent=max(usual.descent, ink[-1][1]),
            count=len(ink),
        )

    def room(self, size: float, length: int) -> int:
        """About how many characters like these the box holds at a size."""
        usual = self.face.metrics
        count = int(1 + (self.height / size - usual.cap_height - usual.descent) / self.leading)
        count = max(0, count if self.max_lines is None else min(count, self.max_lines))
        pieces = [piece for paragraph in self.paragraphs for piece in paragraph.pieces]
        total = sum(piece.width + piece.gap for piece in pieces) or 1.0
        limit = self.width / size
        held = length * min(1.0, count * limit / total) * 0.9
        widest = max(pieces, key=lambda piece: piece.width)
        if widest.width > limit:
            held = min(held, (widest.end - widest.start) * limit / widest.width)
        return min(int(held), max(0, length - 1))


def largest(box: Box, low: float, high: float, layout: Layout) -> tuple[float, Layout]:
    """The largest size that fits, given that `low` does."""
    top = box.at(high)
    if top is not None:
        return high, top
    for _ in range(_STEPS):
        middle = (low + high) / 2
        tried = box.at(middle)
        if tried is None:
            high = middle
        else:
            low, layout = middle, tried
    return low, layout
