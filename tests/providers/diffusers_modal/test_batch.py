"""Jobs of one shape share a call of the pipeline, and each keeps what is its own."""

import functools

import pytest
from msgspec.structs import replace
from support.engines import MINI, code, job, made, pixels
from support.loras import lora, make
from support.tiny_pipelines import photo

from providers.diffusers_modal.engine import Engine

pytestmark = pytest.mark.slow

COUNTED = replace(MINI, pipeline_class="Counted")


@pytest.fixture
def counted(monkeypatch):
    """A pipeline class that tells how many prompts each call had, and has memory for so many."""
    import diffusers
    import torch

    class Counted(diffusers.StableDiffusionPipeline):
        calls: list[int] = []
        room = 64

        @functools.wraps(diffusers.StableDiffusionPipeline.__call__)
        def __call__(self, prompt=None, **more):
            self.calls.append(1 if isinstance(prompt, str) else len(prompt))
            if self.calls[-1] > self.room:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return super().__call__(prompt=prompt, **more)

    monkeypatch.setattr(diffusers, "Counted", Counted, raising=False)
    return Counted


@pytest.fixture
def counting():
    return Engine()


def alone(engine, work):
    return [pixels(image.data) for image in made(engine.run(work)).images]


def same(answer, pictures):
    images = made(answer).images
    assert len(images) == len(pictures)
    for image, picture in zip(images, pictures, strict=True):
        assert abs(pixels(image.data) - picture).max() <= 2


SHAPES = (
    {},
    {"width": 96},
    {"guidance_scale": 1.0},
    {"negative_prompt": "red"},
    *({"scheduler": name} for name in ("euler", "dpmpp_2m", "dpmpp_2m_sde", "ddpm", "heun", "dpmpp_sde")),
)


@pytest.mark.parametrize(
    ("spec", "shape"),
    [
        *((spec, shape) for spec in ("mini", "sdxl") for shape in SHAPES),
        ("sdxl", {"scheduler": "euler_a"}),  # which cannot step by mini's kind of network
    ],
    ids=str,
)
def test_a_picture_of_a_shared_call_is_that_of_its_own(other_engine, request, spec, shape):
    spec = MINI if spec == "mini" else request.getfixturevalue("sdxl")
    jobs = [
        job("a", pipeline=spec, **shape),
        job("b", pipeline=spec, prompt="a blue sea", seed=9, num_images=2, **shape),
        job("c", pipeline=spec, prompt="", seed=2**63 - 1, **shape),
    ]
    answers = other_engine.run_many(jobs)
    assert [[image.seed for image in made(a).images] for a in answers] == [[1], [9, 10], [2**63 - 1]]
    for answer, work in zip(answers, jobs, strict=True):
        same(answer, alone(other_engine, work))


def test_one_shape_is_one_call(counting, counted):
    jobs = [job(str(i), pipeline=COUNTED, seed=i, prompt=f"a {i}", num_images=i) for i in (1, 2, 3)]
    seen = []
    for answer in counting.run_many(jobs, seen.append):
        made(answer)
    assert counted.calls == [6]
    told = [(p.phase, p.step, p.steps) for p in seen]
    assert told == [
        ("load", 0, 0),
        ("denoise", 1, 4),
        ("denoise", 2, 4),
        ("denoise", 3, 4),
        ("decode", 4, 4),
    ]


def test_other_shapes_have_calls_of_their_own(counting, counted):
    shapes = [
        {},
        {"width": 96},
        {},
        {"num_inference_steps": 3},
        {"scheduler": "ddim"},
        {"negative_prompt": ""},
    ]
    jobs = [job(str(i), pipeline=COUNTED, seed=i, **shape) for i, shape in enumerate(shapes)]
    answers = counting.run_many(jobs)
    assert [made(answer).images[0].width for answer in answers] == [64, 96, 64, 64, 64, 64]
    assert counted.calls == [2, 1, 1, 1, 1]


def test_pipelines_are_loaded_once_each(counting, counted):
    other = replace(COUNTED, dtype="bfloat16")
    seen = []
    specs = [COUNTED, other, COUNTED, other]
    for answer in counting.run_many([job(str(i), pipeline=s) for i, s in enumerate(specs)], seen.append):
        made(answer)
    assert [p.phase for p in seen].count("load") == 2
    assert counted.calls == [2, 2]


