"""Which schedulers fit a network, found out before the first step."""

import diffusers
import pytest
import torch

from providers.diffusers_modal.schedulers import SCHEDULERS, UnknownSchedulerError, build

KINDS = ("epsilon", "v_prediction", "sample")


def steps(scheduler) -> torch.Tensor:
    """What comes of a few steps with a network that always says the same."""
    torch.manual_seed(0)
    scheduler.set_timesteps(4)
    latents = torch.randn(1, 4, 8, 8)
    for at in scheduler.timesteps:
        scaled = scheduler.scale_model_input(latents, at)
        latents = scheduler.step(torch.zeros_like(scaled), at, latents).prev_sample
    return latents


@pytest.mark.filterwarnings("ignore:__array_wrap__")  # diffusers and numpy 2
@pytest.mark.parametrize("name", list(SCHEDULERS))
@pytest.mark.parametrize("kind", KINDS)
def test_every_scheduler_steps_or_is_refused(kind, name) -> None:
    original = diffusers.DDIMScheduler(prediction_type=kind)
    try:
        built = build(original, name)
    except UnknownSchedulerError as error:
        offered = str(error).partition("it takes ")[2].rstrip(".").split(", ")
        assert name not in offered
        assert "ddim" in offered
        assert kind == "sample" or name == "lcm"  # which is for its own kind of pipelines
        return
    assert steps(built).isfinite().all()


def test_the_pipelines_own_is_not_changed() -> None:
    original = diffusers.DDIMScheduler(prediction_type="sample")
    assert build(original, None) is not original
    assert type(build(original, "k_euler")) is diffusers.EulerDiscreteScheduler
    assert original.config.prediction_type == "sample"
