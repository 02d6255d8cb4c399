"""What an overlay sees and may do, and what it is refused."""
# ruff: noqa: RUF001

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from PIL import Image

from registry.errors import InvalidInputs
from templates.canvas import Drawing, Spot, compile_overlay, draw
from templates.errors import TemplateError
from templates.paint import paint
from templates.rows import Output
from templates.svg import text_of

OUTPUT = Output(name="card", width=600, height=400, safe=0.05)
VALUES: dict[str, Any] = {
    "headline": "Winter Sale",
    "subline": None,
    "price": Decimal("19.99"),
    "currency": "EUR",
    "starts_on": date(2026, 12, 3),
    "ends_on": date(2026, 12, 9),
    "brand": "#0b5fff",
    "logo_url": "upl_1",
    "text": "overlay",
}


def svg(inside: str) -> str:
    return f'<svg xmlns="http://www.w3.org/2000/svg" width="{{{{ w }}}}" height="{{{{ h }}}}">{inside}</svg>'


def drawn(
    inside: str,
    values: Mapping[str, Any] = {},
    pictures: Mapping[str, Image.Image] = {},
    output: Output = OUTPUT,
    language: str = "en",
) -> Drawing:
    return draw(compile_overlay(svg(inside)), output, {**VALUES, **values}, pictures, language)


def said(drawing: Drawing) -> list[str]:
    """What the SVG of the words says, each of them in one piece."""
    painted = paint(drawing, Image.new("RGB", (drawing.width, drawing.height), "white"))
    return [" ".join(text_of(painted.svg))]


def test_names_of_an_overlay() -> None:
    shown = drawn(
        "<desc>{{ out.name }} {{ w }} {{ h }} {{ u }} {{ safe.x }} {{ safe.right }} {{ safe.bottom }} {{ rtl }} "
        "{{ locale }} {{ values.text }} {{ brand }} {{ subline }}|{{ dark('#ffffff') != '#ffffff' }} "
        "{{ mix('#000', '#fff', 0.5) }} {{ readable(brand) }}</desc>"
    ).shapes
    assert "card 600 400 4.0 20.0 580.0 380.0 False en overlay #0b5fff |True #808080 #ffffff" in shown


def test_a_text_says_where_it_is_and_prints_nothing() -> None:
    drawing = drawn(
        "{% set head = text('headline', y=40, height=200, size=40) %}"
        "{{ text('subline', y=head.bottom, height=50, size=20) }}"
        "<desc>{{ head }}{{ head.x }} {{ head.lines }} {{ head.size }} {{ head.bottom > 40 }} "
        "{{ head.right < safe.right }} {{ head.middle }} {{ head.center }}</desc>"
    )
    (words,) = drawing.words
    spot = words.spot
    assert f"<desc>20.0 1 40 True True {spot.middle} {spot.center}</desc>" in drawing.shapes
    assert (words.text, words.name) == ("Winter Sale", "headline")


def test_nothing_is_placed_where_there_is_nothing() -> None:
    for empty in (None, "", "  \n", "\u200b"):
        shown = drawn(
            "{% set t = text('subline', y=100, size=20) %}{% set p = picture('logo_url', y=30) %}"
            "<desc>{{ t.drawn }} {{ t.bottom }} {{ p.drawn }} {{ p.bottom }}</desc>",
            {"subline": empty},
        )
        assert (shown.words, shown.pictures) == ((), ())
        assert "False 100.0 False 30.0" in shown.shapes


def test_a_made_text_and_its_name() -> None:
    drawing = drawn(
        "{{ text(value=price|money(currency), name='price', size=30) }}"
        "{% set when %}{{ starts_on|days(ends_on) }} & {{ headline }} <only>{% endset %}"
        "{{ text(value=when, name='starts_on', y=200, size=30) }}",
        {"headline": "A & <b>"},
        language="de",
    )
    assert [words.text for words in drawing.words] == ["19,99\xa0€", "3.–9. Dez. 2026 & A & <b> <only>"]


@pytest.mark.parametrize(
    ("align", "language", "side"),
    [
        ("start", "en", "left"),
        ("end", "en", "right"),
        ("start", "ar", "right"),
        ("end", "he", "left"),
        ("left", "ar", "left"),
        ("center", "ar", "center"),
    ],
)
def test_sides_follow_the_locale(align: str, language: str, side: str) -> None:
    (words,) = drawn(f"{{{{ text('headline', size=30, align='{align}') }}}}", language=language).words
    x = {"left": 20.0, "center": 300 - words.spot.width / 2, "right": 580 - words.spot.width}[side]
    assert words.spot.x == pytest.approx(x)
    assert words.align == side


@pytest.mark.parametrize(("valign", "share"), [("top", 0.0), ("middle", 0.5), ("bottom", 1.0)])
def test_heights(valign: str, share: float) -> None:
    (words,) = drawn(f"{{{{ text('headline', size=30, valign='{valign}') }}}}").words
    assert words.spot.y == pytest.approx(20 + share * (360 - words.spot.height))


