"""A product is cut out whole, or not at all."""

import contextlib
from itertools import product as pairs
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFilter

from templates.cutout import Cutout, NoCutout, cut_out, cut_out_by
from tests.support.products import PRODUCTS, as_jpeg, before, bottle, ground, mug, shoe

EDGE = 240
PLAIN = ("white", "grey", "black", "teal", "gradient", "vignette", "noisy", "shadowed")
PRESSED = ("white", "black", "teal", "noisy", "shadowed")
BUSY = ("stripes", "leaves", "horizon")


def pixels(picture: Image.Image) -> Any:
    return np.asarray(picture).astype(int)


def overlap(cutout: Cutout, truth: Image.Image) -> float:
    ours, theirs = pixels(cutout.image)[..., 3] > 127, pixels(truth)[..., 3] > 127
    return float((ours & theirs).sum() / (ours | theirs).sum())


def alpha_error(cutout: Cutout, truth: Image.Image) -> float:
    """Of 255, as a mean over the whole picture."""
    return float(np.abs(pixels(cutout.image)[..., 3] - pixels(truth)[..., 3]).mean())


def is_the_pictures_own(cutout: Cutout, picture: Image.Image) -> bool:
    """Whether what is opaque has the picture's very pixels."""
    ours = pixels(cutout.image)
    opaque = ours[..., 3] == 255
    return bool(opaque.any() and (ours[opaque][:, :3] == pixels(picture.convert("RGB"))[opaque]).all())


# ---- before plain backgrounds --------------------------------------------------------------


@pytest.mark.parametrize(("name", "background"), [*pairs(PRODUCTS, PLAIN)])
def test_off_a_plain_background(name: str, background: str) -> None:
    truth = PRODUCTS[name](EDGE)
    picture = before(truth, background)
    cutout = cut_out(picture)
    assert cutout.how == "plain_background"
    assert overlap(cutout, truth) >= 0.99
    assert alpha_error(cutout, truth) < 0.35
    assert is_the_pictures_own(cutout, picture)


@pytest.mark.parametrize(("name", "background"), [*pairs(PRODUCTS, PRESSED)])
def test_off_what_a_jpeg_made_of_it(name: str, background: str) -> None:
    truth = PRODUCTS[name](EDGE)
    picture = as_jpeg(before(truth, background))
    cutout = cut_out(picture)
    assert overlap(cutout, truth) >= 0.98
    assert alpha_error(cutout, truth) < 1.5
    assert is_the_pictures_own(cutout, picture)


@pytest.mark.parametrize("background", ["white", "teal", "black"])
def test_no_rim_of_the_background_stays(background: str) -> None:
    """Laid over another colour it looks as the product itself does there."""
    truth = mug(EDGE)
    cutout = cut_out(before(truth, background))
    for colour in ((20, 0, 60), (250, 250, 250), (40, 160, 60)):
        ours, right = Image.new("RGBA", truth.size, colour), Image.new("RGBA", truth.size, colour)
        ours.alpha_composite(cutout.image)
        right.alpha_composite(truth)
        assert np.abs(pixels(ours) - pixels(right)).max() < 40
        assert np.abs(pixels(ours) - pixels(right)).mean() < 0.1


def test_a_handle_is_seen_through() -> None:
    alpha = pixels(cut_out(before(mug(EDGE), "gradient")).image)[..., 3]
    assert alpha[round(0.54 * EDGE), round(0.7 * EDGE)] == 0


def drawn(*shapes: tuple[str, tuple[float, ...], tuple[int, ...]], edge: int = EDGE) -> Image.Image:
    picture = Image.new("RGBA", (edge * 4, edge * 4))
    for kind, box, colour in shapes:
        place = tuple(value * edge * 4 for value in box)
        getattr(ImageDraw.Draw(picture), kind)(place, fill=colour)
    return picture.convert("RGBa").resize((edge, edge), Image.Resampling.BOX).convert("RGBA")


