"""Sets a text into a box: the largest size at which it fits, its lines, and these as SVG.

Every run of one face, script and direction is written at its own place, in the order in which it
is read: a renderer has nothing left to choose, reorder or fall back from, and the text content
of the SVG is the text.
"""

from collections.abc import Iterable, Sequence
from html import escape
from typing import Literal

from msgspec import Struct

from templates.bidi import strong_direction, visual_order
from templates.box import Box, Layout, largest
from templates.characters import normal
from templates.fonts.faces import Face, faces_for, is_rtl_language
from templates.shape import NoGlyph, Span, inked, measure, spans
from templates.wrap import Paragraph, balance, prepare

__all__ = [
    "Align",
    "Block",
    "Line",
    "NoGlyph",
    "Run",
    "TextDoesNotFit",
    "fit",
    "font_files",
    "ink_of",
    "svg_text",
]

Align = Literal["start", "center", "end", "left", "right"]

LONGEST = 1000
"""Characters that a box may have; more are refused before they are measured."""
_RLM = "\u200f"
_OPENING = frozenset("\u300c\u300e\u3008\u300a\u3010\u3014\uff08\u201c\u2018")
_CLOSING = frozenset(
    "\u300d\u300f\u3009\u300b\u3011\u3015\uff09\u201d\u2019\uff0c\u3002\u3001\uff01\uff1f\uff1a\uff1b"
)
"""East Asian punctuation, of which half is blank: that half does not count at a line's ends."""
_BESIDE = 0.06
"""Ems beside the ink of a letter."""


class TextDoesNotFit(ValueError):
    """The text is too long for its box.

    `size` is the smallest that was tried; `room` is about how many characters do fit.
    """

    def __init__(self, text: str, size: float, room: int) -> None:
        self.text, self.size, self.room = text, size, room
        shown = text if len(text) <= 40 else text[:39] + "…"
        advice = f"shorten it to about {room} characters" if room else "the box is too small for any text"
        super().__init__(f"“{shown}” does not fit its box even at {size:g} px: {advice}")


class Run(Struct, frozen=True):
    """Characters of one face and direction; `x` is where they start, from the line's left edge."""

    text: str
    face: Face
    rtl: bool
    x: float
    width: float


class Line(Struct, frozen=True):
    """One line, in pixels; its runs are in the order in which they are read."""

    text: str
    width: float
    rtl: bool
    runs: tuple[Run, ...]


class Block(Struct, frozen=True):
    """A text that was laid out, in pixels: `ascent` is from its top to the first baseline.

    `width` and `height` hold all of the ink, whatever reaches above capitals or below the baseline.
    """

    lines: tuple[Line, ...]
    size: float
    line_height: float
    ascent: float
    width: float
    height: float
    rtl: bool
    faces: tuple[Face, ...]


def fit(
    text: str,
    *,
    width: float,
    height: float,
    size: float,
    min_size: float,
    family: str = "inter",
    weight: int = 800,
    max_lines: int | None = None,
    leading: float = 1.1,
    language: str | None = None,
) -> Block:
    """Lay a text out in a box of `width` x `height` pixels.

    Args:
        text: anything; it is set as `characters.normal` has it.
        width: the box's, in pixels.
        height: the box's, in pixels.
        size: the largest font size, in pixels.
        min_size: the smallest.
        family: a name of `fonts.faces.FAMILIES`.
        weight: of the face, 100 to 900.
        max_lines: how many lines there may be; a text with more newlines than that gets blanks for them.
        leading: from baseline to baseline, in font sizes; more where ink would touch.
        language: as in `ja` or `zh-Hant`: chooses Han forms, and the direction of what has none.

    Returns:
        The block at the largest size that fits; without lines for a text without characters.

    Raises:
        TextDoesNotFit: not even `min_size` makes it fit.
        NoGlyph: no face draws one of the characters.
        ValueError: there is no such family.
    """
    faces = faces_for(family, weight, language)
    text = normal(text)
    if max_lines is not None and text.count("\n") >= max_lines:
        text = text.replace("\n", " ")
    min_size = min(min_size, size)
    rtl = _is_rtl(text, language)
    if not text:
        return Block((), size, size * leading, 0.0, 0.0, 0.0, rtl, ())
    head = text[:LONGEST].rstrip("\n")
    paragraphs = [_paragraph(line, faces, rtl) for line in head.split("\n")]
    box = Box(paragraphs, rtl, faces[0], width, height, leading, max_lines)
    smallest = box.at(min_size) if len(text) <= LONGEST else None
    if smallest is None:
        raise TextDoesNotFit(text, min_size, box.room(min_size, len(head)))
    found, layout = largest(box, min_size, size, smallest)
    block = _block(box, layout, found)
    if block.width > width:  # what was measured across a break is kerned otherwise at an end
        smaller = max(min_size, found * width / block.width * 0.9999)
        block = _block(box, layout, smaller)
        if block.width > width:
            raise TextDoesNotFit(text, min_size, box.room(min_size, len(text)))
    return block


def _paragraph(text: str, faces: tuple[Face, ...], rtl: bool) -> Paragraph:
    return prepare(text, spans(text, faces, rtl))


