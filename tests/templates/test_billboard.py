"""The billboard: sizes, safe areas, what is where, who writes the headline."""
# ruff: noqa: RUF001

import pytest

from registry.errors import InvalidInputs
from tests.support.preset_checks import SCENES, check_finished, check_layout, laid_out, made, shipped, spot_of

LOGO = {"logo_url": "https://example.com/logo.png"}
ALL = {
    "headline": "The long way up starts here",
    "subline": "Boots, packs and maps for the high trails",
    "cta": "kammweg.example",
    **LOGO,
}
LONG = {
    "headline": "Everything you need for the winter, delivered to your door before Friday noon",
    "subline": "Free returns within one hundred days, in each of our shops and at any post office of the country",
    "cta": "winter-warehouse.example/friday",
    **LOGO,
}
ARABIC = {
    "headline": "الطريق إلى القمة يبدأ من هنا",
    "subline": "أحذية وحقائب وخرائط للدروب العالية",
    "cta": "المخرج 12",
    "locale": "ar",
    **LOGO,
}
CHINESE = {"headline": "登顶之路，从这里开始", "subline": "靴子、背包和地图", "locale": "zh-Hans", **LOGO}


def test_the_sizes_of_its_files() -> None:
    sizes = {one.name: (one.width, one.height) for one in shipped("billboard").row.outputs}
    assert sizes == {"14x48": (2880, 840), "3x1": (2400, 800)}
    assert 2880 / 840 == 48 / 14


@pytest.mark.parametrize("layout", ["full", "panel"])
@pytest.mark.parametrize("given", [{"headline": "Go"}, ALL, LONG, ARABIC, CHINESE])
@pytest.mark.parametrize("typeface", ["sans", "condensed", "serif"])
def test_everything_lies_within_the_safe_area(layout: str, given: dict[str, str], typeface: str) -> None:
    for output, drawing in laid_out("billboard", layout=layout, typeface=typeface, **given).items():
        check_layout(output, drawing)


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["full", "panel"])
@pytest.mark.parametrize(
    ("scene", "brand"),
    [
        ("noise", "#3a1546"),
        ("noise", "#f5c400"),
        ("snow", "#7f7f7f"),
        ("night", "#ffffff"),
        ("sketch", "#b5121b"),
    ],
)
def test_its_words_are_read_on_any_scene(layout: str, scene: str, brand: str) -> None:
    given = {**ALL, "layout": layout, "brand_color": brand}
    for output, finished in made("billboard", SCENES[scene], ["3x1"], **given).items():
        check_finished(output, finished, ALL["headline"], ALL["subline"], ALL["cta"])


@pytest.mark.parametrize("layout", ["full", "panel"])
def test_a_language_from_right_to_left_mirrors_it(layout: str) -> None:
    for output, drawing in laid_out("billboard", layout=layout, **ARABIC).items():
        middle = output.width / 2
        for name in ("headline", "subline", "cta"):
            assert spot_of(drawing, name)[2] > output.width - output.edges[2] - output.height * 0.1
        assert spot_of(drawing, "logo_url")[2] < middle
        if layout == "panel":
            assert drawing.ground is not None
            assert (drawing.ground.x, drawing.ground.right) == (0, middle)
    for output, drawing in laid_out("billboard", layout=layout, **ALL).items():
        assert spot_of(drawing, "headline")[0] == pytest.approx(output.edges[0], abs=1)
        assert spot_of(drawing, "logo_url")[2] == pytest.approx(output.width - output.edges[2], abs=1)


def test_its_column_stands_in_the_middle() -> None:
    for given in ({"headline": "Go"}, {"headline": "Go up", "subline": "Boots"}):
        for output, drawing in laid_out("billboard", **given).items():
            above = spot_of(drawing, "headline")[1]
            below = output.height - max(words.spot.bottom for words in drawing.words)
            assert above == pytest.approx(below, abs=2)


def test_a_headline_is_read_from_far() -> None:
    for output, drawing in laid_out("billboard", **LONG).items():
        (size,) = [words.spot.size for words in drawing.words if words.name == "headline"]
        assert size >= output.height * 0.09


def test_the_model_may_write_the_headline() -> None:
    for drawing in laid_out("billboard", text="model", layout="panel", **ALL).values():
        assert {words.name for words in drawing.words} == {"subline", "cta"}
        assert drawing.ground is None  # no panel hides what the model wrote
    for drawing in laid_out("billboard", text="both", **ALL).values():
        assert {words.name for words in drawing.words} == {"headline", "subline", "cta"}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("headline", "Unverwechselbarkeitsbescheinigungsantragsformularausgabestellenleiterwechsel"),
        ("cta", "W" * 40),
    ],
)
def test_words_without_room_are_refused_by_name(name: str, words: str) -> None:
    with pytest.raises(InvalidInputs) as refused:
        laid_out("billboard", layout="panel", **{**ALL, name: words})
    assert {fault.pointer for fault in refused.value.faults} == {f"/variables/{name}"}
    assert all(fault.code == "text_too_long" for fault in refused.value.faults)


def test_the_person_stands_opposite_the_words() -> None:
    def prompt(**given: str) -> str:
        run = shipped("billboard").plan(
            {"headline": "Go", "avatar_lora": "s3://b/me.safetensors", **given}, {}
        )
        return str(run.requests[0].inputs["prompt"])

    assert "in the right third" in prompt()
    assert "in the left third" in prompt(locale="he")
    assert "in the left third" in prompt(locale="ar-EG")


def test_a_veil_of_the_brand_makes_words_readable() -> None:
    given = {**ALL, "brand_color": "#f5c400"}
    for output, finished in made("billboard", SCENES["noise"], ["3x1"], **given).items():
        check_finished(output, finished, ALL["headline"], ALL["subline"], ALL["cta"])
        assert {text.scrim for text in finished.texts} == {0}  # it is enough, so that no scrim is drawn