def test_a_printed_label_of_the_backgrounds_colour_is_no_hole() -> None:
    truth = drawn(
        ("rectangle", (0.3, 0.15, 0.7, 0.9), (40, 20, 60)),
        ("rectangle", (0.36, 0.4, 0.64, 0.7), (255, 255, 255)),
        ("rectangle", (0.42, 0.5, 0.58, 0.54), (30, 30, 30)),
    )
    assert overlap(cut_out(before(truth, "white")), truth) > 0.99


def test_a_highlight_is_no_hole() -> None:
    truth = drawn(("ellipse", (0.2, 0.2, 0.8, 0.8), (110, 108, 112)))
    shine = drawn(("ellipse", (0.35, 0.32, 0.5, 0.45), (255, 255, 255))).filter(ImageFilter.GaussianBlur(5))
    picture = before(truth, "white").convert("RGBA")
    for _ in range(9):
        picture.alpha_composite(shine)
    assert (pixels(picture)[92:94, 100:104] == 255).all()
    assert overlap(cut_out(picture.convert("RGB")), truth) > 0.99


def test_a_thin_strap_stays() -> None:
    truth = drawn(
        ("rectangle", (0.2, 0.5, 0.5, 0.8), (30, 30, 30)), ("rectangle", (0.5, 0.6, 0.9, 0.608), (70, 30, 30))
    )
    alpha = pixels(cut_out(before(truth, "white")).image)[..., 3]
    assert alpha[round(0.603 * EDGE), round(0.55 * EDGE) : round(0.88 * EDGE)].min() > 180


def test_a_product_may_touch_the_pictures_edge() -> None:
    truth = drawn(("rectangle", (0.3, 0.2, 0.7, 1.01), (60, 90, 30)))
    cutout = cut_out(before(truth, "grey"))
    assert overlap(cutout, truth) > 0.995
    assert cutout.box == (72, 48, 168, EDGE)
    assert pixels(cutout.image)[-1, 80:160, 3].min() == 255


def test_an_edge_out_of_focus_is_soft() -> None:
    picture = before(bottle(EDGE), "gradient").filter(ImageFilter.GaussianBlur(1.6))
    truth = bottle(EDGE).convert("RGBa").filter(ImageFilter.GaussianBlur(1.6)).convert("RGBA")
    cutout = cut_out(picture)
    assert overlap(cutout, truth) > 0.98
    alpha = pixels(cutout.image)[..., 3]
    assert ((alpha > 10) & (alpha < 245)).sum() > 800


def test_two_products_are_both_kept_and_dust_is_not() -> None:
    truth = drawn(
        ("ellipse", (0.1, 0.3, 0.4, 0.7), (40, 90, 60)), ("ellipse", (0.6, 0.3, 0.9, 0.7), (90, 40, 60))
    )
    picture = before(truth, "white")
    picture.putpixel((20, 20), (0, 0, 0))
    cutout = cut_out(picture)
    assert overlap(cutout, truth) > 0.995
    assert cutout.image.getpixel((20, 20)) == (0, 0, 0, 0)


# ---- refusals ------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "background"), [*pairs(PRODUCTS, BUSY)])
def test_a_busy_background_is_refused(name: str, background: str) -> None:
    with pytest.raises(NoCutout, match="send a picture with a transparent background") as refused:
        cut_out(before(PRODUCTS[name](EDGE), background))
    assert refused.value.why in str(refused.value)


@pytest.mark.parametrize("colour", [(255, 255, 255), (253, 253, 252), (250, 250, 250), (246, 247, 248)])
def test_white_on_white_is_refused_rather_than_eaten(colour: tuple[int, ...]) -> None:
    with pytest.raises(NoCutout, match="nothing stands out"):
        cut_out(before(shaded(colour, 1.03, 0.93), "white"))


