"""Cuts a line into runs of one face, script and direction, and measures them as they will be drawn."""

import unicodedata
from collections.abc import Sequence
from functools import lru_cache

import uharfbuzz as hb  # type: ignore[import-untyped]
from msgspec import Struct

from templates.bidi import levels
from templates.characters import IGNORABLE, clusters
from templates.fonts.faces import EMOJI, Face

__all__ = ["Extent", "NoGlyph", "Span", "Spread", "inked", "measure", "spans", "spread"]

_EAST_ASIAN = frozenset({"Hani", "Hira", "Kana", "Bopo", "Hang"})
_QUOTES = frozenset("\u201c\u201d\u2018\u2019\u2026\u2014\u00b7")
"""Half as wide in a Latin face as among Han characters."""
_TALLEST = 32
"""Characters of a cluster: emoji families have up to ten, stacked marks are no writing."""
_SPACES = frozenset(" \u00a0\u2007\u202f\u3000")


class NoGlyph(ValueError):
    """No face here draws these characters."""

    def __init__(self, characters: str) -> None:
        self.characters = characters
        named = ", ".join(_named(c) for c in characters[:5])
        super().__init__(f"no font here draws {named}{', ...' if len(characters) > 5 else ''}")


class Span(Struct, frozen=True):
    """A stretch of a paragraph that is shaped as one: [start, end) and its bidi level."""

    start: int
    end: int
    face: Face
    level: int


class Extent(Struct, frozen=True):
    """In ems: how far the pen moves, and where there is ink (y upwards, from the baseline)."""

    advance: float
    left: float
    right: float
    top: float
    bottom: float


class Spread(Struct, frozen=True):
    """Of each character of a paragraph, in ems; a ligature's or cluster's are with its first."""

    advance: list[float]
    top: list[float]
    bottom: list[float]


def spans(text: str, faces: Sequence[Face], rtl: bool) -> list[Span]:
    """A paragraph's stretches in its own order.

    Raises:
        NoGlyph: a character that none of the faces has.
    """
    chosen = _choose(text, faces)
    found: list[Span] = []
    script: str | None = None
    for i, (face, level) in enumerate(zip(chosen, levels(text, rtl), strict=True)):
        own = _script(text[i])
        last = found[-1] if found else None
        if last and last.face is face and last.level == level and (own is None or script in (None, own)):
            found[-1] = Span(last.start, i + 1, face, level)
            script = script or own
        else:
            found.append(Span(i, i + 1, face, level))
            script = own
    return found


@lru_cache(4096)
def measure(face: Face, text: str, rtl: bool) -> Extent:
    """A run's extent."""
    infos, positions = _shape(face, text, rtl)
    pen = 0
    boxes = []
    for info, position in zip(infos, positions, strict=True):
        ink = _ink(face, info.codepoint)
        if ink is not None:
            x, y = pen + position.x_offset, position.y_offset
            boxes.append((x + ink[0], x + ink[1], y + ink[2], y + ink[3]))
        pen += position.x_advance
    lefts, rights, bottoms, tops = zip(*boxes, strict=True) if boxes else ((0,), (0,), (0,), (0,))
    upem = face.upem
    return Extent(pen / upem, min(lefts) / upem, max(rights) / upem, max(tops) / upem, min(bottoms) / upem)


def inked(face: Face, text: str, rtl: bool) -> tuple[float, float, float, float] | None:
    """Where a run has ink: left, right, bottom and top in ems, from its pen's start; None: it has none."""
    infos, positions = _shape(face, text, rtl)
    pen, boxes = 0, []
    for info, position in zip(infos, positions, strict=True):
        ink = _ink(face, info.codepoint)
        if ink is not None:
            x, y = pen + position.x_offset, position.y_offset
            boxes.append((x + ink[0], x + ink[1], y + ink[2], y + ink[3]))
        pen += position.x_advance
    if not boxes:
        return None
    left, right, bottom, top = zip(*boxes, strict=True)
    return min(left) / face.upem, max(right) / face.upem, min(bottom) / face.upem, max(top) / face.upem


