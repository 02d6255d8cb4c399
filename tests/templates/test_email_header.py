"""Email headers: sizes, one design in both, safe areas, what can be read at 600 pixels."""
# ruff: noqa: RUF001

import pytest

from registry.errors import InvalidInputs
from tests.support.preset_checks import SCENES, check_finished, check_layout, laid_out, made, shipped, spot_of

LOGO = {"logo_url": "https://example.com/logo.png"}
ALL = {
    "headline": "Good morning, slow Sunday",
    "subline": "Five recipes that may take their time",
    "cta": "Read the issue",
    **LOGO,
}
LONG = {
    "headline": "Everything you need for the winter, at your door before Friday noon",
    "subline": "Free returns within one hundred days, in every one of our shops and at any post office",
    "cta": "Shop the winter collection",
    **LOGO,
}
ARABIC = {
    "headline": "صباح الخير أيها الأحد الهادئ",
    "subline": "خمس وصفات لا تستعجل",
    "cta": "اقرأ العدد",
    "locale": "ar",
    **LOGO,
}
CHINESE = {
    "headline": "早安，慢悠悠的星期天",
    "subline": "五道可以慢慢做的菜",
    "cta": "阅读本期",
    "locale": "zh-Hans",
    **LOGO,
}
LAYOUTS = ["split", "full"]


def test_the_sizes_of_its_files() -> None:
    sizes = {one.name: (one.width, one.height) for one in shipped("email-header").row.outputs}
    assert sizes == {"sharp": (1200, 400), "plain": (600, 200)}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("given", [{"headline": "Hello"}, ALL, LONG, ARABIC, CHINESE])
def test_everything_lies_within_the_safe_area(layout: str, given: dict[str, str]) -> None:
    for output, drawing in laid_out("email-header", layout=layout, **given).items():
        check_layout(output, drawing)


@pytest.mark.parametrize("given", [ALL, LONG])
def test_both_sizes_are_one_design(given: dict[str, str]) -> None:
    sharp, plain = laid_out("email-header", **given).values()
    for name in ("headline", "subline", "cta", "logo_url"):
        assert spot_of(sharp, name) == pytest.approx([2 * edge for edge in spot_of(plain, name)], abs=3)
    assert [len(one.block.lines) for one in sharp.words] == [len(one.block.lines) for one in plain.words]


def test_the_smallest_words_can_be_read() -> None:
    least = {"headline": 18, "subline": 12, "cta": 11}
    for output, drawing in laid_out("email-header", **LONG).items():
        for words in drawing.words:
            assert words.spot.size * 600 / output.width >= least[words.name]


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("scene", "brand"),
    [("noise", "#5c1f3d"), ("snow", "#ffffff"), ("night", "#000000"), ("sketch", "#c2410c")],
)
def test_its_words_are_read_on_any_scene(layout: str, scene: str, brand: str) -> None:
    given = {**ALL, "layout": layout, "brand_color": brand}
    for output, finished in made("email-header", SCENES[scene], **given).items():
        check_finished(output, finished, ALL["headline"], ALL["subline"], ALL["cta"])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_language_from_right_to_left_mirrors_it(layout: str) -> None:
    for output, drawing in laid_out("email-header", layout=layout, **ARABIC).items():
        assert spot_of(drawing, "headline")[2] == pytest.approx(output.width - output.edges[2], abs=1)
        assert spot_of(drawing, "cta")[0] > output.width / 2
        assert spot_of(drawing, "logo_url")[0] == pytest.approx(output.edges[0], abs=1)


def test_the_model_may_write_the_headline() -> None:
    for output, drawing in laid_out("email-header", text="model", **ALL).items():
        assert {words.name for words in drawing.words} == {"subline", "cta"}
        assert drawing.ground is None
        check_layout(output, drawing)


def test_words_without_room_are_refused_by_name() -> None:
    with pytest.raises(InvalidInputs) as refused:
        laid_out("email-header", **{**ALL, "cta": "W" * 28})
    assert {(fault.pointer, fault.code) for fault in refused.value.faults} == {
        ("/variables/cta", "text_too_long")
    }


def test_its_own_side_makes_words_readable() -> None:
    given = {**ALL, "brand_color": "#808080"}
    for output, finished in made("email-header", SCENES["noise"], ["plain"], **given).items():
        check_finished(output, finished, ALL["headline"], ALL["subline"], ALL["cta"])
