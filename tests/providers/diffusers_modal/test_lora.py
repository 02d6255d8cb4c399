"""A LoRA works for its job alone: before and after it, the pipeline makes the same bytes."""

import json
import pickle

import pytest
import safetensors.torch
import torch
from msgspec.structs import replace
from support.engines import code, job, made, pixels
from support.loras import lora, make
from support.tiny_pipelines import photo

from providers.diffusers_modal import lora as loras


@pytest.fixture(scope="module")
def style(sdxl):
    return make(sdxl.source)


@pytest.fixture(scope="module")
def other_style(sdxl):
    return make(sdxl.source, seed=1)


@pytest.fixture
def base(other_engine, sdxl):
    """The picture without a LoRA; it must be the same after the test."""
    before = run(other_engine, sdxl)
    yield before
    assert run(other_engine, sdxl) == before


def with_loras(spec, *files, **parameters):
    return replace(job(pipeline=spec, **parameters), loras=files)


def run(engine, spec, *files, **parameters):
    return made(engine.run(with_loras(spec, *files, **parameters))).images[0].data


def difference(one, other):
    return abs(pixels(one) - pixels(other)).mean()


def weights(changes=None, *, metadata=None):
    """A file of tensors, which fits nothing as it stands."""
    return safetensors.torch.save(
        {"unet.x.lora_A.weight": torch.ones(2, 4), "unet.x.lora_B.weight": torch.ones(4, 2)}
        | (changes or {}),
        metadata,
    )


def test_it_shows_in_the_picture_by_its_scale(other_engine, sdxl, style, base):
    assert run(other_engine, sdxl, lora(style, 0.0)) == base
    little, much = (run(other_engine, sdxl, lora(style, scale)) for scale in (0.1, 1.0))
    assert 0 < difference(little, base) < difference(much, base)


def test_the_same_lora_makes_the_same_bytes(other_engine, sdxl, style, base):
    assert run(other_engine, sdxl, lora(style)) == run(other_engine, sdxl, lora(style))


def test_two_work_together(other_engine, sdxl, style, other_style, base):
    both = run(other_engine, sdxl, lora(style), lora(other_style))
    for single in (style, other_style):
        assert difference(both, run(other_engine, sdxl, lora(single))) > 0
    assert run(other_engine, sdxl, lora(style), lora(other_style, 0.0)) == run(
        other_engine, sdxl, lora(style)
    )


def test_the_same_file_twice_counts_twice(other_engine, sdxl, style, base):
    assert run(other_engine, sdxl, lora(style, 0.5), lora(style, 0.5)) == run(other_engine, sdxl, lora(style))


def test_it_works_on_input_pictures_too(other_engine, sdxl, style, base):
    plain = replace(job(pipeline=sdxl, strength=0.8), images={"image": photo()})
    before = made(other_engine.run(plain)).images[0].data
    with_it = made(other_engine.run(replace(plain, loras=(lora(style),)))).images[0].data
    assert difference(before, with_it) > 0
    assert made(other_engine.run(plain)).images[0].data == before


def test_half_precision_files_are_taken(other_engine, sdxl, style, base):
    tensors = {key: value.half() for key, value in safetensors.torch.load(style).items()}
    half = run(other_engine, sdxl, lora(safetensors.torch.save(tensors)))
    whole = run(other_engine, sdxl, lora(style))
    assert difference(half, whole) < difference(whole, base) / 10


@pytest.mark.parametrize("alpha", [1, 4])
def test_the_strength_of_its_training_counts(other_engine, sdxl, style, base, alpha):
    told = make(sdxl.source, alpha=alpha, told=True)
    same = run(other_engine, sdxl, lora(style, alpha / 2))
    assert difference(run(other_engine, sdxl, lora(told)), same) < 0.1


def test_files_of_the_other_trainer_are_taken(other_engine, sdxl, style, base):
    module = "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q"
    theirs = f"lora_unet_{module.replace('.', '_')}"
    pair = {
        side: value
        for key, value in safetensors.torch.load(style).items()
        for side in ("lora_A", "lora_B")
        if key == f"unet.{module}.{side}.weight"
    }
    ours = {f"unet.{module}.{side}.weight": value for side, value in pair.items()}
    data = {
        f"{theirs}.lora_down.weight": pair["lora_A"],
        f"{theirs}.lora_up.weight": pair["lora_B"],
        f"{theirs}.alpha": torch.tensor(4.0),
    }
    same = run(other_engine, sdxl, lora(safetensors.torch.save(ours), 2.0))
    assert difference(same, base) > 0
    assert difference(run(other_engine, sdxl, lora(safetensors.torch.save(data))), same) < 0.1


