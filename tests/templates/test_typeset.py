"""Texts in boxes: the text is whole, it is inside, and it is as large as it can be."""

import re
import xml.etree.ElementTree as ET
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.drawing import SVG, content, document, draw
from support.headlines import HEADLINES
from support.scripts import SCRIPTS

from templates.characters import normal
from templates.typeset import Block, NoGlyph, TextDoesNotFit, fit, font_files, svg_text


def set_in(text: str, width: float = 600, height: float = 300, **how: object) -> Block:
    options: dict[str, object] = {"size": 90, "min_size": 12, **how}
    return fit(text, width=width, height=height, **options)  # type: ignore[arg-type]


def svg(block: Block, **how: object) -> str:
    options: dict[str, object] = {"x": 0, "y": 0, "width": 600, "fill": "#000", **how}
    return svg_text(block, **options)  # type: ignore[arg-type]


def joined(lines: list[str], text: str) -> str:
    """The lines with what stands between them in `text`, where that is a blank or a newline or nothing."""
    found = ""
    for line in lines:
        between = re.match("[ \n\u3000\u200b]*", text[len(found) :])
        assert between is not None
        found += (between[0] if found else "") + line
    return found


def assert_whole(block: Block, text: str) -> None:
    plain = normal(text).replace("\u200f", "")
    assert joined(content(svg(block)), plain) == plain
    assert [line.text.replace("\u200f", "") for line in block.lines] == content(svg(block))
    assert all("".join(run.text for run in line.runs) == line.text for line in block.lines)


# -- the text is whole -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["inter", "oswald", "serif"])
@pytest.mark.parametrize(("width", "height"), [(600, 300), (300, 600), (1600, 60)])
def test_fifty_headlines_are_laid_out_whole(family: str, width: int, height: int) -> None:
    for headline in HEADLINES:
        block = set_in(headline, width, height, family=family)
        assert_whole(block, headline)
        assert block.width <= width
        assert block.height <= height


@pytest.mark.parametrize("sample", SCRIPTS)
def test_every_script_is_laid_out_whole(sample: str) -> None:
    text, language = SCRIPTS[sample]
    for width in (200, 400, 2000):
        assert_whole(set_in(text, width, 400, language=language), text)


@pytest.mark.parametrize(
    "text",
    [
        "</text><script>alert(1)</script>",
        '"/><image href="file:///etc/passwd"/>',
        "{{7*7}} {% include 'x' %} ${7*7} #{7*7}",
        "&amp; &lt; &#x41; &bogus; & < >",
        "<![CDATA[x]]> ]]> <!-- --> <?xml?>",
        "<!DOCTYPE x [<!ENTITY e SYSTEM 'file:///etc/passwd'>]>&e;",
        "'single' \"double\" `back`",
        "%s %(x)s \\n \\u0041",
        "-- ; DROP TABLE jobs",
    ],
)
def test_hostile_text_is_text(text: str) -> None:
    block = set_in(text)
    assert_whole(block, text)
    assert draw(block).getbbox() is not None


def test_controls_are_left_out() -> None:
    assert content(svg(set_in("a\x00b\x1b[31mc\u202ed\u2066e"))) == ["ab[31mcde"]
    for nothing in ("", " \n\t ", "\x00\x01", "\u200d\ufe0f", "\u202e"):
        block = set_in(nothing)
        assert (block.lines, block.width, block.height) == ((), 0, 0)
        assert svg(block) == ""
        assert font_files([block]) == []


def test_attributes_are_escaped_and_more_of_them_can_be_given() -> None:
    block = set_in("a")
    root = ET.fromstring(document(svg(block, fill='"><x y="', extra='opacity="0.5"'), 1, 1))
    text = root.find(f"{SVG}text")
    assert text is not None
    assert (text.get("fill"), text.get("opacity")) == ('"><x y="', "0.5")


# -- it is inside, and as large as it can be -------------------------------------------------------------------

WORDS = st.lists(
    st.sampled_from(
        [
            "Sale",
            "a",
            "50%",
            "Ångström",
            "ĝǺ",
            "jpq",
            "Å̂",
            "خصم",
            "שָׁלוֹם",
            "ที่นี่",
            "क्षत्रिय",
            "冬季",
            "「今」",
            "겨울",
            "🔥",
            "👨\u200d👩\u200d👧",
            "\n",
            "extraordinarily",
            "(x)",
            "€",
        ]
    ),
    min_size=1,
    max_size=12,
).map(" ".join)


