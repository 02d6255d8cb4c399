"""Finished pictures: exact, read everywhere, safe; from an overlay in a folder to the file."""
# ruff: noqa: RUF001

import io
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, ImageDraw

from templates.canvas import Spot, compile_overlay
from templates.colors import luminance, ratio, read_color
from templates.compose import Finished, compose, finish, placeholder_scene
from templates.contrast import measure
from templates.errors import TemplateError
from templates.paint import Painted
from templates.rows import Format, Output
from templates.scrim import zone_of
from templates.spots import Staged
from templates.svg import text_of

OVERLAY = """
<svg xmlns="http://www.w3.org/2000/svg" width="{{ w }}" height="{{ h }}">
  {% set logo = picture("logo_url", width=30*u, height=12*u) %}
  {% set head = text("headline", y=safe.y + 16*u, width=safe.width*0.8, height=safe.height*0.45, size=18*u, min_size=9) %}
  {% set more = text("subline", y=head.bottom + 4*u, width=safe.width*0.7, height=16*u, size=7*u, weight=500) %}
  {% if price is not none %}
  {% set tag = text(value=price|money(currency), name="price", x=safe.right - 36*u, y=safe.bottom - 16*u,
                    width=30*u, height=12*u, size=10*u, align="end", valign="bottom", on=brand) %}
  {% endif %}
</svg>
"""
VALUES: dict[str, Any] = {
    "headline": "Winter Sale",
    "subline": "Warm coats & scarves",
    "price": "19.99",
    "currency": "EUR",
    "brand": "#0b5fff",
    "logo_url": "upl_1",
}
NOISE = Image.fromarray(np.random.default_rng(5).integers(0, 256, (40, 120, 3), dtype=np.uint8))


def overlay(inside: str) -> Any:
    return compile_overlay(
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{{{{ w }}}}" height="{{{{ h }}}}">{inside}</svg>'
    )


def logo(color: tuple[int, int, int]) -> Image.Image:
    """A disc of a colour; clear around it."""
    made = Image.new("RGBA", (100, 100))
    ImageDraw.Draw(made).ellipse((0, 0, 99, 99), fill=(*color, 255))
    return made


def is_inside(spot: Spot, output: Output) -> bool:
    edge = output.safe * min(output.width, output.height) - 0.5
    beyond = (spot.right - output.width, spot.bottom - output.height)
    return min(spot.x, spot.y) >= edge and max(beyond) <= -edge


@pytest.mark.parametrize("form", get_args(Format))
def test_a_folders_overlay_becomes_a_file(tmp_path: Path, form: Format) -> None:
    file = tmp_path / "overlay.svg.jinja"
    file.write_text(OVERLAY, "utf-8")
    output = Output(name="wide", width=720, height=210, format=form, focus=(0.5, 0.3))
    scene = placeholder_scene(512, 512, "snow", "#0b5fff")
    made = [
        compose(
            compile_overlay(file.read_text("utf-8")), output, VALUES, scene, {"logo_url": logo((9, 9, 40))}
        )
        for _ in range(2)
    ]
    done: Finished = made[0]
    assert done == made[1]
    assert (done.name, done.width, done.height) == ("wide", 720, 210)
    assert [(text.name, text.text) for text in done.texts] == [
        ("headline", "Winter Sale"),
        ("subline", "Warm coats & scarves"),
        ("price", "€19.99"),
    ]
    if form == "pdf":
        assert done.data.startswith(b"%PDF")
    else:
        assert Image.open(io.BytesIO(done.data)).size == (720, 210)


SIZES = [(300, 250), (728, 90), (160, 600), (600, 314)]
SCENES = {
    "light": Image.new("RGB", (64, 64), (240, 236, 228)),
    "dark": Image.new("RGB", (64, 64), (18, 20, 30)),
    "middle": Image.new("RGB", (64, 64), (119, 119, 119)),
    "noise": NOISE,
    "halves": Image.composite(
        Image.new("RGB", (64, 64), "white"),
        Image.new("RGB", (64, 64), "black"),
        Image.linear_gradient("L").resize((64, 64)).point(lambda v: 255 * (v > 127)),
    ),
}


def check(painted: Painted, least: float = 4.5) -> None:
    """Every word is read on each pixel beneath, measured anew."""
    for shown in painted.words:
        found = measure(painted.beneath, zone_of(shown.words), shown.color)
        assert found >= least, shown
        assert found == pytest.approx(shown.contrast)
        assert shown.scrim <= 1


