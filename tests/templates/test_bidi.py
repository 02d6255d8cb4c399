"""The order of characters, against what the renderer's own implementation of UAX 9 makes of the same text."""

# ruff: noqa: RUF001 - these characters are the point

from html import escape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ImageChops
from support.drawing import ink

from templates.bidi import levels, strong_direction, visual_order
from templates.fonts.faces import ARABIC, HEBREW, Face
from templates.shape import spans
from templates.typeset import Block, _line, svg_text
from templates.wrap import prepare

SIZE = 40


def shown(text: str, rtl: bool) -> str:
    return "".join(text[i] for i in visual_order(levels(text, rtl)))


@pytest.mark.parametrize(
    ("text", "rtl", "expected"),
    [
        ("abc", False, "abc"),
        ("אבג", True, "גבא"),
        ("אבג", False, "גבא"),
        ("abc אבג", False, "abc גבא"),
        ("abc אבג", True, "גבא abc"),
        ("אב 50%!", True, "!50% בא"),
        ("خصم 50%!", True, "!%50 مصخ"),
        ("אב (רק) a", True, "a )קר( בא"),
        ("אב (ab) ג", True, "ג )ab( בא"),
        ("a (אב) b", False, "a (בא) b"),
        ("1+1 אב", True, "בא 1+1"),
        ("₪99.90 אב", True, "בא ₪99.90"),
        ("אב-12", True, "12-בא"),
        ("", True, ""),
    ],
)
def test_order(text: str, rtl: bool, expected: str) -> None:
    assert shown(text, rtl) == expected


def test_the_first_strong_character_decides() -> None:
    assert strong_direction("12% (אב) a") is True
    assert strong_direction("«a אב") is False
    assert strong_direction("12%! 🎉") is None


def ours(text: str, rtl: bool, face: Face) -> tuple[str, float]:
    paragraph = prepare(text, spans(text, (face,), rtl))
    line = _line(paragraph, 0, len(text), rtl, SIZE)
    block = Block((line,), SIZE, SIZE, SIZE, line.width, SIZE, rtl, (face,))
    return svg_text(block, x=20, y=20, width=line.width, align="left", fill="#000"), line.width


def theirs(text: str, rtl: bool, face: Face) -> str:
    """The whole line as one, embedded from right to left where that is asked."""
    whole = f"\u202b{text}\u202c" if rtl else text
    font = f'font-family="{face.family}" font-weight="700" font-size="{SIZE}"'
    return f'<text xml:space="preserve" x="20" y="{20 + SIZE}" {font}>{escape(whole)}</text>'


LETTERS = st.sampled_from("abאבגاب12٣+-.,:%$ ()[]!")


@given(st.text(LETTERS, min_size=1, max_size=14), st.booleans(), st.sampled_from([HEBREW, ARABIC]))
@settings(max_examples=60)
def test_lines_look_as_the_renderer_orders_them(text: str, rtl: bool, face: Face) -> None:
    text = " ".join("".join(c for c in text if face.covers(c)).split()) or "12"
    mine, width = ours(text, rtl, face)
    size = int(width) + 60, SIZE * 2 + 20
    a, b = (ink(svg, *size, [face.path]) for svg in (mine, theirs(text, rtl, face)))
    assert a.getbbox() is not None
    differs = ImageChops.difference(a, b).histogram()
    assert sum(differs[129:]) <= 30, (text, levels(text, rtl))