@pytest.mark.parametrize("dark", [0.85, 0.75, 0.6])
def test_a_white_product_that_is_eaten_from_its_lit_side_is_refused(dark: float) -> None:
    with pytest.raises(NoCutout, match="too alike"):
        cut_out(before(shaded((252, 252, 252), 1.03, dark), "white"))


def shaded(colour: tuple[int, ...], left: float, right: float) -> Image.Image:
    """A ball that is lit from the left."""
    made = pixels(drawn(("ellipse", (0.2, 0.2, 0.8, 0.8), colour))).astype(float)
    made[..., :3] *= np.clip(np.linspace(left, right, EDGE), 0, 1)[None, :, None]
    return Image.fromarray(np.rint(made).astype(np.uint8))


def test_nothing_there() -> None:
    for name in ("white", "gradient", "noisy"):
        with pytest.raises(NoCutout, match="nothing stands out"):
            cut_out(ground(name, EDGE, EDGE))


def test_a_product_that_fills_the_picture() -> None:
    with pytest.raises(NoCutout):
        cut_out(bottle(EDGE).convert("RGB").crop((96, 140, 144, 190)))


# ---- its own alpha -------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["RGBA", "RGBa", "LA", "La", "PA"])
def test_its_own_alpha_is_taken_as_it_is(mode: str) -> None:
    truth = shoe(EDGE)
    picture = truth.convert("LA").convert(mode) if mode in ("LA", "La") else truth.convert(mode)
    cutout = cut_out(picture)
    assert cutout.how == "alpha"
    assert (pixels(cutout.image)[..., 3] == pixels(truth)[..., 3]).all()
    assert cutout.box == truth.getchannel("A").point([0] * 128 + [255] * 128).getbbox()


def test_a_palettes_transparent_colour_is_alpha() -> None:
    picture = Image.new("P", (20, 20), 0)
    picture.putpalette([255, 255, 255, 200, 10, 10])
    picture.paste(1, (5, 5, 15, 15))
    picture.info["transparency"] = 0
    cutout = cut_out(picture)
    assert (cutout.how, cutout.box) == ("alpha", (5, 5, 15, 15))
    assert cutout.image.getpixel((7, 7)) == (200, 10, 10, 255)


@pytest.mark.parametrize("alpha", [255, 252])
def test_an_alpha_that_hides_nothing_says_nothing(alpha: int) -> None:
    picture = before(mug(EDGE), "grey").convert("RGBA")
    picture.putalpha(alpha)
    assert cut_out(picture).how == "plain_background"


@pytest.mark.parametrize("alpha", [0, 90, 250])
def test_nothing_opaque(alpha: int) -> None:
    picture = mug(EDGE)
    picture.putalpha(alpha)
    with pytest.raises(NoCutout, match="nothing in the picture is opaque"):
        cut_out(picture)


@pytest.mark.parametrize("mode", ["L", "1", "P", "CMYK", "YCbCr", "I;16", "I", "F", "LAB", "HSV"])
def test_every_mode_has_a_result(mode: str) -> None:
    truth = bottle(EDGE)
    picture = before(truth, "white")
    if mode in ("I;16", "I", "F"):
        grey = np.asarray(picture.convert("L"))
        wide = {
            "I;16": grey.astype(np.uint16) * 257,
            "I": grey.astype(np.int32) * 257,
            "F": grey.astype(np.float32),
        }
        made = Image.fromarray(wide[mode])
        assert made.mode == mode
    elif mode == "1":
        made = picture.convert("L").point([0] * 200 + [255] * 56).convert("1")
    elif mode == "LAB":
        made = Image.merge(
            "LAB", [picture.convert("L"), *(Image.new("L", picture.size, 128) for _ in range(2))]
        )
    else:
        made = picture.convert(mode)
    try:
        cutout = cut_out(made)
    except NoCutout:
        assert mode in ("1", "LAB")
    else:
        assert overlap(cutout, truth) > 0.97


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16", "F", "CMYK"])
@pytest.mark.parametrize("size", [(1, 1), (1, 300), (15, 15)])
def test_pictures_too_small(mode: str, size: tuple[int, int]) -> None:
    with pytest.raises(NoCutout):
        cut_out(Image.new(mode, size))