def test_cancel_takes_it_off(other_engine, sdxl, style, base):
    seen = []
    work = with_loras(sdxl, lora(style), num_inference_steps=1000)
    assert code(other_engine.run(work, seen.append, lambda: bool(seen) and seen[-1].step >= 2)) == "canceled"
    assert seen[-1].step == 2


def test_a_job_that_fails_takes_it_off(other_engine, sdxl, style, base):
    answer = other_engine.run(with_loras(sdxl, lora(style), guidance_rescale="much"))
    assert code(answer) in ("engine_failed", "bad_parameter")


def test_one_bad_file_takes_the_good_one_off(other_engine, sdxl, style, base):
    assert code(other_engine.run(with_loras(sdxl, lora(style), lora(weights())))) == "bad_weights"


TOLD = {"lora_adapter_metadata": json.dumps({"unet.r": 2, "unet.lora_alpha": 4})}
UNFIT = {
    "no file": b"",
    "pickle": pickle.dumps({"unet.x.lora_A.weight": [1.0]}),
    "cut": weights()[:-4],
    "no tensor": safetensors.torch.save({}),
    "no part of the model": weights(),
    "no LoRA": safetensors.torch.save({"unet.conv_in.weight": torch.ones(4)}),
    "wrong shape": safetensors.torch.save(
        {
            f"unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q.lora_{side}.weight": tensor
            for side, tensor in (("A", torch.ones(2, 7)), ("B", torch.ones(7, 2)))
        }
    ),
    "whole numbers": weights({"unet.y.lora_A.weight": torch.ones(2, 2, dtype=torch.int64)}),
    "a pattern for a name": weights({"unet.(a+)+$.lora_A.weight": torch.ones(2, 2)}),
    "another kind": weights({"unet.x.dora_scale": torch.ones(2)}),
    "no rank": weights(
        {"unet.x.lora_A.weight": torch.ones(0, 4), "unet.x.lora_B.weight": torch.ones(4, 0)}, metadata=TOLD
    ),
    "one dimension": weights({"unet.x.lora_B.weight": torch.ones(4)}, metadata=TOLD),
    "no JSON": weights(metadata={"lora_adapter_metadata": "{"}),
}


@pytest.mark.parametrize("data", UNFIT.values(), ids=UNFIT)
def test_an_unfit_file_is_told(other_engine, sdxl, base, data):
    assert code(other_engine.run(with_loras(sdxl, lora(data)))) == "bad_weights"


def test_a_wrong_checksum_is_told(other_engine, sdxl, style, base):
    answer = other_engine.run(with_loras(sdxl, replace(lora(style), sha256="0" * 64)))
    assert code(answer) == "bad_weights"
    assert "checksum" in answer.message


def test_what_a_file_says_of_itself_is_not_given_to_peft(other_engine, sdxl, style, base):
    # peft would import the module that is named here.
    says = {
        "unet.megatron_config": {"x": 1},
        "unet.megatron_core": "antigravity",
        "unet.r": 2,
        "unet.lora_alpha": 2,
    }
    data = safetensors.torch.save(safetensors.torch.load(style), {"lora_adapter_metadata": json.dumps(says)})
    assert difference(run(other_engine, sdxl, lora(data)), run(other_engine, sdxl, lora(style))) == 0


@pytest.mark.parametrize("scale", [float("nan"), float("inf"), 1e9])
def test_a_wrong_scale_is_told(other_engine, sdxl, style, base, scale):
    assert code(other_engine.run(with_loras(sdxl, lora(style, scale)))) == "bad_parameter"


def test_too_many_are_told(other_engine, sdxl, style, base, monkeypatch):
    many = [lora(style)] * (loras.MAX_LORAS + 1)
    assert code(other_engine.run(with_loras(sdxl, *many))) == "bad_parameter"
    made(other_engine.run(with_loras(sdxl, *many[1:])))
    monkeypatch.setattr(loras, "MAX_BYTES", len(style))
    assert code(other_engine.run(with_loras(sdxl, *many[:2]))) == "bad_parameter"


def test_a_pipeline_that_takes_none_is_told(other_engine, glm, style):
    answer = other_engine.run(with_loras(glm, lora(style)))
    assert code(answer) == "bad_parameter"
    assert "GlmImagePipeline" in answer.message
    made(other_engine.run(job(pipeline=glm)))


def test_weights_that_were_touched_are_loaded_again(other_engine, sdxl, style):
    before = run(other_engine, sdxl)

    def touch(progress):
        if progress.step == 1:
            unet = other_engine._runner.resident.pipeline.unet
            with torch.no_grad():
                unet.conv_in.weight.mul_(2)

    made(other_engine.run(with_loras(sdxl, lora(style)), touch))
    assert other_engine.model is None
    assert run(other_engine, sdxl) == before
