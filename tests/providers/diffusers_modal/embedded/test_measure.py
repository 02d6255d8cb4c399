"""The ruler of the evaluation: right on drawn scenes, and not pleased by others."""

from dataclasses import replace
from random import Random

import numpy
import pytest
from PIL import Image

from providers.diffusers_modal.embedded.draw import draw
from providers.diffusers_modal.embedded.evaluate import contact_sheet, evaluate, held_out_prompts, ruler
from providers.diffusers_modal.embedded.measure import measure
from providers.diffusers_modal.embedded.scenes import Landscape, Shape, held_out, random_scene

RED = Shape("red", "circle", "small", "top left", "white")
ALPS = Landscape("night", "mountains", snow=True, orb="moon", stars=True, seed=5)


def drawn(scene, side=256):
    return Image.fromarray(draw(scene, side).clip(0, 255).astype("uint8"))


@pytest.mark.parametrize("kind", ["shapes", "landscapes"])
def test_it_is_right_on_drawn_scenes(kind):
    result, _ = evaluate(kind, 60, ruler)
    assert result.share("all") >= 0.95


@pytest.mark.parametrize(
    ("scene", "change"),
    [
        (RED, {"colour": "orange"}),
        (RED, {"background": "pink"}),
        (RED, {"position": "top"}),
        (RED, {"size": "large"}),
        (RED, {"shape": "square"}),
        (RED, {"shape": "star"}),
        (ALPS, {"sky": "dawn"}),
        (ALPS, {"land": "sea"}),
        (ALPS, {"snow": False}),
        (ALPS, {"orb": "none"}),
        (ALPS, {"orb": "sun"}),
    ],
)
def test_it_tells_what_is_not_as_asked(scene, change):
    found = measure(drawn(scene), replace(scene, **change))
    assert {name for name, right in found.items() if not right} == set(change)


@pytest.mark.parametrize("asked", [RED, ALPS])
def test_a_plain_picture_and_noise_are_not_what_was_asked(asked):
    grey = Image.new("RGB", (64, 64), (128, 128, 130))
    noise = Image.fromarray(numpy.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=numpy.uint8))
    assert not all(measure(grey, asked).values())
    assert not all(measure(noise, asked).values())


def test_the_prompts_are_held_out_and_the_same_every_time():
    prompts = list(held_out_prompts("shapes", 20))
    assert prompts == list(held_out_prompts("shapes", 20))
    assert all(held_out(prompt.scene) for prompt in prompts)
    assert len({prompt.text for prompt in prompts}) == 20


@pytest.mark.parametrize(("width", "height"), [(256, 256), (64, 64), (320, 192), (96, 288)])
def test_scenes_are_drawn_at_any_size_and_the_same_every_time(width, height):
    rng = Random(4)
    for scene in [random_scene(rng) for _ in range(20)]:
        picture = draw(scene, width, height)
        assert picture.shape == (height, width, 3)
        assert picture.min() > -1
        assert picture.max() < 256
        assert (picture == draw(scene, width, height)).all()


def test_a_scene_looks_the_same_at_every_size():
    small, large = draw(ALPS, 64), draw(ALPS, 256)
    means = large.reshape(64, 4, 64, 4, 3).mean((1, 3))
    assert abs(small - means).mean() < 4


def test_the_sheet_marks_what_is_wrong():
    _, painted = evaluate("shapes", 3, lambda text, seed, scene: drawn(replace(scene, size="small")))
    sheet = contact_sheet(painted, columns=2)
    assert sheet.size == (256, 268)
    marked = [sheet.getpixel((128 * (i % 2) + 64, 134 * (i // 2) + 131)) == (255, 0, 0) for i in range(3)]
    assert marked == [not right for _, _, right in painted]
