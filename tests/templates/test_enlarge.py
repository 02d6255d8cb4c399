"""Small scenes drawn anew: no grid, no rings, firm contours; larger ones are left alone."""

import numpy as np
import pytest
from PIL import Image, ImageFilter

from templates.dither import dithered
from templates.enlarge import TIMES, redrawn, too_small
from templates.picture import cover, crop, scaled


def sketch(grid: int = 0) -> Image.Image:
    """A sky over a hill; with a grid of 8 pixels, as what made it would leave one."""
    picture = np.empty((96, 288, 3), np.float32)
    picture[:] = np.linspace(120, 220, 96)[:, None, None]
    hill = 52 + 12 * np.sin(np.arange(288) / 30)
    picture[np.arange(96)[:, None] > hill[None, :]] = (40, 70, 50)
    picture += grid * ((np.arange(288) // 8 + np.arange(96)[:, None] // 8) % 2)[..., None]
    return Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8))


@pytest.mark.parametrize(
    ("size", "room", "small"),
    [
        ((576, 192), (2880, 840), True),
        ((256, 256), (1080, 1920), True),
        ((256, 256), (300, 300), False),  # hardly enlarged
        ((1024, 1024), (4096, 4096), False),  # has texture
        ((512, 512), (1080, 1080), False),
        ((8, 8), (800, 800), False),  # has no contours
    ],
)
def test_what_is_too_small(size: tuple[int, int], room: tuple[int, int], small: bool) -> None:
    assert too_small(size, *room) is small


def test_it_grows_and_loses_its_seam() -> None:
    picture = sketch()
    picture.paste((255, 0, 255), (0, 0, 288, 1))
    large = redrawn(picture)
    assert large.size == ((288 - 2) * TIMES, (96 - 2) * TIMES)
    red, green, _ = (np.asarray(large)[0].astype(int)[:, part] for part in range(3))
    assert np.abs(red - green).max() < 12


def test_a_grid_is_smoothed_away_and_a_contour_stays() -> None:
    grey = np.asarray(redrawn(sketch(grid=10)).convert("L")).astype(float)
    sky = grey[20:90, 30:-30]
    assert np.abs(sky - sky.mean(axis=1, keepdims=True)).max() < 2.5  # of 10
    steps = np.abs(np.diff(grey, axis=0)).max(axis=0)
    plain = np.abs(np.diff(np.asarray(scaled(sketch(), 864, 288).convert("L")).astype(float), axis=0)).max(
        axis=0
    )
    assert np.median(steps) > 0.7 * np.median(plain)


def test_nothing_rings() -> None:
    bars = Image.new("RGB", (128, 96), (60, 60, 60))
    bars.paste((200, 200, 200), (0, 48, 128, 96))
    grey = np.asarray(redrawn(bars).convert("L"))
    beyond = 0.04 * (200 - 60)  # of the step; plain enlargement goes three times as far
    assert grey.min() >= 60 - beyond
    assert grey.max() <= 200 + beyond
    plain = np.asarray(cover(bars, 378, 282).filter(ImageFilter.UnsharpMask(3, 50, 2)).convert("L"))
    assert plain.min() < 60 - 3 * beyond


def test_a_crop_does_it_and_keeps_its_size() -> None:
    assert crop(sketch(), 1001, 333).size == (1001, 333)
    flat = crop(Image.new("RGB", (64, 64), "#804020"), 640, 333)
    assert flat.getextrema() == ((128, 128), (64, 64), (32, 32))


def test_veils_have_a_grain_and_what_is_solid_or_clear_has_none() -> None:
    layer = Image.new("RGBA", (90, 30))
    layer.paste((20, 40, 60, 255), (0, 0, 30, 30))
    layer.paste((20, 40, 60, 100), (30, 0, 60, 30))
    before, after = np.asarray(layer).astype(int), np.asarray(dithered(layer)).astype(int)
    assert np.array_equal(after[:, :30], before[:, :30])
    assert np.array_equal(after[:, 60:], before[:, 60:])
    veil = after[:, 30:60]
    assert len(np.unique(veil[..., 3])) > 1
    assert abs(veil[..., 3].mean() - 100) < 0.3
    # A step of 8 bits in the picture that it lies on, and no more.
    assert np.abs((veil[..., :3] - (20, 40, 60)) * 100 / 255).max() <= 1
    assert np.array_equal(after, np.asarray(dithered(layer)).astype(int))