@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("size", SIZES)
def test_words_are_read_and_within_the_safe_area(scene: str, size: tuple[int, int]) -> None:
    output = Output(name="x", width=size[0], height=size[1], safe=0.06)
    values = {**VALUES, "subline": None, "price": None} if size[1] < 100 else VALUES
    painted = finish(compile_overlay(OVERLAY), output, values, SCENES[scene], {})
    check(painted)
    assert painted.picture.size == size
    assert all(is_inside(shown.words.spot, output) for shown in painted.words)
    # Where words are, pixels changed, and outside of the safe area none did.
    apart = np.asarray(painted.picture, dtype=int) - np.asarray(painted.beneath, dtype=int)
    changed = np.argwhere(np.abs(apart).max(axis=2) > 0)
    edge = int(output.safe * min(size)) - 1
    assert len(changed) > 50
    assert changed.min() >= edge
    assert changed[:, 0].max() < size[1] - edge
    assert changed[:, 1].max() < size[0] - edge


def test_a_scrim_only_where_it_is_needed() -> None:
    output = Output(name="x", width=600, height=300)
    for name in ("light", "dark", "middle"):
        painted = finish(compile_overlay(OVERLAY), output, VALUES, SCENES[name], {})
        assert [shown.scrim for shown in painted.words] == [0, 0, 0]
    scrims = [shown.scrim for shown in finish(compile_overlay(OVERLAY), output, VALUES, NOISE, {}).words]
    assert scrims[0] > 0.2
    assert scrims[2] == 0  # it has a plate


scenes = arrays(np.uint8, (6, 9, 3))
some_colors = st.sampled_from(["#ffffff", "#111111", "#0b5fff", "#ffcc00", "#777777", "#d81b60"])


@given(scenes, some_colors, some_colors, st.integers(0, 60), st.booleans())
@settings(max_examples=40, deadline=None)
def test_on_any_scene_and_any_shape(pixels: Any, forced: str, shape: str, gap: int, solid: bool) -> None:
    """Two texts one above the other, one of them of a colour that is asked for, half on a shape."""
    drawn = overlay(
        f'<rect x="60" y="0" width="70" height="120" fill="{shape}" opacity="{1 if solid else 0.5}"/>'
        "{{ text('a', y=10, height=40, size=24) }}"
        f"{{{{ text('b', y={46 + gap / 4}, height=30, size=14, color='{forced}') }}}}"
    )
    scene = Image.fromarray(pixels).resize((180, 120), Image.Resampling.BICUBIC)
    painted = finish(
        drawn, Output(name="x", width=180, height=120), {"a": "Winter", "b": "Sale now on"}, scene, {}
    )
    check(painted)
    assert painted.words[1].color == read_color(forced)


def test_words_near_one_another_are_of_one_tone() -> None:
    """A picture that is light above and dark below would take ink for the one and white for the other."""
    scene = Image.linear_gradient("L").convert("RGB").rotate(180).point(lambda v: int(70 + v * 0.5))
    drawn = overlay("{{ text('a', y=20, height=90, size=60) }}{{ text('b', y=100, height=50, size=30) }}")
    painted = finish(drawn, Output(name="x", width=400, height=300), {"a": "Winter", "b": "Sale"}, scene, {})
    first, second = painted.words
    assert (luminance(first.color) > 0.5) == (luminance(second.color) > 0.5)
    check(painted)


def test_a_button_near_a_headline_keeps_its_colour() -> None:
    drawn = overlay(
        '<rect x="20" y="120" width="120" height="40" fill="#ffffff"/>'
        "{{ text('a', x=20, y=40, height=70, size=60) }}{{ text('b', x=30, y=130, width=100, height=20, size=18) }}"
    )
    output = Output(name="x", width=600, height=200)
    busy = Image.fromarray(np.random.default_rng(2).integers(0, 200, (20, 60, 3), dtype=np.uint8))
    painted = finish(drawn, output, {"a": "Winter", "b": "Buy now"}, busy, {})
    headline, button = painted.words
    assert headline.scrim > 0
    assert button.scrim == 0
    assert painted.beneath.crop((22, 122, 138, 158)).getextrema() == ((255, 255),) * 3
    check(painted)


def test_a_colour_that_is_asked_for_is_kept() -> None:
    output = Output(name="x", width=300, height=150)
    pale = overlay("{{ text('a', size=40, color='#ffcc00', scrim='#1a1040') }}")
    (on_white,) = finish(pale, output, {"a": "Gold"}, None, {}).words
    assert (on_white.color, on_white.scrim > 0.5) == ((255, 204, 0), True)
    (on_night,) = finish(pale, output, {"a": "Gold"}, SCENES["dark"], {}).words
    assert on_night.scrim == 0
    several = overlay("{{ text('a', size=40, color=['#ffcc00', '#0b5fff', '#d81b60']) }}")
    (first_that_is_read,) = finish(several, output, {"a": "Gold"}, None, {}).words
    assert first_that_is_read.color == (11, 95, 255)


