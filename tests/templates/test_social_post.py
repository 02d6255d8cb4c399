"""Social posts: sizes, what the apps cover, layouts, where the logo goes."""
# ruff: noqa: RUF001

import pytest

from registry.errors import InvalidInputs
from tests.support.preset_checks import SCENES, check_finished, check_layout, laid_out, made, shipped, spot_of

LOGO = {"logo_url": "https://example.com/logo.png"}
ALL = {
    "headline": "Picked before the sun is up",
    "subline": "This year’s mountain mint is here. Small harvest, whole leaves.",
    "cta": "Taste the harvest",
    **LOGO,
}
LONG = {
    "headline": "Everything you need for the winter, delivered to your door before noon on Friday",
    "subline": "Free returns within one hundred days, in every one of our ninety shops and at any post office here",
    "cta": "winter-warehouse.example",
    **LOGO,
}
HEBREW = {
    "headline": "נקטף לפני הזריחה",
    "subline": "מנטה הררית של השנה כבר כאן",
    "cta": "לטעום את הקציר",
    "locale": "he",
    **LOGO,
}
JAPANESE = {
    "headline": "夜明け前に摘みました",
    "subline": "今年の山ミントができました。",
    "locale": "ja",
    **LOGO,
}
LAYOUTS = ["full", "panel", "split"]


def test_the_sizes_of_its_files() -> None:
    sizes = {one.name: (one.width, one.height) for one in shipped("social-post").row.outputs}
    assert sizes == {
        "square": (1080, 1080),
        "portrait": (1080, 1350),
        "story": (1080, 1920),
        "link-card": (1200, 630),
    }


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("given", [{"headline": "Hello"}, ALL, LONG, HEBREW, JAPANESE])
def test_everything_lies_within_the_safe_area(layout: str, given: dict[str, str]) -> None:
    for output, drawing in laid_out("social-post", layout=layout, **given).items():
        check_layout(output, drawing)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_story_keeps_clear_of_the_apps_own_buttons(layout: str) -> None:
    drawing = {one.name: it for one, it in laid_out("social-post", layout=layout, **LONG).items()}["story"]
    spots = [one.spot for one in (*drawing.words, *drawing.pictures)]
    assert len(spots) == 4
    assert min(spot.y for spot in spots) >= 250
    assert max(spot.bottom for spot in spots) <= 1920 - 340


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("scene", "brand"),
    [("noise", "#123f33"), ("snow", "#ff7a00"), ("night", "#fff6e0"), ("sketch", "#808080")],
)
def test_its_words_are_read_on_any_scene(layout: str, scene: str, brand: str) -> None:
    given = {**ALL, "layout": layout, "brand_color": brand}
    for output, finished in made("social-post", SCENES[scene], ["link-card", "square"], **given).items():
        check_finished(output, finished, ALL["headline"], ALL["subline"], ALL["cta"])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_language_from_right_to_left_mirrors_it(layout: str) -> None:
    for there, here in zip(
        laid_out("social-post", layout=layout, **HEBREW).items(),
        laid_out("social-post", layout=layout, **{**HEBREW, "locale": "en"}).items(),
        strict=True,
    ):
        (output, mirrored), (_, plain) = there, here
        for name in ("cta", "logo_url"):
            left, top, right, bottom = spot_of(plain, name)
            opposite = (output.width - right, top, output.width - left, bottom)
            assert spot_of(mirrored, name) == pytest.approx(opposite, abs=1.5)


def test_the_logo_stands_in_the_row_of_the_button() -> None:
    for output, drawing in laid_out("social-post", **ALL).items():
        logo, button = spot_of(drawing, "logo_url"), spot_of(drawing, "cta")
        if output.name != "link-card":
            assert logo[1] < (button[1] + button[3]) / 2 < logo[3]
            assert logo[2] == pytest.approx(output.width - output.edges[2], abs=1)
    for output, drawing in laid_out("social-post", headline="Hello", **LOGO).items():
        if output.name != "link-card":  # alone, it begins where the words begin
            assert spot_of(drawing, "logo_url")[0] == pytest.approx(output.edges[0], abs=1)


def test_a_long_button_sends_the_logo_up() -> None:
    drawing = {one.name: it for one, it in laid_out("social-post", layout="panel", **LONG).items()}["story"]
    assert spot_of(drawing, "logo_url")[1] == pytest.approx(250, abs=1)
    assert spot_of(drawing, "logo_url")[3] < spot_of(drawing, "headline")[1]


def test_split_shows_the_scene_where_nothing_hides_it() -> None:
    for output, drawing in laid_out("social-post", layout="split", **ALL).items():
        assert drawing.ground is not None
        if output.name == "link-card":
            assert drawing.ground.right == output.width
            assert drawing.ground.x <= spot_of(drawing, "headline")[0] + output.width * 0.6
        else:
            assert drawing.ground.y == 0
            assert drawing.ground.bottom < spot_of(drawing, "headline")[1]
    assert {one.ground for one in laid_out("social-post", layout="full", **ALL).values()} == {None}


def test_the_model_may_write_the_headline() -> None:
    for drawing in laid_out("social-post", text="model", **ALL).values():
        assert {words.name for words in drawing.words} == {"subline", "cta"}
        assert drawing.ground is None


def test_words_without_room_are_refused_by_name() -> None:
    with pytest.raises(InvalidInputs) as refused:
        laid_out("social-post", headline="Wintersonnenwendfeuerwerksverkaufsstellenöffnungszeitenaushang")
    assert {(fault.pointer, fault.code) for fault in refused.value.faults} == {
        ("/variables/headline", "text_too_long")
    }


def test_a_card_of_the_brand_makes_words_readable() -> None:
    given = {**ALL, "brand_color": "#808080", "layout": "panel"}
    for output, finished in made("social-post", SCENES["noise"], ["link-card"], **given).items():
        check_finished(output, finished, ALL["headline"], ALL["subline"], ALL["cta"])