def attempt(text: str, *box: float, **how: object) -> Block | TextDoesNotFit | NoGlyph:
    try:
        return set_in(text, *box, **how)
    except (TextDoesNotFit, NoGlyph) as refused:
        return refused


@given(
    text=WORDS,
    width=st.integers(20, 1500),
    height=st.integers(10, 600),
    size=st.integers(10, 200),
    leading=st.floats(0.7, 1.6),
    max_lines=st.none() | st.integers(1, 4),
    family=st.sampled_from(["inter", "oswald", "serif"]),
    language=st.sampled_from([None, "ar", "ja", "ko"]),
)
@settings(max_examples=150)
def test_a_block_is_inside_its_box_or_refused(
    text: str,
    width: int,
    height: int,
    size: int,
    leading: float,
    max_lines: int | None,
    family: str,
    language: str,
) -> None:
    how = {"leading": leading, "max_lines": max_lines, "family": family, "language": language}
    block = attempt(text, width, height, size=size, min_size=8, **how)
    if isinstance(block, TextDoesNotFit):
        assert block.size == 8
        assert 0 <= block.room < len(block.text)
        return
    assert isinstance(block, Block)
    assert 8 <= block.size <= size
    assert block.width <= width
    assert block.height <= height
    assert max_lines is None or len(block.lines) <= max_lines
    if max_lines is None:
        assert_whole(block, text)


@pytest.mark.parametrize(("width", "height"), [(600, 300), (300, 600), (1600, 60)])
def test_a_little_larger_would_not_fit(width: int, height: int) -> None:
    for headline in HEADLINES:
        size = set_in(headline, width, height, leading=1.3).size
        if size < 90:
            larger = size * 1.01
            refused = attempt(headline, width, height, leading=1.3, size=larger, min_size=larger)
            assert isinstance(refused, TextDoesNotFit), headline


@given(text=WORDS, width=st.integers(150, 900), align=st.sampled_from(["start", "center", "end"]))
@settings(max_examples=25)
def test_no_ink_is_outside_the_block(text: str, width: int, align: str) -> None:
    block = set_in(text, width, 2000, size=60, leading=0.8)
    if not block.lines:
        return
    drawn = draw(block, margin=50, align=align, width=width).getbbox()
    assert drawn is not None
    assert drawn[0] >= 49
    assert drawn[1] >= 49
    assert drawn[2] <= 51 + width
    assert drawn[3] <= 51 + block.height


@given(st.text(st.characters(exclude_categories=()), max_size=30))
@settings(max_examples=150)
def test_any_text_is_whole_or_refused_by_one_of_two_errors(text: str) -> None:
    block = attempt(text)
    if isinstance(block, NoGlyph):
        assert block.characters
        assert set(block.characters) <= set(normal(text))
    elif isinstance(block, TextDoesNotFit):
        assert block.text == normal(text)
    else:
        assert_whole(block, text)


def test_lines_are_equal_not_full() -> None:
    block = set_in("one two three four five six", 330, 400, size=50, min_size=50)
    assert [line.text for line in block.lines] == ["one two", "three four", "five six"]
    assert set_in("x", 600, 300).size == 90


def test_ink_of_one_line_does_not_touch_the_next() -> None:
    plain = set_in("on\non", leading=0.6, size=50)
    tall = set_in("gjpq\nÂÅÉ", leading=0.6, size=50)
    assert plain.line_height < tall.line_height
    drawn = draw(tall)
    rows = [drawn.crop((0, y, drawn.width, y + 1)).getbbox() is not None for y in range(drawn.height)]
    assert sum(1 for a, b in pairwise(rows) if b and not a) >= 2


def test_newlines_are_kept_where_there_may_be_as_many_lines() -> None:
    text = "Summer\nof\n\nlove"
    assert [line.text for line in set_in(text).lines] == ["Summer", "of", "love"]
    assert [line.text for line in set_in(text, max_lines=1).lines] == ["Summer of love"]