def test_words_too_small_to_be_read_are_never_set() -> None:
    (words,) = drawn("{{ text('headline', size=4, min_size=2) }}").words
    assert words.spot.size == 9


def test_capitals_of_the_language() -> None:
    (words,) = drawn(
        "{{ text('headline', size=30, upper=True) }}", {"headline": "indirim"}, language="tr"
    ).words
    assert words.text == "İNDİRİM"


@pytest.mark.parametrize(
    "box",
    [
        "x=10, width=100",
        "y=10, height=100",
        "x=500, width=100",
        "y=300, height=100",
        "x=-1000, width=2000",
        "x=0, y=0, width=w, height=h",
        "y=safe.bottom, height=10",
    ],
)
def test_a_box_outside_of_the_safe_area_is_the_authors_fault(box: str) -> None:
    with pytest.raises(TemplateError, match=r"text\('headline'\) of card is at .* the safe area at 20, 20"):
        drawn(f"{{{{ text('headline', {box}, size=30) }}}}")
    with pytest.raises(TemplateError, match="safe area"):
        drawn(f"{{{{ picture('logo_url', {box}) }}}}")
    assert drawn(f"{{{{ picture('logo_url', {box}, bleed=True) }}}}").pictures == ()


def test_all_that_does_not_fit_is_said_at_once() -> None:
    with pytest.raises(InvalidInputs) as caught:
        drawn(
            "{{ text('headline', height=20, size=18) }}{{ text('subline', height=40, size=18) }}"
            "{{ text(value='x', name='price', y=safe.bottom + 0.2, size=18) }}",
            {"headline": "Far too long " * 30, "subline": "a\ue000b"},
        )
    found = [(fault.pointer, fault.code) for fault in caught.value.faults]
    assert found == [
        ("/variables/headline", "text_too_long"),
        ("/variables/subline", "no_glyph"),
        ("/variables/price", "text_too_long"),
    ]
    assert "card" in caught.value.faults[0].message
    assert "shorten it to about" in caught.value.faults[0].message


def test_what_a_locale_cannot_write_is_the_callers_fault() -> None:
    with pytest.raises(InvalidInputs) as caught:
        drawn("{{ ends_on|days(starts_on) }}")
    (fault,) = caught.value.faults
    assert (fault.pointer, fault.code) == ("/variables", "not_allowed")
    assert "2026-12-03 lies before 2026-12-09" in fault.message


HOSTILE = [
    "{{ 7 * 7 }} {% raw %}",
    "{{ ''.__class__.__mro__ }}",
    "</text><script>alert(1)</script>",
    '"/><image href="/etc/passwd"/>',
    "<!DOCTYPE x [<!ENTITY e SYSTEM 'file:///etc/passwd'>]>&e;",
    "]]> <![CDATA[ x ]]>",
    "&amp; &lt; &#60; &bogus;",
    "<?xml version='1.0'?>",
    "url(#a) @import 'x'; --> <!--",
    "50% off & more: 'now' or \"never\"",
    "%s %n ${x} #{y} <% z %>",
]


@pytest.mark.parametrize("hostile", HOSTILE)
def test_what_a_variable_holds_is_text(hostile: str) -> None:
    drawing = drawn("{{ text('headline', size=20) }}<desc>{{ headline }}</desc>", {"headline": hostile})
    assert said(drawing) == [hostile]
    assert drawing.shapes.count("<") == 4  # svg, desc and their ends: nothing was added


@pytest.mark.parametrize("hostile", [*HOSTILE, "a\x00b\x1f\ufffe\x7fc", "tab\tand\nline"])
def test_and_an_attribute_of_a_shape(hostile: str) -> None:
    shapes = drawn(
        "<rect id=\"{{ headline }}\" class='{{ headline }}' width='5'/>", {"headline": hostile}
    ).shapes
    assert shapes.count("<") == 3


def test_a_lone_surrogate_becomes_nothing_that_breaks() -> None:
    drawing = drawn("<desc>{{ headline }}</desc>", {"headline": "a\ud800b"})
    assert "<desc>ab</desc>" in drawing.shapes