# ---- a model's answer ----------------------------------------------------------------------


def test_a_models_alpha_over_the_pictures_own_pixels() -> None:
    truth = mug(EDGE)
    picture = before(truth, "leaves")
    answer = truth.resize((EDGE // 2, EDGE // 2))
    cutout = cut_out_by(picture, answer)
    assert cutout.how == "model"
    assert cutout.image.size == picture.size
    assert overlap(cutout, truth) > 0.98
    assert is_the_pictures_own(cutout, picture)


def test_a_model_that_found_nothing() -> None:
    with pytest.raises(NoCutout, match="found no product"):
        cut_out_by(before(mug(EDGE), "leaves"), Image.new("RGBA", (EDGE, EDGE), (9, 9, 9, 255)))


# ---- anything ------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(
    colour=st.tuples(*[st.integers(0, 255)] * 3),
    behind=st.tuples(*[st.integers(0, 255)] * 3),
    left=st.floats(0.05, 0.4),
    top=st.floats(0.05, 0.4),
    wide=st.floats(0.2, 0.5),
    high=st.floats(0.2, 0.5),
)
def test_any_colour_before_any_other_is_cut_right_or_refused(
    colour: tuple[int, ...], behind: tuple[int, ...], left: float, top: float, wide: float, high: float
) -> None:
    truth = drawn(("ellipse", (left, top, left + wide, top + high), colour), edge=96)
    picture = Image.new("RGBA", truth.size, behind)
    picture.alpha_composite(truth)
    try:
        cutout = cut_out(picture.convert("RGB"))
    except NoCutout:
        assert unlike(colour, behind) < 30  # a softly darker shade may be a shadow
    else:
        assert is_the_pictures_own(cutout, picture)
        # To a pixel or two, however alike they are: no bite is missing, no background stays.
        ours = pixels(cutout.image)[..., 3] > 127
        solid = truth.getchannel("A").point([0] * 128 + [255] * 128)
        assert ours[pixels(solid.filter(ImageFilter.MinFilter(5))) == 255].all()
        assert not ours[pixels(solid.filter(ImageFilter.MaxFilter(5))) == 0].any()


def unlike(one: tuple[int, ...], other: tuple[int, ...]) -> float:
    """The distance of two colours in Lab."""
    both = np.array([[one, other]], np.float32) / 255
    lab = cv2.cvtColor(both, cv2.COLOR_RGB2LAB)[0]
    return float(np.linalg.norm(lab[0] - lab[1]))


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    width=st.integers(1, 40),
    height=st.integers(1, 40),
    bands=st.integers(1, 4),
)
def test_noise_is_cut_or_refused_and_nothing_else(seed: int, width: int, height: int, bands: int) -> None:
    values = np.random.default_rng(seed).integers(0, 256, (height, width, bands), dtype=np.uint8)
    picture = Image.fromarray(values[..., 0]) if bands == 1 else Image.merge(
        {2: "LA", 3: "RGB", 4: "RGBA"}[bands], [Image.fromarray(values[..., n]) for n in range(bands)]
    )  # fmt: skip
    with contextlib.suppress(NoCutout):
        cutout = cut_out(picture)
        left, top, right, bottom = cutout.box
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height


@pytest.mark.slow
@pytest.mark.parametrize("edge", [2000, 3100])
def test_a_large_picture_is_cut_as_finely(edge: int) -> None:
    """The larger one is cut in a smaller copy; its own pixels stay."""
    truth = shoe(500).resize((edge, edge))
    picture = before(truth, "gradient")
    cutout = cut_out(picture)
    assert cutout.image.size == (edge, edge)
    assert overlap(cutout, truth) > 0.995
    assert is_the_pictures_own(cutout, picture)
