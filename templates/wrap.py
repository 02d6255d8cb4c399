"""Breaks paragraphs into lines: as few as a width allows, then as equal as these can be."""

from collections.abc import Sequence
from itertools import pairwise

from msgspec import Struct

from templates.characters import BLANKS, break_units
from templates.shape import Span, Spread, spread

__all__ = ["Paragraph", "Piece", "balance", "prepare", "wrap"]

_WORK = 60_000
"""Steps that balancing may take; longer texts stay as they were broken."""


class Piece(Struct, frozen=True):
    """What stays on one line: [start, end) without the blanks after it, `gap`; in ems."""

    start: int
    end: int
    width: float
    gap: float
    top: float
    bottom: float


class Paragraph(Struct, frozen=True):
    """A paragraph that has been measured."""

    text: str
    spans: list[Span]
    pieces: list[Piece]

    def width(self, first: int, last: int) -> float:
        """Of the pieces [first, last) on one line."""
        pieces = self.pieces[first:last]
        return sum(piece.width + piece.gap for piece in pieces) - pieces[-1].gap


def prepare(text: str, parts: list[Span]) -> Paragraph:
    """Measure the pieces of a paragraph."""
    room = spread(text, parts)
    pieces = []
    start = 0
    for unit in break_units(text):
        end = start + len(unit.rstrip(BLANKS))
        stop = start + len(unit)
        pieces.append(_piece(room, start, end, stop))
        start = stop
    return Paragraph(text, parts, pieces)


def _piece(room: Spread, start: int, end: int, stop: int) -> Piece:
    return Piece(
        start,
        end,
        sum(room.advance[start:end]),
        sum(room.advance[end:stop]),
        max(room.top[start:stop]),
        min(room.bottom[start:stop]),
    )


def wrap(paragraph: Paragraph, limit: float, most: float = float("inf")) -> list[tuple[int, int]] | None:
    """The pieces of each line, as [first, last).

    None where a piece is wider than `limit` ems, or where it takes more lines than `most`.
    """
    lines: list[tuple[int, int]] = []
    first, width = 0, 0.0
    for i, piece in enumerate(paragraph.pieces):
        if piece.width > limit:
            return None
        if i > first and width + piece.width > limit:
            lines.append((first, i))
            first, width = i, 0.0
            if len(lines) >= most:
                return None
        width += piece.width + piece.gap
    return [*lines, (first, len(paragraph.pieces))]


def balance(paragraph: Paragraph, lines: list[tuple[int, int]], limit: float) -> list[tuple[int, int]]:
    """The same number of lines, none wider than `limit`, with the smallest sum of squared widths."""
    count, pieces = len(lines), len(paragraph.pieces)
    longest = max(last - first for first, last in lines)
    if count == 1 or count * pieces * longest > _WORK:
        return lines
    best: list[float] = [0.0] + [float("inf")] * pieces
    cuts: list[list[int]] = []
    for _ in range(count):
        best, cut = _one_more_line(paragraph.pieces, best, limit)
        cuts.append(cut)
    ends = [pieces]
    for cut in reversed(cuts):
        ends.append(cut[ends[-1]])
    return list(pairwise(reversed(ends)))


def _one_more_line(pieces: Sequence[Piece], best: list[float], limit: float) -> tuple[list[float], list[int]]:
    """The least cost of the first n pieces on one line more, and where that line starts."""
    then = [float("inf")] * len(best)
    cut = [0] * len(best)
    for end in range(1, len(best)):
        width = -pieces[end - 1].gap
        for start in range(end - 1, -1, -1):
            width += pieces[start].width + pieces[start].gap
            if width > limit + 1e-9:
                break
            if best[start] + width * width < then[end]:
                then[end], cut[end] = best[start] + width * width, start
    return then, cut
