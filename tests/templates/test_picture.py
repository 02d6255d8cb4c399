"""Pictures in memory: their crop around a focus, their modes, one over another."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from templates.picture import crop, crop_box, over, plain, rounded, scaled


@pytest.mark.parametrize(
    ("size", "shape", "focus", "box"),
    [
        ((1200, 400), (300, 100), (0.5, 0.5), (0, 0, 1200, 400)),
        ((1024, 1024), (300, 100), (0.5, 0.0), (0, 0, 1024, 1024 / 3)),
        ((1024, 1024), (300, 100), (0.5, 1.0), (0, 1024 - 1024 / 3, 1024, 1024)),
        ((1024, 1024), (300, 100), (0.1, 0.5), (0, 512 - 512 / 3, 1024, 512 + 512 / 3)),
        ((1000, 500), (100, 100), (0.25, 0.5), (0, 0, 500, 500)),
        ((1000, 500), (100, 100), (0.4, 0.9), (150, 0, 650, 500)),
        ((1000, 500), (100, 100), (1.0, 0.5), (500, 0, 1000, 500)),
        ((10, 10), (2880, 840), (0.5, 0.5), (0, 5 - 5 * 840 / 2880, 10, 5 + 5 * 840 / 2880)),
    ],
)
def test_what_is_kept(
    size: tuple[int, int], shape: tuple[int, int], focus: tuple[float, float], box: tuple[float, ...]
) -> None:
    assert crop_box(size, *shape, focus) == pytest.approx(box)


edges = st.integers(1, 5000)
places = st.floats(0, 1)


@given(edges, edges, edges, edges, places, places)
@example(1240, 874, 1200, 800, 0.5, 0.5)
def test_the_focus_stays_inside_and_the_shape_is_kept(
    across: int, down: int, width: int, height: int, x: float, y: float
) -> None:
    left, top, right, bottom = crop_box((across, down), width, height, (x, y))
    near = 1e-6 * max(across, down)
    # Pillow reads no hair beyond an edge: these hold exactly.
    assert 0 <= left <= x * across + near
    assert x * across - near <= right <= across
    assert 0 <= top <= y * down + near
    assert y * down - near <= bottom <= down
    assert (right - left) * height == pytest.approx((bottom - top) * width, rel=1e-6)
    # As much as there is: one of the edges is whole.
    assert right - left == pytest.approx(across) or bottom - top == pytest.approx(down)


@pytest.mark.parametrize("size", [(1, 1), (7, 500), (640, 480), (333, 111)])
@pytest.mark.parametrize("shape", [(1, 1), (728, 90), (160, 600), (301, 251)])
def test_exactly_the_size(size: tuple[int, int], shape: tuple[int, int]) -> None:
    assert crop(Image.new("RGB", size, "red"), *shape, (0.3, 0.8)).size == shape


def test_what_the_focus_points_at_is_seen() -> None:
    scene = Image.new("RGB", (900, 300), "white")
    scene.paste((255, 0, 0), (800, 100, 820, 120))
    red = (0, 80, 80)
    assert np.asarray(crop(scene, 100, 100, (0.9, 0.4)))[..., 1].min() < red[1]
    assert np.asarray(crop(scene, 100, 100, (0.1, 0.4)))[..., 1].min() > 200


def test_a_picture_of_the_right_size_is_left_as_it_is() -> None:
    noise = np.random.default_rng(1).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    assert np.array_equal(np.asarray(crop(Image.fromarray(noise), 60, 40)), noise)


def test_modes_become_plain_without_metadata() -> None:
    grey16 = Image.fromarray(np.array([[0, 32768, 65535]], dtype=np.uint16))
    assert np.asarray(plain(grey16))[0, :, 0].tolist() == [0, 128, 255]
    palette = Image.new("P", (2, 1), 1)
    palette.putpalette([0, 0, 0, 10, 20, 30])
    assert plain(palette).getpixel((0, 0)) == (10, 20, 30)
    palette.info["transparency"] = 1
    assert plain(palette).getpixel((0, 0)) == (10, 20, 30, 0)
    for mode in ("1", "L", "LA", "RGBA", "CMYK", "YCbCr", "I", "F"):
        made = Image.new(mode, (3, 3))
        made.info.update(exif=b"x", icc_profile=b"y", comment="z")
        assert plain(made).info == {}
        assert plain(made).mode in ("RGB", "RGBA")
    assert plain(Image.new("RGBA", (2, 2), (1, 2, 3, 255))).mode == "RGB"


def test_clear_pixels_do_not_colour_an_edge() -> None:
    logo = Image.new("RGBA", (80, 80), (255, 0, 0, 0))
    logo.paste((0, 0, 255, 255), (20, 20, 60, 60))
    small = np.asarray(scaled(logo, 13, 13))
    assert small[small[..., 3] > 8][:, 0].max() <= 2
    laid = np.asarray(over(Image.new("RGB", (13, 13), "white"), scaled(logo, 13, 13)))
    assert laid[0, 0].tolist() == [255, 255, 255]
    assert laid[6, 6].tolist() == [0, 0, 255]


def test_round_corners() -> None:
    alpha = np.asarray(rounded(Image.new("RGB", (40, 20), "red"), 10).getchannel("A"))
    assert alpha[0, 0] == 0
    assert alpha[10, 0] > 200
    assert alpha[0, 20] == 255


def test_what_sticks_out_is_cut_off() -> None:
    laid = over(Image.new("RGB", (10, 10), "white"), Image.new("RGB", (10, 10), "black"), -5, 5)
    assert laid.size == (10, 10)
    assert laid.getpixel((4, 9)) == (0, 0, 0)
    assert laid.getpixel((5, 9)) == (255, 255, 255)
