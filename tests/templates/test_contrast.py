"""Contrast: against WCAG's own formula, and that a colour with its scrim is read on every pixel."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from PIL import Image

from templates.colors import BLACK, INK, WHITE, Color, dark, luminance, mix, ratio, read_color, readable
from templates.contrast import blend, covered, edges, measure, plan, scrim_for, strength, tone_of

Pixels = NDArray[np.uint8]


def wcag(one: Color, other: Color) -> float:
    """As WCAG 2.2 defines it, written out."""

    def light(color: Color) -> float:
        parts = [c / 255 for c in color]
        r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
        return 0.2126 * r + 0.7152 * g + 0.0722 * b

    high, low = sorted((light(one), light(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def worst(pixels: Pixels, color: Color) -> float:
    return min(wcag(tuple(pixel), color) for pixel in np.unique(pixels.reshape(-1, 3), axis=0).tolist())


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("#000", "#fff", 21.0),
        ("#ffffff", "#ffffff", 1.0),
        ("#777777", "#ffffff", 4.478),
        ("#767676", "#ffffff", 4.542),
        ("#ff0000", "#ffffff", 3.998),
        ("#0000ff", "#ffffff", 8.592),
        ("#0b5fff", "#ffffff", 5.128),
    ],
)
def test_known_ratios(one: str, other: str, expected: float) -> None:
    assert ratio(luminance(read_color(one)), luminance(read_color(other))) == pytest.approx(
        expected, abs=0.001
    )
    picture = Image.new("RGB", (3, 3), read_color(one))
    assert measure(picture, (0, 0, 3, 3), other) == pytest.approx(expected, abs=0.001)


def test_measure_finds_the_one_bad_pixel_that_a_box_touches() -> None:
    picture = Image.new("RGB", (20, 10), "black")
    picture.putpixel((12, 5), (255, 255, 255))
    assert measure(picture, (0, 0, 20, 10), WHITE) == pytest.approx(1)
    assert measure(picture, (12.9, 5.9, 3, 3), WHITE) == pytest.approx(1)
    assert measure(picture, (13.0, 5.9, 3, 3), WHITE) == pytest.approx(21)
    assert measure(picture, (30, 0, 5, 5), WHITE) == 21
    assert edges((-3.2, 4.5, 30, 2), (20, 10)) == (0, 4, 20, 7)


def flat(*color: int) -> Pixels:
    return np.full((8, 8, 3), color, dtype=np.uint8)


@pytest.mark.parametrize(
    ("pixels", "candidates", "ordered", "color"),
    [
        (flat(20, 20, 30), (WHITE, INK), False, WHITE),
        (flat(240, 240, 230), (WHITE, INK), False, INK),
        (flat(240, 240, 230), (INK, (120, 0, 0)), False, INK),
        (flat(240, 240, 230), ((120, 0, 0), INK), True, (120, 0, 0)),
        (flat(240, 240, 230), ((255, 200, 0), INK), True, INK),
        (flat(118, 118, 118), (WHITE, INK), False, WHITE),
        (flat(130, 130, 130), (WHITE, INK), False, INK),
    ],
)
def test_which_colour(pixels: Pixels, candidates: tuple[Color, ...], ordered: bool, color: Color) -> None:
    assert plan(pixels, candidates, ordered).color == color


def test_a_speck_does_not_decide() -> None:
    night = flat(10, 10, 20).repeat(8, axis=0).repeat(8, axis=1)
    night[5, 5] = 255
    assert plan(night, (WHITE, INK)).color == WHITE
    snow = 255 - night
    assert plan(snow, (WHITE, INK)).color == INK


pictures = arrays(np.uint8, st.tuples(st.integers(1, 14), st.integers(1, 14), st.just(3)))
colors = st.tuples(st.integers(0, 255), st.integers(0, 255), st.integers(0, 255))


@given(pictures, colors)
@settings(max_examples=150)
def test_any_colour_is_read_on_any_picture_under_its_scrim(pixels: Pixels, color: Color) -> None:
    opacity = strength(pixels, color, scrim_for(color))
    assert opacity is not None
    assert worst(blend(pixels, scrim_for(color), opacity), color) >= 4.5
    # No more than is needed: a step less is not enough, but for the aim's margin.
    if opacity > 0:
        less = blend(pixels, scrim_for(color), opacity - 1 / 255)
        assert worst(less, color) < 4.51


@given(pictures, st.data())
@settings(max_examples=60)
def test_or_under_what_lies_above_the_scrim(pixels: Pixels, data: st.DataObject) -> None:
    above = data.draw(arrays(np.uint8, (*pixels.shape[:2], 4)))
    opacity = strength(pixels, WHITE, BLACK, above)
    solid = worst(covered(blend(pixels, BLACK, 1.0), above), WHITE)
    if opacity is None:
        assert solid < 4.51
    else:
        assert worst(covered(blend(pixels, BLACK, opacity), above), WHITE) >= 4.5


def test_a_large_busy_picture_is_judged_by_all_of_its_pixels() -> None:
    busy = np.random.default_rng(3).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    for color in (WHITE, INK, (220, 30, 60)):
        opacity = strength(busy, color, scrim_for(color))
        assert opacity is not None
        assert worst(blend(busy, scrim_for(color), opacity), color) >= 4.5


@given(colors)
def test_no_scrim_where_a_flat_colour_needs_none(color: Color) -> None:
    text = read_color(readable("#{:02x}{:02x}{:02x}".format(*color)))
    assert wcag(text, color) >= 4.5
    best = plan(flat(*color), (WHITE, BLACK))
    assert best.contrast >= 4.5
    assert strength(flat(*color), best.color, scrim_for(best.color)) == 0


@given(colors)
def test_every_colour_has_a_scrim_that_is_far_enough(color: Color) -> None:
    assert wcag(color, scrim_for(color)) >= 4.5
    assert tone_of(color) == ("light" if scrim_for(color) == BLACK else "dark")


def test_the_brands_dark_is_taken_where_it_is_dark() -> None:
    navy, yellow = (10, 20, 60), (255, 220, 0)
    assert scrim_for(WHITE, navy) == navy
    assert scrim_for(WHITE, yellow) == BLACK
    assert scrim_for(INK, navy) == WHITE


def test_colours_of_an_overlay() -> None:
    assert mix("#000", "#fff") == "#808080"
    assert mix("#ff0000", "#00ff00", 0) == "#ff0000"
    for color in ("#0b5fff", "#fff", "#ffe600", "#000"):
        assert wcag(read_color(dark(color)), WHITE) >= 10
    for wrong in ("red", "#12", "#1234", "", "#gggggg", "#fff;", "#0b5fff\n"):
        with pytest.raises(ValueError, match="is no colour"):
            read_color(wrong)