@pytest.mark.parametrize(
    ("ground", "color", "plate"),
    [
        ((250, 250, 250), (10, 10, 60), None),
        ((10, 10, 40), (10, 10, 60), (255, 255, 255)),
        ((250, 250, 250), (255, 250, 240), (17, 17, 17)),
        ((10, 10, 40), (255, 250, 240), None),
    ],
)
def test_a_logo_that_would_be_lost_gets_a_plate(
    ground: tuple[int, int, int], color: tuple[int, int, int], plate: tuple[int, int, int] | None
) -> None:
    drawn = overlay("{{ picture('logo_url', x=50, y=50, width=100, height=100) }}")
    scene = Image.new("RGB", (10, 10), ground)
    output = Output(name="x", width=200, height=200)
    seen = finish(drawn, output, {"logo_url": "u"}, scene, {"logo_url": logo(color)}).picture
    assert seen.getpixel((100, 100)) == color
    assert seen.getpixel((55, 80 if plate else 55)) == (plate or ground)
    assert seen.getpixel((45, 100)) == ground
    around = seen.getpixel((100, 53)) if plate else ground
    assert ratio(luminance(around), luminance(color)) >= 3  # type: ignore[arg-type]


def test_a_logo_on_a_busy_scene_gets_a_plate_and_an_opaque_one_none() -> None:
    drawn = overlay("{{ picture('logo_url', x=50, y=50, width=100, height=100) }}")
    output = Output(name="x", width=200, height=200)
    grey = finish(drawn, output, {"logo_url": "u"}, NOISE, {"logo_url": logo((110, 110, 110))}).picture
    assert grey.getpixel((100, 53)) in ((255, 255, 255), (17, 17, 17))
    opaque = Image.new("RGB", (100, 100), (110, 110, 110))
    assert (
        finish(drawn, output, {"logo_url": "u"}, NOISE, {"logo_url": opaque}).picture.getpixel((52, 52))
        == (110,) * 3
    )


def test_what_is_staged_lies_beneath_the_words() -> None:
    def stage(scene: Image.Image) -> Staged:
        assert scene.size == (300, 150)
        return Staged(picture=Image.new("RGB", scene.size, (10, 10, 10)))

    painted = finish(
        overlay("{{ text('a', size=40) }}"),
        Output(name="x", width=300, height=150),
        {"a": "Hi"},
        NOISE,
        {},
        stage=stage,
    )
    assert painted.words[0].color == (255, 255, 255)
    assert painted.picture.getpixel((299, 149)) == (10, 10, 10)


def test_without_an_overlay_the_scene_is_cropped() -> None:
    done = compose(None, Output(name="x", width=31, height=17), {}, NOISE, {})
    assert Image.open(io.BytesIO(done.data)).size == (31, 17)
    assert done.texts == ()


def test_a_faulty_overlay_is_the_authors() -> None:
    with pytest.raises(TemplateError, match="lies outside"):
        finish(overlay('<image href="/etc/hostname"/>'), Output(name="x", width=30, height=15), {}, None, {})


SAID = [
    "Winter Sale",
    "تخفيضات 50% اليوم!",
    "מבצע חורף — 50% הנחה",
    "冬のセール、最大50％オフ",
    "सर्दियों की सेल",
    "</text>&amp;{{ 1 }}",
]


@pytest.mark.parametrize("said", SAID)
def test_what_is_drawn_is_what_was_said(said: str) -> None:
    painted = finish(
        overlay("{{ text('a', size=40) }}"), Output(name="x", width=300, height=250), {"a": said}, None, {}
    )
    drawn = " ".join(text_of(painted.svg)).replace("\u200f", "")
    assert drawn.replace(" ", "") == said.replace(" ", "")
    assert len(painted.words[0].words.block.lines) == len(text_of(painted.svg))


def test_a_placeholder_is_the_same_for_the_same_words() -> None:
    one, same = (placeholder_scene(200, 80, "snow", "#d81b60") for _ in range(2))
    assert one.tobytes() == same.tobytes()
    assert one.size == (200, 80)
    assert one.tobytes() != placeholder_scene(200, 80, "sand", "#d81b60").tobytes()
    red, _, blue = np.asarray(one, dtype=float).mean(axis=(0, 1))
    assert red > blue
    grey = np.asarray(placeholder_scene(50, 50, "x", "#808080"), dtype=int)
    assert np.abs(grey[..., 0] - grey[..., 2]).max() <= 2
