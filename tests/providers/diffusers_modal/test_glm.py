"""GLM-Image: a language model writes tokens before the steps, and the engine tells, stops and repeats both."""

import pytest
from msgspec.structs import replace
from support.engines import code, job, made, pixels
from support.tiny_pipelines import half_mask, photo

from providers.diffusers_modal.engine import Engine


def picture(engine, spec, **more):
    return made(engine.run(job(pipeline=spec, **more))).images[0].data


def test_it_makes_the_same_picture_again_and_in_another_engine(other_engine, glm):
    one = picture(other_engine, glm)
    assert picture(other_engine, glm, seed=2) != one
    assert picture(other_engine, glm) == one
    assert picture(Engine(), glm) == one


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"width": 72}, "width must be given here, as a multiple of 32"),
        ({"height": 48}, "height must be given here, as a multiple of 32"),
        ({"negative_prompt": "ugly"}, "negative_prompt"),
        ({"strength": 0.5}, "strength"),
        ({"width": None}, "width must"),
        ({"scheduler": "ddim"}, "ddim"),
    ],
    ids=str,
)
def test_what_it_does_not_take_is_told(other_engine, glm, wrong, word):
    answer = other_engine.run(job(pipeline=glm, **wrong))
    assert code(answer) == ("unknown_scheduler" if "scheduler" in wrong else "bad_parameter")
    assert word in answer.message


def test_both_phases_are_told(other_engine, glm):
    seen = []
    other_engine.run(job(pipeline=glm, num_images=2), seen.append)
    told = [(p.phase, p.step, p.steps) for p in seen if p.phase != "load"]
    assert told == [
        ("prior", 0, 0),
        ("denoise", 1, 8),
        ("denoise", 2, 8),
        ("denoise", 3, 8),
        ("decode", 4, 8),
        ("prior", 4, 8),
        ("denoise", 5, 8),
        ("denoise", 6, 8),
        ("denoise", 7, 8),
        ("decode", 8, 8),
    ]


@pytest.mark.parametrize("tokens", [0, 3])
def test_cancel_stops_within_a_token(other_engine, glm, tokens):
    before, seen, asked = picture(other_engine, glm), [], []

    def stop():
        if seen and seen[-1].phase == "prior":
            asked.append(1)
        return len(asked) > tokens

    assert code(other_engine.run(job(pipeline=glm), seen.append, stop)) == "canceled"
    assert len(asked) == tokens + 1
    assert seen[-1].phase == "prior"
    assert picture(other_engine, glm) == before


def test_the_deadline_stops_it_among_the_tokens(other_engine, glm):
    picture(other_engine, glm)
    seen = []
    # 256 tokens a picture, and more.
    work = job(pipeline=glm, width=512, height=512, timeout_s=0.2)
    assert code(other_engine.run(work, seen.append)) == "timeout"
    assert {p.phase for p in seen} == {"prior"}
    picture(other_engine, glm)


@pytest.mark.parametrize("size", [(64, 64), (100, 70), (16, 30), (50, 150)], ids=str)
def test_a_picture_of_any_size_shows_in_the_result(other_engine, glm, size):
    results = [
        pixels(made(other_engine.run(replace(job(pipeline=glm), images={"image": data}))).images[0].data)
        for data in (photo(*size), photo(*size, seed=1))
    ]
    assert results[0].shape == (64, 64, 3)
    assert abs(results[0] - results[1]).mean() > 0


def test_a_picture_that_is_too_narrow_for_it_is_told(other_engine, glm):
    answer = other_engine.run(replace(job(pipeline=glm), images={"image": photo(40, 200)}))
    assert code(answer) == "bad_parameter"
    assert "aspect ratio" in answer.message


def test_the_size_follows_the_picture(other_engine, glm):
    work = replace(job(pipeline=glm, width=None, height=None), images={"image": photo(100, 40)})
    image = made(other_engine.run(work)).images[0]
    assert (image.width, image.height) == (96, 32)


def test_a_job_without_pictures_is_as_ever_after_one_with(other_engine, glm):
    before = picture(other_engine, glm)
    made(other_engine.run(replace(job(pipeline=glm), images={"image": photo()})))
    assert picture(other_engine, glm) == before


def test_a_mask_is_told_as_not_taken(other_engine, glm):
    images = {"image": photo(), "mask_image": half_mask()}
    answer = other_engine.run(replace(job(pipeline=glm), images=images))
    assert code(answer) == "bad_parameter"
    assert "mask_image" in answer.message


def test_cancel_stops_it_with_a_picture_too(other_engine, glm):
    seen = []
    work = replace(job(pipeline=glm), images={"image": photo()})
    assert code(other_engine.run(work, seen.append, lambda: bool(seen) and seen[-1].step >= 2)) == "canceled"
    assert seen[-1].step == 2
    picture(other_engine, glm)
