"""A product in a scene keeps its pixels; its shadow lies around it and never on it."""

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from templates.cutout import Cutout, cut_out
from templates.place import ENLARGE, Placed, laid, place
from templates.shadow import FAINT, NONE, SOFT, Shade, catalogue, shadowed
from tests.support.products import PRODUCTS, before, bottle, ground, mug, shoe

SCENE = (540, 480)
ROOM = (50, 40, 490, 430)


def pixels(picture: Image.Image) -> Any:
    return np.asarray(picture).astype(int)


def beneath(scene: Image.Image, placed: Placed) -> Any:
    """The scene's pixels where the placed picture is, and that picture's."""
    box = placed.x, placed.y, placed.x + placed.image.width, placed.y + placed.image.height
    return pixels(scene.crop(box)), pixels(placed.image)


def scene(name: str = "vignette") -> Image.Image:
    return ground(name, *SCENE)


# ---- pixel truth ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*PRODUCTS])
@pytest.mark.parametrize("background", ["grey", "noisy", None])
def test_what_is_opaque_has_the_inputs_very_pixels(name: str, background: str | None) -> None:
    truth = PRODUCTS[name](400)
    picture = truth if background is None else before(truth, background)
    cutout = cut_out(picture)
    placed = place(cutout, ROOM, least=0.5)
    assert (placed.scale, placed.scaled) == (1.0, False)
    finished = shadowed(scene(), placed)
    left, top, right, bottom = cutout.box
    x, y = placed.box[0] - left, placed.box[1] - top
    opaque = pixels(cutout.image)[top:bottom, left:right, 3] == 255
    ours = pixels(finished)[top + y : bottom + y, left + x : right + x][opaque]
    assert opaque.sum() > 10_000
    assert (ours == pixels(picture.convert("RGB"))[top:bottom, left:right][opaque]).all()


@pytest.mark.parametrize("edge", [120, 800])
def test_a_product_of_another_size_is_the_input_at_its_scale(edge: int) -> None:
    picture = before(mug(edge), "teal")
    cutout = cut_out(picture)
    placed = place(cutout, ROOM)
    assert placed.scaled
    finished = shadowed(scene(), placed)
    ours, theirs = beneath(finished, placed)
    opaque = theirs[..., 3] == 255
    assert opaque.sum() > 10_000
    assert (ours[opaque] == theirs[opaque][:, :3]).all()
    # And against the input itself, resized by another road.
    size = round(edge * placed.scale), round(edge * placed.scale)
    resized = pixels(picture.resize(size, Image.Resampling.LANCZOS))
    assert theirs.shape[:2] == resized.shape[:2]
    assert np.median(np.abs(theirs[opaque][:, :3] - resized[opaque])) < 1


def test_the_edges_of_a_reduced_product_have_no_rim() -> None:
    """Beneath a clear pixel lies a colour, which must not come through."""
    image = Image.new("RGBA", (900, 900), (255, 255, 255, 0))
    image.paste((120, 30, 30, 255), (100, 100, 800, 800))
    placed = place(cut_out(image), (0, 0, 250, 250))
    seen = pixels(placed.image)
    assert (np.abs(seen[seen[..., 3] > 0][:, :3] - (120, 30, 30)) <= 1).all()


def test_a_gateway_that_cuts_nothing_out_does_not_load_what_cuts() -> None:
    code = "import sys, templates.shadow; print([m for m in ('cv2', 'numpy') if m in sys.modules])"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"


# ---- places --------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    size=st.tuples(st.integers(1, 120), st.integers(1, 120)),
    at=st.tuples(st.integers(0, 30), st.integers(0, 30)),
    room=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    align=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    least=st.floats(0.1, 1),
)
def test_a_product_is_always_in_its_room(
    size: tuple[int, int],
    at: tuple[int, int],
    room: tuple[int, int],
    align: tuple[float, float],
    least: float,
) -> None:
    image = Image.new("RGBA", (160, 160))
    image.paste((1, 2, 3, 255), (*at, at[0] + size[0], at[1] + size[1]))
    cutout = Cutout(image=image, how="alpha", box=(*at, at[0] + size[0], at[1] + size[1]))
    placed = place(cutout, (7, 5, 7 + room[0], 5 + room[1]), align=align, least=least)
    left, top, right, bottom = placed.box
    assert 7 <= left < right <= 7 + room[0]
    assert 5 <= top < bottom <= 5 + room[1]
    assert placed.scale <= ENLARGE
    fills = max(size[0] / room[0], size[1] / room[1])
    assert placed.scaled == (fills > 1 or fills < least)
    layer = Image.new("RGBA", (200, 200))
    layer.paste(placed.image, (placed.x, placed.y))
    solid = layer.getchannel("A").point([0] * 128 + [255] * 128).getbbox()
    assert solid is None or solid == placed.box


