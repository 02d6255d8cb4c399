"""One job on a real pipeline: each parameter counts, faults are told, and the engine goes on."""

import shutil
import time
import weakref

import pytest
from msgspec.structs import replace
from support.engines import MINI, code, job, long_job, made, pixels

from providers.diffusers_modal import embedded
from providers.diffusers_modal.engine import Engine
from providers.diffusers_modal.schedulers import SCHEDULERS
from providers.diffusers_modal.wire import Done


def picture(engine, **parameters):
    return made(engine.run(job(**parameters))).images[0].data


def test_two_engines_make_the_same_bytes(engine):
    assert picture(engine) == picture(Engine())


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 2},
        {"prompt": "a blue sea"},
        {"num_inference_steps": 8},
        {"guidance_scale": 1.0},
        {"negative_prompt": "red"},
        {"scheduler": "dpmpp_2m"},
        {"scheduler": "ddpm"},
    ],
    ids=str,
)
def test_each_parameter_changes_the_picture(engine, change):
    difference = abs(pixels(picture(engine)) - pixels(picture(engine, **change)))
    assert difference.mean() > 0.5  # the same one twice: 0


def test_the_size_is_the_one_asked_for(engine):
    image = engine.run(job(width=96, height=64)).images[0]
    assert (image.width, image.height) == (96, 64)
    assert pixels(image.data).shape == (64, 96, 3)


def test_each_picture_of_a_job_is_that_of_its_own_seed(engine):
    done = engine.run(job(num_images=2, seed=7))
    assert [image.seed for image in done.images] == [7, 8]
    for image in done.images:
        assert abs(pixels(image.data) - pixels(picture(engine, seed=image.seed))).max() <= 1


def test_a_seed_that_was_chosen_can_be_used_again(engine):
    image = engine.run(job(seed=None)).images[0]
    assert picture(engine, seed=image.seed) == image.data


def test_a_scheduler_is_for_one_job_alone(engine):
    before = picture(engine)
    assert picture(engine, scheduler="ddpm") != before
    assert picture(engine) == before


def test_progress_is_told_step_by_step(engine):
    seen = []
    engine.run(job(num_images=2), seen.append)
    steps = [(p.phase, p.step, p.steps) for p in seen if p.phase != "load"]
    phases = ["denoise"] * 3 + ["decode"]
    assert steps == [(phase, i, 8) for i, phase in enumerate(phases * 2, start=1)]


def test_cancel_stops_within_a_step_and_the_next_job_is_as_ever(engine):
    before, seen = picture(engine), []
    answer = engine.run(long_job(), seen.append, lambda: bool(seen) and seen[-1].step >= 3)
    assert code(answer) == "canceled"
    assert seen[-1].step == 3
    assert picture(engine) == before


def test_the_deadline_stops_a_job(engine):
    picture(engine)
    began = time.monotonic()
    assert code(engine.run(replace(long_job(), timeout_s=0.3))) == "timeout"
    assert time.monotonic() - began < 3


@pytest.mark.parametrize(
    "wrong",
    [
        {"colour": "red"},
        {"width": 130},
        {"width": 100_000},
        {"width": 64.5},
        {"seed": -1},
        {"seed": "x"},
        {"num_inference_steps": 0},
        {"guidance_scale": "much"},
        {"guidance_scale": float("nan")},
        {"prompt": None},
        {"prompt": ["a", "b"]},
        {"output_type": "latent"},
        {"scheduler": 3},
    ],
    ids=str,
)
def test_a_wrong_parameter_is_told(engine, wrong):
    answer = engine.run(job(**wrong))
    assert code(answer) == "bad_parameter"
    assert next(iter(wrong)) in answer.message


def test_a_models_defaults_hold_where_the_job_is_silent(engine):
    spec = replace(MINI, defaults={"width": 96, "guidance_scale": 1.0, "scheduler": "ddim", "seed": 5})
    image = made(engine.run(job(pipeline=spec, width=None, seed=None))).images[0]
    assert image.seed == 5
    assert image.data == picture(engine, width=96, guidance_scale=1.0, scheduler="ddim", seed=5)
    assert made(engine.run(job(pipeline=spec))).images[0].width == 64


def test_a_default_that_the_pipeline_lacks_is_told(engine):
    answer = engine.run(job(pipeline=replace(MINI, defaults={"colour": "red"})))
    assert code(answer) == "bad_parameter"
    assert "colour" in answer.message


def test_a_scheduler_can_have_its_other_prefix(engine):
    assert picture(engine, scheduler="k_euler") == picture(engine, scheduler="euler")


def test_what_it_ran_on_is_told(engine):
    assert made(engine.run(job())).device == engine.device_name != ""


def test_an_unknown_scheduler_is_told_with_those_there_are(engine):
    answer = engine.run(job(scheduler="zigzag"))
    assert code(answer) == "unknown_scheduler"
    assert "dpmpp_2m" in answer.message


# DEIS asks numpy for the logarithm of a tensor.
@pytest.mark.filterwarnings("ignore:__array_wrap__:DeprecationWarning")
@pytest.mark.parametrize("name", list(SCHEDULERS))
def test_every_scheduler_draws_or_is_refused_before_the_first_step(engine, name):
    seen = []
    answer = engine.run(job(scheduler=name), seen.append)
    if isinstance(answer, Done):
        assert pixels(answer.images[0].data).std() > 12
    else:
        assert answer.code == "unknown_scheduler"
        assert name not in answer.message.partition("it takes")[2].split(", ")
        assert seen == []


def test_a_parameter_that_this_pipeline_lacks_is_told():
    spec = replace(MINI, pipeline_class="LatentConsistencyModelPipeline")
    answer = Engine().run(replace(job(negative_prompt="ugly"), pipeline=spec))
    assert code(answer) == "bad_parameter"
    assert "negative_prompt" in answer.message


def test_another_model_takes_the_place_of_the_first():
    engine = Engine()
    first = picture(engine)
    unet = weakref.ref(engine._runner.resident.pipeline.unet)
    other = replace(MINI, source=str(embedded.folder("mini")), dtype="bfloat16")
    done = engine.run(replace(job(), pipeline=other))
    assert done.load_seconds > 0
    assert unet() is None
    assert engine.model == other.source
    assert picture(engine) == first


def test_a_model_in_memory_is_not_loaded_again(engine):
    picture(engine)
    assert engine.run(job()).load_seconds == 0


@pytest.fixture
def copy(tmp_path):
    return shutil.copytree(embedded.folder("mini"), tmp_path / "copy")


def test_broken_weights_are_told(engine, copy):
    weights = copy / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    assert code(engine.run(replace(job(), pipeline=replace(MINI, source=str(copy))))) == "bad_weights"


def test_pickled_weights_are_refused(engine, copy):
    weights = copy / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))
    assert code(engine.run(replace(job(), pipeline=replace(MINI, source=str(copy))))) == "bad_weights"


@pytest.mark.parametrize("name", ["NoSuchPipeline", "UNet2DConditionModel", "utils"])
def test_what_is_no_pipeline_class_is_told(engine, name):
    spec = replace(MINI, pipeline_class=name)
    assert code(engine.run(replace(job(), pipeline=spec))) == "bad_weights"


def test_a_failed_load_leaves_the_engine_usable(engine):
    engine.run(replace(job(), pipeline=replace(MINI, source="embedded:none")))
    assert engine.model is None
    assert picture(engine)