def _is_rtl(text: str, language: str | None) -> bool:
    """The direction of a text: its first strong character's, or else the language's.

    In a language that is written from right to left, one letter of such a script is enough:
    a headline there may well begin with the name of a brand.
    """
    first = strong_direction(text)
    if is_rtl_language(language):
        return first is None or any(strong_direction(c) for c in text)
    return bool(first)


def _block(box: Box, layout: Layout, size: float) -> Block:
    """The block of a layout, its lines made equal where that is not higher than the box."""
    each = zip(box.paragraphs, layout.lines, strict=True)
    better = [balance(paragraph, broken, box.width / size) for paragraph, broken in each]
    heights = box.heights(better)
    if heights.total * size > box.height:  # accents that came to lie above one another
        better, heights = layout.lines, layout.heights
    lines = [
        _line(paragraph, paragraph.pieces[first].start, paragraph.pieces[last - 1].end, box.rtl, size)
        for paragraph, broken in zip(box.paragraphs, better, strict=True)
        for first, last in broken
    ]
    used = dict.fromkeys(run.face for line in lines for run in line.runs)
    return Block(
        lines=tuple(lines),
        size=size,
        line_height=heights.pitch * size,
        ascent=heights.ascent * size,
        width=max(line.width for line in lines),
        height=heights.total * size,
        rtl=box.rtl,
        faces=tuple(used),
    )


def _line(paragraph: Paragraph, start: int, end: int, rtl: bool, size: float) -> Line:
    """The line of the characters [start, end), each run at its place."""
    parts = [
        Span(max(span.start, start), min(span.end, end), span.face, span.level)
        for span in paragraph.spans
        if span.start < end and span.end > start
    ]
    extents = [measure(p.face, paragraph.text[p.start : p.end], p.level % 2 == 1) for p in parts]
    pen, left, right = 0.0, 0.0, 0.0
    starts = [0.0] * len(parts)
    for i in visual_order([p.level for p in parts]):
        starts[i] = pen
        left, right = min(left, pen + extents[i].left), max(right, pen + extents[i].right)
        pen += extents[i].advance
    right = max(right, pen)
    plain = not any(p.level for p in parts)
    if plain and parts[0].face.east_asian and paragraph.text[start] in _OPENING:
        left = max(left, extents[0].left - _BESIDE)
    if plain and parts[-1].face.east_asian and paragraph.text[end - 1] in _CLOSING:
        right = min(right, pen - extents[-1].advance + extents[-1].right + _BESIDE)
    runs = tuple(
        Run(
            paragraph.text[p.start : p.end],
            p.face,
            p.level % 2 == 1,
            (x - left) * size,
            extent.advance * size,
        )
        for p, x, extent in zip(parts, starts, extents, strict=True)
    )
    return Line(paragraph.text[start:end], (right - left) * size, rtl, runs)


def ink_of(block: Block) -> tuple[float, float, float, float]:
    """Where the block's letters really are: left, top, right and bottom in pixels, from its own corner.

    The lines are taken as they lie when the block is centred in its width.
    """
    boxes = []
    for i, line in enumerate(block.lines):
        base = block.ascent + i * block.line_height
        for run in line.runs:
            ink = inked(run.face, run.text, run.rtl)
            if ink is not None:
                x = (block.width - line.width) / 2 + run.x
                left, right, bottom, top = (edge * block.size for edge in ink)
                boxes.append((x + left, base - top, x + right, base - bottom))
    if not boxes:
        return 0.0, 0.0, block.width, block.height
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    return min(lefts), min(tops), max(rights), max(bottoms)


def svg_text(
    block: Block, *, x: float, y: float, width: float, align: Align = "start", fill: str, extra: str = ""
) -> str:
    """The block as `<text>` elements, one for each line.

    Args:
        block: what `fit` gave.
        x: the box's left edge.
        y: the block's top.
        width: the box's.
        align: `start` and `end` go by the text's direction.
        fill: a colour.
        extra: more attributes as they are written in XML.
    """
    side = {"start": "right" if block.rtl else "left", "end": "left" if block.rtl else "right"}.get(
        align, align
    )
    share = {"left": 0.0, "center": 0.5, "right": 1.0}[side]
    lines = []
    for i, line in enumerate(block.lines):
        left = x + (width - line.width) * share
        base = y + block.ascent + i * block.line_height
        runs = "".join(_run(run, left + run.x, base) for run in line.runs)
        attributes = (
            f'xml:space="preserve" font-size="{block.size:.3f}" fill="{escape(fill)}"{extra and " " + extra}'
        )
        lines.append(f"<text {attributes}>{runs}</text>")
    return "".join(lines)


def _run(run: Run, x: float, y: float) -> str:
    """A renderer starts from left to right: marks at its ends keep an Arabic `!` at the left."""
    text = escape(run.text)
    if run.rtl:
        text = "".join(
            (
                "" if strong_direction(run.text[0]) else _RLM,
                text,
                "" if strong_direction(run.text[-1]) else _RLM,
            )
        )
    font = f'font-family="{run.face.family}" font-weight="{run.face.weight}"'
    return f'<tspan x="{x:.3f}" y="{y:.3f}" {font}>{text}</tspan>'


def font_files(blocks: Iterable[Block]) -> list[str]:
    """The files that drawing these blocks needs."""
    faces: Sequence[Face] = [face for block in blocks for face in block.faces]
    return [str(path) for path in dict.fromkeys(face.path for face in faces)]