def test_what_is_wrong_with_one_is_its_own(counting, counted):
    jobs = [
        job("good", pipeline=COUNTED),
        job("colour", pipeline=COUNTED, colour="red"),
        job("steps", pipeline=COUNTED, num_inference_steps=0),
        job("prompt", pipeline=COUNTED, prompt=3),
        job("width", pipeline=COUNTED, width=130),
        job("scheduler", pipeline=COUNTED, scheduler="zigzag"),
        replace(job("picture", pipeline=COUNTED), images={"image": b"x"}),
        job("late", pipeline=COUNTED, timeout_s=0.0),
        job("weights", pipeline=replace(MINI, source="embedded:none")),
        job("fine", pipeline=COUNTED, seed=2),
    ]
    answers = counting.run_many(jobs)
    told = {work.id: getattr(answer, "code", "done") for work, answer in zip(jobs, answers, strict=True)}
    assert told == {
        "good": "done",
        "colour": "bad_parameter",
        "steps": "bad_parameter",
        "prompt": "bad_parameter",
        "width": "bad_parameter",
        "scheduler": "unknown_scheduler",
        "picture": "bad_parameter",
        "late": "timeout",
        "weights": "bad_weights",
        "fine": "done",
    }
    same(answers[0], alone(counting, jobs[0]))


def test_a_wrong_shape_is_told_to_each(counting, counted):
    answers = counting.run_many([job(str(i), pipeline=COUNTED, width=130) for i in range(3)])
    assert [code(answer) for answer in answers] == ["bad_parameter"] * 3
    made(counting.run(job(pipeline=COUNTED)))


def test_too_little_memory_is_met_by_halves(counting, counted, monkeypatch):
    monkeypatch.setattr(counted, "room", 2)
    jobs = [job(str(i), pipeline=COUNTED, seed=i) for i in range(5)]
    answers = counting.run_many(jobs)
    assert counted.calls == [5, 2, 3, 1, 2]
    for answer, work in zip(answers, jobs, strict=True):
        same(answer, alone(counting, work))


def test_with_no_memory_for_one_it_is_told(counting, counted, monkeypatch):
    monkeypatch.setattr(counted, "room", 0)
    answers = counting.run_many([job(str(i), pipeline=COUNTED) for i in range(2)])
    assert [code(answer) for answer in answers] == ["out_of_memory"] * 2
    monkeypatch.setattr(counted, "room", 1)
    made(counting.run(job(pipeline=COUNTED)))


def test_pictures_and_loras_go_alone(other_engine, sdxl):
    plain = job("plain", pipeline=sdxl)
    jobs = [
        plain,
        replace(plain, id="picture", images={"image": photo()}),
        replace(plain, id="lora", loras=(lora(make(sdxl.source)),)),
        replace(plain, id="plain again"),
    ]
    for answer, work in zip(other_engine.run_many(jobs), jobs, strict=True):
        same(answer, alone(other_engine, work))


def test_tokens_are_drawn_for_each_alone(other_engine, glm):
    jobs = [job(str(seed), pipeline=glm, seed=seed) for seed in (1, 2)]
    for answer, work in zip(other_engine.run_many(jobs), jobs, strict=True):
        assert made(answer).images == made(other_engine.run(work)).images


def test_cancel_ends_all_within_a_step(counting, counted):
    seen = []
    jobs = [job(str(i), pipeline=COUNTED, num_inference_steps=1000) for i in range(2)]
    answers = counting.run_many(jobs, seen.append, lambda: bool(seen) and seen[-1].step >= 3)
    assert [code(answer) for answer in answers] == ["canceled"] * 2
    assert seen[-1].step == 3
    assert counted.calls == [2]
    made(counting.run(job(pipeline=COUNTED)))


def test_the_last_deadline_ends_the_call(counting, counted):
    made(counting.run(job(pipeline=COUNTED)))
    jobs = [job(str(i), pipeline=COUNTED, num_inference_steps=1000, timeout_s=0.1 + i / 5) for i in range(2)]
    answers = counting.run_many(jobs)
    assert [code(answer) for answer in answers] == ["timeout"] * 2
    assert "0.1 seconds" in answers[0].message
    assert "0.3 seconds" in answers[1].message
    assert counted.calls == [1, 2]


def test_the_seconds_of_a_load_are_shared_out(counting, counted):
    first, second = (made(a) for a in counting.run_many([job(str(i), pipeline=COUNTED) for i in range(2)]))
    assert first.load_seconds == second.load_seconds > 0
    assert first.run_seconds == second.run_seconds > 0
    assert first.device == "cpu"


def test_no_jobs_are_no_work(counting):
    assert counting.run_many([]) == []
