"""From a job to the pipeline's call: defaults, limits, input pictures."""

import dataclasses
import secrets
from typing import Any

from providers.diffusers_modal import inputs, prior
from providers.diffusers_modal.finish import Finish, nearest_size
from providers.diffusers_modal.refusal import Refused
from providers.diffusers_modal.resident import Resident, call_defaults, takes
from providers.diffusers_modal.wire import EngineJob

__all__ = ["MAX_SEED", "Plan", "make_plan"]

MAX_SEED = 2**63 - 1
_MAX_SIDE = 8192
_MAX_STEPS = 1000
_MAX_IMAGES = 64
_MAX_GUIDANCE = 1000
# Set by the engine, or not a caller's to set.
_RESERVED = frozenset(
    {
        "callback",
        "callback_steps",
        "callback_on_step_end",
        "callback_on_step_end_tensor_inputs",
        "generator",
        "image",
        "mask_image",
        "num_images_per_prompt",
        "output_type",
        "return_dict",
    }
)


@dataclasses.dataclass(frozen=True)
class Plan:
    """One job, checked as far as can be without running it."""

    pipeline: Any
    """The one to call: the resident pipeline, or one that shares its modules."""
    arguments: dict[str, Any]
    scheduler: str | None
    seed: int
    """Of the first picture; picture `i` has `seed + i`."""
    count: int
    """Pictures to make."""
    finish: Finish | None = None
    """What is done to each, for a model that draws only some sizes."""

    @property
    def seeds(self) -> list[int]:
        """One a picture."""
        return [(self.seed + index) & MAX_SEED for index in range(self.count)]


def make_plan(resident: Resident, job: EngineJob) -> Plan:
    """How to make a job's pictures. The seed is chosen here when the job has none.

    Raises:
        Refused: a parameter or a picture is wrong.
    """
    pictures = {name: inputs.decode(name, data) for name, data in job.images.items()}
    pipeline = resident.fitting(pictures.keys())
    given = _merged(resident, pipeline, job)
    seed = given.pop("seed", None)
    scheduler = given.pop("scheduler", None)
    seed = secrets.randbelow(2**32) if seed is None else seed
    _whole("seed", seed, 0, MAX_SEED)
    _whole("num_images", job.num_images, 1, _MAX_IMAGES)
    _typed("scheduler", scheduler, str, "a name")
    _check(given)
    unknown = sorted(set(given) - _free(pipeline))
    if unknown:
        raise Refused("bad_parameter", f"{type(pipeline).__name__} does not take {', '.join(unknown)}.")
    finish = _finish(pipeline, given, pictures, resident.spec.sizes)
    _size(pipeline, given, pictures)
    return Plan(pipeline, given, scheduler, seed, job.num_images, finish)


def _free(pipeline: Any) -> set[str]:
    """The parameters that a caller can set."""
    size = {"width", "height"}  # of an input picture at least, where the call does not take them
    return (set(takes(pipeline)) | size) - _RESERVED


def _merged(resident: Resident, pipeline: Any, job: EngineJob) -> dict[str, Any]:
    """The job's parameters over the defaults of its model; None is not given."""
    own = {name: value for name, value in job.parameters.items() if value is not None}
    # A default is for the pipeline as such. One that its sibling lacks is nobody's mistake, and
    # the size is that of an input picture.
    lost = takes(resident.pipeline) - takes(pipeline)
    if job.images:
        lost |= {"width", "height"}
    defaults = {n: v for n, v in job.pipeline.defaults.items() if v is not None and n not in lost}
    return defaults | own


def _check(given: dict[str, Any]) -> None:
    for name, low, high in (
        ("width", 8, _MAX_SIDE),
        ("height", 8, _MAX_SIDE),
        ("num_inference_steps", 1, _MAX_STEPS),
    ):
        if name in given:
            _whole(name, given[name], low, high)
    for name in ("prompt", "negative_prompt"):
        _typed(name, given.get(name), str, "text")
    _number(given, "guidance_scale", 0, _MAX_GUIDANCE)
    _number(given, "strength", 0, 1)


def _finish(
    pipeline: Any, given: dict[str, Any], pictures: dict[str, Any], sizes: tuple[tuple[int, int], ...]
) -> Finish | None:
    """Have one of `sizes` drawn, and say how the size that was asked for comes of it."""
    if not sizes:
        return None
    width, height = given.get("width"), given.get("height")
    over = pictures.get("image")
    if over is not None:
        size = inputs.output_size(over, width, height, 1)
    else:
        size = (width or sizes[0][0], height or sizes[0][1])
    given["width"], given["height"] = nearest_size(*size, sizes) or size
    for name, side in zip(("width", "height"), size, strict=True):
        _whole(name, side, 8, _MAX_SIDE)
    return Finish(size, over, pictures.get("mask_image"))


def _size(pipeline: Any, given: dict[str, Any], pictures: dict[str, Any]) -> None:
    """Put the pictures and the size in their places."""
    if pictures:
        grid = inputs.grid(pipeline)
        size = inputs.output_size(pictures["image"], given.get("width"), given.get("height"), grid)
        given["width"], given["height"] = size
        for name, side in zip(("width", "height"), size, strict=True):
            _whole(name, side, 8, _MAX_SIDE)
        given.update(inputs.place(pipeline, pictures, *size))
        _strength(pipeline, given)
    elif prior.has_prior(pipeline):
        prior.check_size(given.get("width"), given.get("height"))
    for name in {"width", "height"} - takes(pipeline):
        if given.pop(name, None) is not None and not pictures:
            raise Refused("bad_parameter", f"{type(pipeline).__name__} does not take {name}.")


def _strength(pipeline: Any, given: dict[str, Any]) -> None:
    """Of the steps, strength runs the last ones: with none left, pipelines fail in odd ways."""
    called = {**call_defaults(pipeline), **given}
    strength, steps = called.get("strength"), called.get("num_inference_steps")
    if strength is not None and steps is not None and int(strength * steps) < 1:
        raise Refused(
            "bad_parameter", f"strength {strength} of {steps} num_inference_steps leaves not one step."
        )


def _typed(name: str, value: Any, kind: type, words: str) -> None:
    if value is not None and not isinstance(value, kind):
        raise Refused("bad_parameter", f"{name} is {words}.")


def _number(given: dict[str, Any], name: str, low: float, high: float) -> None:
    value = given.get(name, low)
    # The comparison refuses NaN too.
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise Refused("bad_parameter", f"{name} is a number from {low} to {high}.")


def _whole(name: str, value: Any, low: int, high: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise Refused("bad_parameter", f"{name} is a whole number from {low} to {high}.")
