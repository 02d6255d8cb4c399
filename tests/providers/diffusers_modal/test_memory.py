"""One pipeline is in memory: the old one is gone before the next is loaded, whatever happened to it."""

import gc
import weakref

import pytest
from msgspec.structs import replace
from support.engines import MINI, code, job, made
from support.loras import lora, make
from support.tiny_pipelines import half_mask, photo

from providers.diffusers_modal.engine import Engine

STOP_AT = 2


def plain(engine, spec):
    made(engine.run(job(pipeline=spec)))


def with_pictures(engine, spec):
    made(engine.run(replace(job(pipeline=spec), images={"image": photo()})))
    images = {"image": photo(), "mask_image": half_mask()}
    made(engine.run(replace(job(pipeline=spec), images=images)))


def canceled(engine, spec):
    seen = []
    answer = engine.run(job(pipeline=spec), seen.append, lambda: bool(seen) and seen[-1].step >= STOP_AT)
    assert code(answer) == "canceled"


def canceled_with_a_picture(engine, spec):
    seen = []
    work = replace(job(pipeline=spec, num_inference_steps=100), images={"image": photo()})
    assert code(engine.run(work, seen.append, lambda: bool(seen) and seen[-1].step >= STOP_AT)) == "canceled"


def failed(engine, spec):
    def fail(progress):
        if progress.step == STOP_AT:
            raise RuntimeError("as a broken kernel does")

    assert code(engine.run(job(pipeline=spec), fail)) == "engine_failed"


def refused(engine, spec):
    assert code(engine.run(job(pipeline=spec, width=65))) == "bad_parameter"


def out_of_memory(engine, spec):
    def fail(progress):
        if progress.step == STOP_AT:
            raise MemoryError

    assert code(engine.run(job(pipeline=spec), fail)) == "out_of_memory"


def with_lora(engine, spec):
    made(engine.run(replace(job(pipeline=spec), loras=(lora(make(spec.source)),))))


def canceled_with_lora(engine, spec):
    seen = []
    work = replace(job(pipeline=spec), loras=(lora(make(spec.source)),))
    assert code(engine.run(work, seen.append, lambda: bool(seen) and seen[-1].step >= STOP_AT)) == "canceled"


def many(engine, spec):
    for answer in engine.run_many([job(pipeline=spec), job(pipeline=spec, seed=2)]):
        made(answer)


def canceled_many(engine, spec):
    seen = []
    jobs = [job(pipeline=spec), job(pipeline=spec, seed=2)]
    answers = engine.run_many(jobs, seen.append, lambda: bool(seen) and seen[-1].step >= STOP_AT)
    assert {code(answer) for answer in answers} == {"canceled"}


def references(resident):
    """To all that holds weights, and to the pipelines."""
    pipelines = [resident.pipeline, *resident._siblings.values()]
    parts = resident.pipeline.components
    held = [part for name, part in parts.items() if name in ("unet", "transformer", "vae", "text_encoder")]
    held += [parts["vision_language_encoder"]] if "vision_language_encoder" in parts else []
    return [weakref.ref(thing) for thing in (*pipelines, *held)]


@pytest.mark.parametrize(
    "use",
    [
        plain,
        with_pictures,
        canceled,
        canceled_with_a_picture,
        failed,
        refused,
        out_of_memory,
        with_lora,
        canceled_with_lora,
        many,
        canceled_many,
    ],
)
@pytest.mark.slow
def test_the_old_pipeline_is_gone_before_the_next_is_loaded(sdxl, use):
    engine = Engine()
    plain(engine, sdxl)
    use(engine, sdxl)
    held = references(engine._runner.resident)
    assert len(held) >= 4
    alive = []

    def look(progress):
        if progress.phase == "load":
            alive.append([ref() for ref in held if ref() is not None])

    made(engine.run(job(pipeline=MINI), look))
    assert alive == [[]]


@pytest.mark.parametrize("use", [plain, canceled])
def test_a_pipeline_with_tokens_goes_too(glm, use):
    engine = Engine()
    use(engine, glm)
    held = references(engine._runner.resident)
    made(engine.run(job(pipeline=MINI)))
    assert [ref for ref in held if ref() is not None] == []


def test_a_failed_load_leaves_nothing(sdxl, tmp_path):
    engine = Engine()
    plain(engine, sdxl)
    held = references(engine._runner.resident)
    assert code(engine.run(job(pipeline=replace(sdxl, source=str(tmp_path))))) == "bad_weights"
    assert engine.model is None
    assert [ref for ref in held if ref() is not None] == []


def test_defaults_are_no_reason_to_load_again(sdxl):
    engine = Engine()
    plain(engine, sdxl)
    again = made(engine.run(job(pipeline=replace(sdxl, defaults={"guidance_scale": 3.0}))))
    assert again.load_seconds == 0


def test_the_last_reference_is_the_engines(sdxl):
    engine = Engine()
    with_pictures(engine, sdxl)
    held = references(engine._runner.resident)
    del engine
    gc.collect()
    assert [ref for ref in held if ref() is not None] == []