@pytest.mark.parametrize(
    ("inside", "why"),
    [
        ("{{ nothing }}", "'nothing' is undefined"),
        ("{{ text('nothing', size=9) }}", "no such variable"),
        ("{{ picture('nothing') }}", "no such variable"),
        ("{{ text(size=9) }}", "takes the name of a variable"),
        ("{{ text('headline') }}", "size"),
        ("{{ text(value=nothing.x, name='a', size=9) }}", "undefined"),
        ("{{ text('headline', size=9, colour='#fff') }}", "colour"),
        ("{{ text('headline', size=9, color='red') }}", "is no colour"),
        ("{{ text('headline', size=9, on='blue') }}", "is no colour"),
        ("{{ text('headline', size=9, align='middle') }}", "align is one of"),
        ("{{ text('headline', size=9, valign='center') }}", "valign"),
        ("{{ text('headline', size=9, family='comic') }}", "comic"),
        ("{{ text('headline', size=9, x='left') }}", "left"),
        ("{{ text('headline', size=9, width=h / 0) }}", "zero"),
        ("{{ text('headline', size=9, y=(h * 1e300) * 1e300) }}", "has no place"),
        ("{{ ''.__class__.__mro__ }}", "unsafe"),
        ("{{ values.update(x=1) }}", "unsafe"),
        ("{{ text.__globals__ }}", "unsafe"),
        ("{% for i in range(300) %}{{ text('headline', size=9) }}{% endfor %}", "more than 200"),
        ("{% include 'x' %}", "no loader"),
        ("<text>{{ headline }}</text>", "words are written with text()"),
        ("<image href='{{ logo_url }}'/>", "lies outside"),
        ("<rect>", "is no XML"),
    ],
)
def test_what_an_author_did_wrong_is_said(inside: str, why: str) -> None:
    with pytest.raises(TemplateError) as caught:
        drawn(inside)
    assert why in str(caught.value)


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("{% if %}", "Expected an expression"),
        ("{% autoescape false %}{{ headline }}{% endautoescape %}", "escaping of an overlay stays on"),
        ("{{ headline|safe }}", "No filter named 'safe'"),
        ("{{ headline|nonsense }}", "No filter named"),
        ("{{ hedline }}", "there is no variable 'hedline'"),
    ],
)
def test_what_cannot_be_compiled(source: str, why: str) -> None:
    with pytest.raises(TemplateError) as caught:
        compile_overlay(svg(source), frozenset(VALUES))
    assert why in str(caught.value)


def test_a_picture_fits_its_box_and_keeps_its_shape() -> None:
    logo = Image.new("RGBA", (400, 100))
    box = "x=100, y=100, width=200, height=200"
    for words, spot in (
        ("", (100, 175, 200, 50)),
        ("valign='top'", (100, 100, 200, 50)),
        ("cover=True", (100, 100, 200, 200)),
    ):
        (pasted,) = drawn(
            f"{{{{ picture('logo_url', {box}, {words}) }}}}", pictures={"logo_url": logo}
        ).pictures
        found: Spot = pasted.spot
        assert (found.x, found.y, found.width, found.height) == spot
    tall = drawn(
        f"{{{{ picture('logo_url', {box}, align='end') }}}}",
        pictures={"logo_url": logo.rotate(90, expand=True)},
    )
    assert tall.pictures[0].spot.x == 250
    with pytest.raises(TemplateError, match="no room"):
        drawn("{{ picture('logo_url', width=0) }}", pictures={"logo_url": logo})


def test_words_are_measured_and_not_set() -> None:
    drawing = drawn(
        '{% set how = dict(x=60, width=400, height=90, size=40, weight=500) %}{% set found = measure("headline", **how) %}'
        '<desc>{{ found.width == text("headline", **how).width }} {{ found.lines }} {{ measure("subline", **how).drawn }}'
        ' {{ measure(value="W" * 60, name="headline", **how).lines }}</desc>'
    )
    assert "True 1 False 0" in drawing.shapes  # words without room have no lines, and are no fault yet
    assert [words.name for words in drawing.words] == ["headline"]


def test_a_scene_fills_what_it_is_given() -> None:
    assert drawn("").ground is None
    ground = drawn("{{ scene(x=w * 0.5, width=w, y=-10, height=200.2) }}<g/>").ground
    assert ground is not None
    assert (ground.x, ground.y, ground.right, ground.bottom) == (300, 0, 600, 191)
    with pytest.raises(TemplateError, match="no room"):
        drawn("{{ scene(x=w) }}")


def test_a_safe_area_may_differ_by_side() -> None:
    story = Output(name="story", width=1080, height=1920, safe=(0.05, 0.25, 0.1, 0.3))
    shown = drawn(
        "<desc>{{ safe.x }} {{ safe.y }} {{ safe.right }} {{ safe.bottom }}</desc>", output=story
    ).shapes
    assert "54.0 270.0 972.0 1596.0" in shown
    with pytest.raises(TemplateError, match="the safe area at"):
        drawn('{{ text("headline", y=0, height=90, size=40) }}', output=story)
    with pytest.raises(ValueError, match="safe area"):
        Output(name="none", width=100, height=100, safe=(0.5, 0, 0.5, 0))


def test_colours_are_compared() -> None:
    assert (
        "<desc>21.0 1.0</desc>"
        in drawn("<desc>{{ contrast('#000', '#fff') }} {{ contrast(brand, brand) }}</desc>").shapes
    )


@pytest.mark.parametrize(("plate", "shown"), [("#203080", (32, 48, 128)), ("#ffffee", (17, 17, 17))])
def test_a_plate_is_of_the_brands_colour_where_the_logo_is_seen_on_it(
    plate: str, shown: tuple[int, ...]
) -> None:
    logo = Image.new("RGBA", (200, 100))
    logo.paste((255, 255, 255, 255), (40, 40, 160, 60))
    inside = f'{{{{ picture("logo_url", x=100, y=100, width=200, height=100, plate="{plate}") }}}}'
    painted = paint(drawn(inside, pictures={"logo_url": logo}), Image.new("RGB", (600, 400), "white"))
    assert painted.picture.getpixel((110, 150)) == shown