def spread(text: str, parts: Sequence[Span]) -> Spread:
    """How much room each character of a paragraph takes."""
    found = Spread([0.0] * len(text), [0.0] * len(text), [0.0] * len(text))
    for part in parts:
        face, upem = part.face, part.face.upem
        infos, positions = _shape(face, text[part.start : part.end], part.level % 2 == 1)
        for info, position in zip(infos, positions, strict=True):
            i = part.start + info.cluster
            found.advance[i] += position.x_advance / upem
            ink = _ink(face, info.codepoint)
            if ink is not None:
                found.bottom[i] = min(found.bottom[i], (position.y_offset + ink[2]) / upem)
                found.top[i] = max(found.top[i], (position.y_offset + ink[3]) / upem)
    return found


def _choose(text: str, faces: Sequence[Face]) -> list[Face]:
    """The face of each character; those of a cluster share one."""
    units = list(clusters(text))
    natural = [_face(unit, faces) for unit in units]
    missing = "".join(face for face in natural if isinstance(face, str))
    if missing:
        raise NoGlyph("".join(dict.fromkeys(missing)))
    chosen: list[Face] = []
    before: Face | None = None
    for i, unit in enumerate(units):
        face = natural[i]
        assert isinstance(face, Face)  # noqa: S101 - the others are missing
        if unit in _SPACES and before is not None and not before.picture and before.covers(unit):
            face = before
        elif unit in _QUOTES:
            after = natural[i + 1] if i + 1 < len(units) and units[i + 1] not in _QUOTES else None
            face = next((f for f in (before, after) if isinstance(f, Face) and _sets_quotes(f, unit)), face)
        chosen.extend([face] * len(unit))
        before = face
    return chosen


def _sets_quotes(face: Face, unit: str) -> bool:
    return face.east_asian and face.stem != "kr-700" and face.covers(unit)


@lru_cache(8192)
def _face_of(unit: str, faces: tuple[Face, ...]) -> Face | str:
    needed = "".join(c for c in unit if c not in IGNORABLE)
    undrawn = "".join(c for c in needed if unicodedata.category(c) in ("Co", "Cn", "Cs"))
    if undrawn or len(unit) > _TALLEST:
        return undrawn or unit[-1]
    if needed.isspace():
        return faces[0]
    order = (EMOJI, *faces) if "\ufe0f" in unit else faces
    found = next((face for face in order if face.covers(needed)), None)
    return found or min((face.lacks(needed) for face in faces), key=len)


def _face(unit: str, faces: Sequence[Face]) -> Face | str:
    """The first face that has all of a cluster, or the characters that are lacking."""
    return _face_of(unit, tuple(faces))


def _shape(face: Face, text: str, rtl: bool) -> tuple[list[hb.GlyphInfo], list[hb.GlyphPosition]]:
    buffer = hb.Buffer()
    buffer.add_str(text)
    buffer.guess_segment_properties()
    buffer.direction = "rtl" if rtl else "ltr"
    # The renderer's shaper leaves contextual alternates of Hangul out (among them a wider blank).
    hb.shape(face.font, buffer, {"calt": False} if buffer.script == "Hang" else {})
    return buffer.glyph_infos, buffer.glyph_positions


@lru_cache(16384)
def _ink(face: Face, glyph: int) -> tuple[int, int, int, int] | None:
    """Left, right, bottom and top of a glyph in font units; None where it draws nothing."""
    box = face.font.get_glyph_extents(glyph)
    if box is None or not box.width or not box.height:
        return None
    return box.x_bearing, box.x_bearing + box.width, box.y_bearing + box.height, box.y_bearing


@lru_cache(8192)
def _script(character: str) -> str | None:
    """The script that a shaper would take a character for; None for what every script uses."""
    if character.isascii():
        return "Latn" if character.isalpha() else None
    buffer = hb.Buffer()
    buffer.add_str(character)
    buffer.guess_segment_properties()
    found: str | None = buffer.script
    return "east asian" if found in _EAST_ASIAN else found


def _named(character: str) -> str:
    shown = character if character.isprintable() else ""
    return f"{shown} (U+{ord(character):04X})".strip()