# -- it is refused ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("word " * 60, "“word word word word word word word word…” does not fit its box even at 12 px: "),
        ("Donaudampfschifffahrtsgesellschaft", "shorten it to about 30 characters"),
        ("a" * 10_000, "even at 12 px: shorten it to about"),
        ("🎉" * 2000, "even at 12 px: shorten it to about"),
        ("👨\u200d👩\u200d👧" * 2000, "even at 12 px: shorten it to about"),
        ("naïve façade " * 800, "even at 12 px: shorten it to about"),
    ],
)
def test_what_is_too_long_is_refused(text: str, message: str) -> None:
    with pytest.raises(TextDoesNotFit) as refused:
        set_in(text, 200, 60)
    assert message in str(refused.value)


def test_the_room_that_a_refusal_names_is_there() -> None:
    for text in ("The quick brown fox jumps over it. " * 20, "冬季大促销全场五折" * 40, "a " * 400):
        with pytest.raises(TextDoesNotFit) as refused:
            set_in(text, 300, 100, min_size=18)
        room = refused.value.room
        assert 10 < room < 200
        set_in(text[:room], 300, 100, min_size=18)


def test_a_box_that_holds_nothing() -> None:
    with pytest.raises(TextDoesNotFit, match="the box is too small for any text"):
        set_in("a", 100, 5)


def test_what_no_font_draws() -> None:
    with pytest.raises(NoGlyph, match=r"^no font here draws \(U\+E123\)$"):
        set_in("price \ue123")


# -- directions ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "language", "rtl"),
    [
        ("Sale", None, False),
        ("50%!", None, False),
        ("50%!", "ar", True),
        ("خصم Nike", "en", True),
        ("Nike خصم", "en", False),
        ("Nike خصم", "ar", True),
        ("Winter Sale", "ar", False),
        ("50% הנחה", None, True),
    ],
)
def test_direction(text: str, language: str | None, rtl: bool) -> None:
    assert set_in(text, language=language).rtl is rtl


@pytest.mark.parametrize(
    ("text", "align", "side"),
    [
        ("Sale", "start", "left"),
        ("Sale", "end", "right"),
        ("Sale", "right", "right"),
        ("הנחה", "start", "right"),
        ("הנחה", "end", "left"),
        ("הנחה", "left", "left"),
        ("הנחה", "center", "center"),
        ("Sale", "center", "center"),
    ],
)
def test_align(text: str, align: str, side: str) -> None:
    block = set_in(text, size=60)
    box = draw(block, margin=50, align=align, width=1000).getbbox()
    assert box is not None
    left, right = box[0] - 50, 1050 - box[2]
    found = "center" if abs(left - right) < 12 else "left" if left < right else "right"
    assert found == side
    if side != "center":
        assert min(left, right) < 8


@pytest.mark.parametrize("text", ["全场五折\uff0c", "「今だけ", "“起", "「例」", "五折。"])
def test_the_blank_half_of_east_asian_punctuation_does_not_count(text: str) -> None:
    block = set_in(text, language="zh", size=60)
    drawn = draw(block, margin=50, align="center", width=600).getbbox()
    assert drawn is not None
    assert abs((drawn[0] - 50) - (650 - drawn[2])) <= 6
    assert_whole(block, text)


def test_what_ends_an_arabic_line_stands_at_its_left() -> None:
    """An exclamation mark is a stroke over a dot: narrow, and not joined to a letter."""
    for text, language in (("خصم!", "ar"), ("הנחה!", "he"), ("خصم 50!", "ar")):
        block = set_in(text, language=language, size=100)
        mark = next(run for run in block.lines[0].runs if "!" in run.text)
        assert mark.x < 1
        assert mark.rtl
        drawn = draw(block, margin=50)
        first = drawn.crop((50, 0, 50 + int(mark.width), drawn.height)).getbbox()
        assert first is not None
        whole = drawn.getbbox()
        assert whole is not None
        assert abs(50 + first[0] - whole[0]) <= 1


# -- files -----------------------------------------------------------------------------------------------------


def test_only_the_files_that_are_needed_are_named() -> None:
    blocks = [set_in("Sale"), set_in("Sale 日本", language="ja"), set_in("50%")]
    assert [path.rsplit("/", 1)[1] for path in font_files(blocks)] == ["inter-800.ttf", "jp-700.ttf"]
    assert [path.rsplit("/", 1)[1] for path in font_files([set_in("a", weight=400)])] == ["inter-500.ttf"]