@pytest.mark.parametrize(
    ("room", "least", "scale"),
    [
        ((0, 0, 100, 100), 0.6, 1.0),  # exactly
        ((0, 0, 166, 200), 0.6, 1.0),  # six tenths
        ((0, 0, 400, 200), 0.6, 1.2),
        ((0, 0, 900, 900), 0.6, 2.0),  # no more than twofold
        ((0, 0, 51, 200), 0.6, 0.5),
    ],
)
def test_its_own_size_where_that_can_be(room: tuple[int, int, int, int], least: float, scale: float) -> None:
    image = Image.new("RGBA", (120, 120))
    image.paste((90, 2, 3, 255), (10, 10, 110, 110))
    assert place(cut_out(image), room, least=least).scale == pytest.approx(scale, abs=0.01)


def test_it_stands_on_the_floor_in_the_middle() -> None:
    placed = place(cut_out(bottle(400)), ROOM)
    assert placed.box[3] == ROOM[3]
    assert abs((placed.box[0] + placed.box[2]) - (ROOM[0] + ROOM[2])) <= 1


def test_a_room_of_nothing() -> None:
    with pytest.raises(ValueError, match="0 x 5 pixels"):
        place(cut_out(bottle(100)), (5, 5, 5, 10))


def test_what_lies_outside_of_the_scene_is_cut_off() -> None:
    placed = place(cut_out(bottle(200)), (-60, -50, 40, 120), least=0.1)
    finished = shadowed(scene(), placed)
    assert finished.size == SCENE
    assert placed.box[0] < 0 or placed.box[1] < 0


# ---- shadows -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*PRODUCTS])
def test_a_shadow_darkens_and_lies_at_the_foot(name: str) -> None:
    placed = place(cut_out(PRODUCTS[name](360)), ROOM)
    bare, done = pixels(laid(scene(), placed)), pixels(shadowed(scene(), placed))
    darker = (bare - done).max(axis=2)
    assert (bare - done).min() >= 0
    left, top, right, bottom = placed.box
    middle = (left + right) // 2
    assert darker[bottom : bottom + 3, middle - 20 : middle + 20].mean() > 40
    assert darker[: top + (bottom - top) // 3].max() == 0
    assert darker[-1].max() <= 8


@pytest.mark.parametrize("lean", [1.1, -1.1])
def test_the_cast_shadow_leans(lean: float) -> None:
    placed = place(cut_out(bottle(400)), ROOM)
    shade = Shade(contact=0, cast=0.5, ambient=0, lean=lean)
    darker = (pixels(laid(scene(), placed)) - pixels(shadowed(scene(), placed, shade))).sum(axis=2)
    to_left, to_right = darker[:, : placed.box[0]].sum(), darker[:, placed.box[2] :].sum()
    assert (to_right > 10 * to_left) == (lean > 0)
    assert (to_left > 10 * to_right) == (lean < 0)


def test_no_shadow_at_all() -> None:
    placed = place(cut_out(mug(360)), ROOM)
    assert shadowed(scene(), placed, NONE).tobytes() == laid(scene(), placed).tobytes()


def test_the_scene_itself_is_left_as_it_was() -> None:
    bare = scene()
    shadowed(bare, place(cut_out(mug(360)), ROOM), SOFT)
    assert bare.tobytes() == scene().tobytes()


# ---- the white picture ---------------------------------------------------------------------


@pytest.mark.parametrize("size", [(400, 400), (480, 600), (640, 360)])
@pytest.mark.parametrize("edge", [200, 600])
@pytest.mark.parametrize("shade", [FAINT, NONE])
def test_the_catalogue_picture(size: tuple[int, int], edge: int, shade: Shade) -> None:
    for product in (shoe, bottle):
        picture, placed = catalogue(cut_out(product(edge)), size, shade)
        assert (picture.mode, picture.size) == ("RGB", size)
        seen = pixels(picture)
        frame = np.concatenate([seen[0], seen[-1], seen[:, 0], seen[:, -1]])
        assert frame.min() == 255
        fills = max((placed.box[2] - placed.box[0]) / size[0], (placed.box[3] - placed.box[1]) / size[1])
        assert 0.84 <= fills <= 0.91 or placed.scale == ENLARGE
        around = pixels(laid(Image.new("RGB", size, "white"), placed))
        assert (around - seen).max() == 0 if shade is NONE else 15 < (around - seen).max() < 130
        ours, theirs = beneath(picture, placed)
        opaque = theirs[..., 3] == 255
        assert (ours[opaque] == theirs[opaque][:, :3]).all()
