"""The app icon: a sign in its optical middle, in the sizes and shapes that stores and browsers ask for."""

from typing import Any

import numpy as np
import pytest
from PIL import Image

from registry.errors import InvalidInputs
from templates.colors import read_color
from tests.support.presets import logo, made, of, opened, outside, planned, png, scene, well_read

NAME = "app-icon"
OUTPUTS = {output.name: output for output in of(NAME).row.outputs}
FULL = {"ios-1024", "apple-touch-180", "play-512"}


def sign(picture: Image.Image) -> tuple[float, float]:
    """The middle of what is white."""
    box = picture.convert("L").point([0] * 235 + [255] * 21).getbbox()
    assert box is not None
    return (box[0] + box[2]) / 2 / picture.width, (box[1] + box[3]) / 2 / picture.height


def test_sizes_and_shapes() -> None:
    found = made(NAME, of(NAME).row.sample)
    assert {one.width for one in found.values()} == {1024, 512, 192, 180, 64, 32, 16}
    for name, one in found.items():
        picture = opened(one)
        assert one.content_type == "image/png"
        assert picture.size == (one.width, one.height) == (OUTPUTS[name].width, OUTPUTS[name].height)
        assert picture.mode == ("RGB" if name in FULL else "RGBA")
        if name not in FULL:
            assert picture.getpixel((0, 0))[3] == 0  # type: ignore[index]
            assert picture.getpixel((picture.width // 2, 0))[3] == 255  # type: ignore[index]
        assert outside(one, OUTPUTS[name]) == []
    assert well_read(found)


@pytest.mark.parametrize("symbol", ["A", "j", "Qj", "ABC", "س", "山", "🌱", "▲", "7"])
@pytest.mark.parametrize("name", ["android-192", "favicon-32"])
def test_the_sign_is_in_the_middle(symbol: str, name: str) -> None:
    variables = {"symbol": symbol, "brand_color": "#0a2a6b"}
    found = made(NAME, variables, [name], ground=Image.new("RGB", (9, 9), (20, 20, 60)))
    words = found[name].texts[0]
    middle = (
        (words.x + words.width / 2) / found[name].width,
        (words.y + words.height / 2) / found[name].height,
    )
    assert middle == pytest.approx((0.5, 0.5), abs=0.01)
    assert sign(opened(found[name]).convert("RGB")) == pytest.approx((0.5, 0.5), abs=0.04)
    assert words.scrim == 0


def test_the_sign_keeps_within_what_a_mask_leaves() -> None:
    """A launcher may cut an icon down to a circle of 80% of its edge."""
    for symbol in ("W", "ABC", "س", "🌱", "m"):
        words = made(NAME, {"symbol": symbol}, ["play-512"])["play-512"].texts[0]
        corner = np.hypot(
            max(256 - words.x, words.x + words.width - 256), max(256 - words.y, words.height / 2)
        )
        assert corner <= 0.4 * 512


@pytest.mark.parametrize(
    "brand", ["#ffffff", "#000000", "#777777", "#ffd23f", "#5a189a", "#0b5fff", "#ff5a36"]
)
def test_any_brand_is_read_without_a_scrim(brand: str) -> None:
    found = made(
        NAME, {"symbol": "W", "brand_color": brand}, ["android-192", "favicon-16"], ground=scene("noise")
    )
    assert well_read(found)
    assert all(word.scrim == 0 for one in found.values() for word in one.texts)


def test_a_colour_of_ones_own_where_it_can_be_read() -> None:
    for color, taken in (("#ffd23f", "#ffd23f"), ("#5a189a", "#ffffff")):
        one = made(NAME, {"symbol": "W", "symbol_color": color}, ["android-192"])["android-192"]
        assert one.texts[0].color == taken


def test_small_ones_have_simpler_artwork() -> None:
    """No scene in them: the brand's colour reaches their edges, whatever the scene is."""
    found = made(
        NAME, {"symbol": "i", "brand_color": "#5a189a"}, ["favicon-64", "play-512"], ground=scene("noise")
    )
    small = np.asarray(opened(found["favicon-64"]).convert("RGB")).astype(int)[8, 32]
    assert np.abs(small - read_color("#5a189a")).max() < 20
    large = np.asarray(opened(found["play-512"])).astype(int)[4]
    assert large.std() > 20


def test_a_glyph_of_ones_own_takes_the_symbols_place() -> None:
    glyph = Image.new("RGBA", (100, 60))
    glyph.paste("#ffffff", (0, 0, 100, 60))
    glyph.paste((0, 0, 0, 0), (40, 20, 60, 40))
    found = made(NAME, {"symbol": "A"}, ["play-512"], pictures={"glyph_url": png(glyph)})["play-512"]
    assert found.texts == ()
    picture = np.asarray(opened(found)).astype(int)
    assert (picture[256 - 40, 256 - 60] > 240).all()
    assert (picture[256, 256] < 200).any()
    assert logo()  # a logo that is wide is fitted as well
    assert (
        made(NAME, {"symbol": "A"}, ["favicon-16"], pictures={"glyph_url": logo()})["favicon-16"].texts == ()
    )


@pytest.mark.parametrize(
    ("given", "pointer"),
    [
        ({"symbol": None}, "/variables/symbol"),
        ({"symbol": "ABCD"}, "/variables/symbol"),
        ({"symbol": "\U000f0000"}, "/variables/symbol"),
        ({"symbol": "A", "brand_color": "red"}, "/variables/brand_color"),
    ],
)
def test_what_is_refused(given: dict[str, Any], pointer: str) -> None:
    with pytest.raises(InvalidInputs) as caught:
        planned(NAME, given)
    assert {fault.pointer for fault in caught.value.faults} == {pointer}
