"""Runs and their measures, against what the renderer draws."""

# ruff: noqa: RUF001 - these characters are the point

from itertools import pairwise

import pytest
from support.drawing import draw
from support.scripts import SCRIPTS

from templates.fonts.faces import DEVANAGARI, FAMILIES, HEBREW, INTER_800, faces_for
from templates.shape import NoGlyph, measure, spans
from templates.typeset import Block, fit


def runs(text: str, language: str | None = None, rtl: bool = False) -> list[tuple[str, str]]:
    found = spans(text, faces_for("inter", 800, language), rtl)
    return [(text[span.start : span.end], span.face.stem) for span in found]


@pytest.mark.parametrize(
    ("text", "language", "expected"),
    [
        ("Sale 50%", None, [("Sale 50%", "inter-800")]),
        ("Sale ไทย ok", None, [("Sale ", "inter-800"), ("ไทย ", "thai-700"), ("ok", "inter-800")]),
        ("日本 Sale", "ja", [("日本 ", "jp-700"), ("Sale", "inter-800")]),
        ("他说“好”", "zh", [("他说“好”", "sc-700")]),
        ("“好”吧…", "zh", [("“好”吧…", "sc-700")]),
        ("say “hi” 好", "zh", [("say “hi” ", "inter-800"), ("好", "sc-700")]),
        ("값 “a”", "ko", [("값 ", "kr-700"), ("“a”", "inter-800")]),
        ("漢 값", "ko", [("漢 ", "sc-700"), ("값", "kr-700")]),
        ("🔥 hot", None, [("🔥", "emoji-700"), (" hot", "inter-800")]),
        ("★ ❤️ 1️⃣", None, [("★ ", "inter-800"), ("❤️", "emoji-700"), (" ", "inter-800"), ("1️⃣", "emoji-700")]),
        ("कαβ", None, [("क", "devanagari-700"), ("αβ", "inter-800")]),
        ("겨울 값", "ko", [("겨울 값", "kr-700")]),
    ],
)
def test_runs(text: str, language: str | None, expected: list[tuple[str, str]]) -> None:
    assert runs(text, language) == expected


def test_a_run_has_one_script() -> None:
    assert runs("aбγ") == [("a", "inter-800"), ("б", "inter-800"), ("γ", "inter-800")]
    assert runs("1-a: 2") == [("1-a: 2", "inter-800")]


@pytest.mark.parametrize(
    ("text", "characters", "message"),
    [
        ("a\ue000b\uf8ff", "\ue000\uf8ff", "no font here draws (U+E000), (U+F8FF)"),
        ("a\ud800", "\ud800", "no font here draws (U+D800)"),
        ("ꦏ a ꦏ", "ꦏ", "no font here draws ꦏ (U+A98F)"),
        ("\uffff", "\uffff", "no font here draws (U+FFFF)"),
        ("a" + "\u0301" * 40, "\u0301", "no font here draws \u0301 (U+0301)"),
        ("ꦀꦁꦂꦃꦄꦅ", "ꦀꦁꦂꦃꦄꦅ", None),
    ],
)
def test_what_no_face_draws_is_named(text: str, characters: str, message: str | None) -> None:
    with pytest.raises(NoGlyph) as caught:
        runs(text)
    assert set(caught.value.characters) == set(characters)
    assert message is None or str(caught.value) == message
    assert message is not None or str(caught.value).endswith(", ...")


# -- the measure is what is drawn ------------------------------------------------------------------------------


def expected_ink(block: Block) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of the only line, from the measures of its runs."""
    assert len(block.lines) == 1
    boxes = [(run, measure(run.face, run.text, run.rtl)) for run in block.lines[0].runs if run.text.strip()]
    size = block.size
    return (
        min(run.x + extent.left * size for run, extent in boxes),
        block.ascent - max(extent.top for _, extent in boxes) * size,
        max(run.x + extent.right * size for run, extent in boxes),
        block.ascent - min(extent.bottom for _, extent in boxes) * size,
    )


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("sample", SCRIPTS)
def test_the_renderer_draws_what_was_measured(family: str, sample: str) -> None:
    text, language = SCRIPTS[sample]
    block = fit(text, width=9000, height=400, size=100, min_size=100, family=family, language=language)
    drawn = draw(block, margin=50).getbbox()
    assert drawn is not None
    for got, wanted in zip(drawn, expected_ink(block), strict=True):
        assert abs(got - 50 - wanted) <= 2, (drawn, expected_ink(block))


@pytest.mark.parametrize("sample", SCRIPTS)
def test_each_run_is_drawn_where_and_as_wide_as_it_was_measured(sample: str) -> None:
    """Run by run: an error within a line cannot hide behind what is to its left or right."""
    text, language = SCRIPTS[sample]
    block = fit(text, width=9000, height=400, size=100, min_size=100, language=language)
    for run in block.lines[0].runs:
        if not run.text.strip():
            continue
        extent = measure(run.face, run.text, run.rtl)
        line = type(block.lines[0])(run.text, run.width, run.rtl, (run,))
        alone = Block((line,), 100, 110, 150, run.x + run.width, 250, block.rtl, (run.face,))
        drawn = draw(alone, margin=50, width=run.x + run.width + 50).getbbox()
        assert drawn is not None
        assert abs(drawn[0] - 50 - run.x - extent.left * 100) <= 2, run.text
        assert abs(drawn[2] - 50 - run.x - extent.right * 100) <= 2, run.text


def test_letters_are_kerned_and_conjuncts_are_made() -> None:
    assert measure(INTER_800, "AV", False).advance < sum(measure(INTER_800, c, False).advance for c in "AV")
    conjunct = measure(DEVANAGARI, "क्ष", False).advance
    assert conjunct < sum(measure(DEVANAGARI, c, False).advance for c in "कष")
    assert measure(HEBREW, "ש\u05c1", True).advance == measure(HEBREW, "ש", True).advance


def gaps(text: str, language: str) -> int:
    """Columns without ink between the first and the last that have some, as stretches."""
    drawn = draw(fit(text, width=4000, height=400, size=100, min_size=100, language=language))
    box = drawn.getbbox()
    assert box is not None
    columns = [drawn.crop((x, 0, x + 1, drawn.height)).getbbox() is not None for x in range(box[0], box[2])]
    return sum(1 for a, b in pairwise(columns) if a and not b)


def test_arabic_and_devanagari_words_are_drawn_in_one_stroke() -> None:
    assert gaps("بيت", "ar") == 0
    assert gaps("ب ي ت", "ar") == 2
    assert gaps("دار", "ar") > 0  # letters that join to the right alone
    assert gaps("הלל", "he") == 2
    assert gaps("नमन", "hi") == 0
