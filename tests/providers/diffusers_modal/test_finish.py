"""Pictures of a size that the model does not draw itself."""

import io

import numpy
import pytest
from msgspec.structs import replace
from PIL import Image
from support.engines import MINI, job, pixels

from providers.diffusers_modal.finish import Finish, nearest_size
from providers.diffusers_modal.wire import Done

SIZES = ((64, 64), (96, 48), (48, 96))
SIZED = replace(MINI, sizes=SIZES)


def png(picture):
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def made(engine, **options):
    images = options.pop("images", {})
    done = engine.run(replace(job(pipeline=SIZED, **options), images=images))
    assert isinstance(done, Done), done
    return done.images[0]


@pytest.mark.parametrize(
    ("asked", "drawn"),
    [
        ((64, 64), (64, 64)),
        ((1024, 1000), (64, 64)),
        ((300, 150), (96, 48)),
        ((1000, 100), (96, 48)),
        ((100, 1000), (48, 96)),
    ],
)
def test_the_nearest_size_is_the_one_of_which_the_least_is_cut_off(asked, drawn):
    assert nearest_size(*asked, SIZES) == drawn


def test_of_no_sizes_none_is_nearest():
    assert nearest_size(64, 64, ()) is None


def test_the_middle_is_kept_and_nothing_is_stretched():
    picture = Image.new("RGB", (64, 64), "red")
    picture.paste("blue", (16, 16, 48, 48))
    found = numpy.asarray(Finish((128, 64)).apply(picture)).astype(int)
    blue = found[..., 2] > found[..., 0]
    assert found.shape == (64, 128, 3)
    assert abs(blue.any(0).sum() - blue.any(1).sum()) <= 2


def test_a_picture_of_the_size_asked_for_is_left_alone():
    picture = Image.new("RGB", (64, 64))
    assert Finish((64, 64)).apply(picture) is picture


@pytest.mark.parametrize(("width", "height"), [(64, 64), (200, 100), (333, 77), (1024, 1024), (64, 200)])
def test_any_size_comes_out(engine, width, height):
    picture = made(engine, width=width, height=height)
    assert pixels(picture.data).shape == (height, width, 3)
    assert (picture.width, picture.height) == (width, height)


def test_without_a_size_it_is_the_models_own(engine):
    assert (made(engine, width=None, height=None).width, made(engine, height=None).height) == (64, 64)


def test_what_is_drawn_is_the_same_at_every_size(engine):
    own, large = made(engine), made(engine, width=256, height=256)
    means = pixels(large.data).reshape(64, 4, 64, 4, 3).mean((1, 3))
    assert abs(means - pixels(own.data)).mean() < 6


def test_an_input_picture_keeps_its_size_and_proportions(engine):
    photo = Image.new("RGB", (150, 90), "teal")
    picture = made(engine, width=None, height=None, images={"image": png(photo)}, strength=0.5)
    assert (picture.width, picture.height) == (150, 90)


def test_outside_of_the_mask_the_input_stays_as_it_was(engine):
    photo = Image.effect_noise((150, 90), 60).convert("RGB")
    mask = Image.new("L", (150, 90))
    mask.paste(255, (0, 0, 75, 90))
    files = {"image": png(photo), "mask_image": png(mask)}
    found = pixels(made(engine, width=None, height=None, images=files).data)
    before = numpy.asarray(photo).astype(int)
    assert (found[:, 75:] == before[:, 75:]).all()
    assert abs(found[:, :75] - before[:, :75]).mean() > 10


def test_jobs_of_several_sizes_share_a_call(engine):
    jobs = [job(str(side), pipeline=SIZED, width=side, height=side) for side in (64, 100, 128)]
    answers = engine.run_many(jobs)
    assert [answer.images[0].width for answer in answers] == [64, 100, 128]
