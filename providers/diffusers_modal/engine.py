"""The engine: one diffusers pipeline in memory, one job at a time.

A plain class, run by a process of its own (`process.py`) and by Modal's containers. Importing
this module is cheap; torch and diffusers come with the first job.
"""

import gc
import inspect
import io
import logging
import os
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from providers.diffusers_modal import loader, schedulers
from providers.diffusers_modal.wire import (
    Done,
    EngineJob,
    ErrorCode,
    ErrorRecord,
    Picture,
    PipelineSpec,
    Running,
)

__all__ = ["Engine"]

_logger = logging.getLogger(__name__)

_MAX_SEED = 2**63 - 1
_MAX_SIDE = 8192
_MAX_STEPS = 1000
_MAX_IMAGES = 64
# Set here, or not a caller's to set.
_RESERVED = frozenset(
    {
        "self",
        "args",
        "kwargs",
        "callback",
        "callback_steps",
        "callback_on_step_end",
        "callback_on_step_end_tensor_inputs",
        "generator",
        "num_images_per_prompt",
        "output_type",
        "return_dict",
    }
)


class _Refused(Exception):
    """The job ends with this record. Raised inside a pipeline too, to stop it within a step."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.record = ErrorRecord(code=code, message=message)


class Engine:
    """Loads a pipeline on its first use and keeps it until another is asked for.

    Not thread-safe: `run` and `warm` are called from one thread. `model` and `device` can be
    read from any.

    Args:
        cache_dir: where embedded models are built.
        threads: CPU threads of an operation, as the sums of floats depend on their number; by
            default half of the machine's cores and 8 at most, so always the same on a machine.
    """

    def __init__(self, cache_dir: Path, *, threads: int | None = None) -> None:
        self._cache_dir = cache_dir
        # The other half is for the gateway: threads that wait for a busy core make a small
        # model four times slower (measured on two cores).
        self._threads = threads or max(1, min(8, (os.cpu_count() or 1) // 2))
        self._pipeline: Any = None
        self._scheduler: Any = None
        self._spec: PipelineSpec | None = None
        self.device: str | None = None
        """`cpu`, `cuda` or `mps`; None until torch is there."""

    @property
    def model(self) -> str | None:
        """Source of the pipeline in memory."""
        return None if self._spec is None else self._spec.source

    def warm(self) -> None:
        """Import torch and diffusers now: seconds that the first job then does not wait."""
        if self.device is None:
            self.device = loader.prepare(self._threads)

    def run(
        self,
        job: EngineJob,
        on_progress: Callable[[Running], None] = lambda _: None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> Done | ErrorRecord:
        """Make the pictures of a job. Never raises: what goes wrong is an `ErrorRecord`.

        Picture `i` has the seed `seed + i` and is made by itself, so it is the one that a job
        of its own with that seed makes. The seed is chosen here when the job has none.

        Args:
            job: what to make; `timeout_s` counts from this call.
            on_progress: called when the phase changes and after each step.
            should_stop: asked before and after loading and after each step; True cancels.
        """
        deadline = time.monotonic() + job.timeout_s

        def check() -> None:
            if should_stop():
                raise _Refused("canceled", "The job was canceled.")
            if time.monotonic() >= deadline:
                raise _Refused("timeout", f"The job did not end within {job.timeout_s:.1f} seconds.")

        try:
            return self._run(job, on_progress, check)
        except _Refused as refused:
            return refused.record
        except loader.BadWeightsError as error:
            return ErrorRecord(code="bad_weights", message=str(error))
        except Exception as error:
            _logger.exception("job %s failed", job.id)
            record = self._failure(error)
        # Here the error is gone, and with it the frames that held the failed call's tensors.
        if record.code == "out_of_memory":
            self._free()
        return record

    def _run(self, job: EngineJob, on_progress: Callable[[Running], None], check: Callable[[], None]) -> Done:
        check()
        load_seconds = self._load(job.pipeline, on_progress)
        check()
        started = time.monotonic()
        arguments, seed, scheduler = _arguments(self._pipeline, job)
        images = []
        for index in range(job.num_images):
            self._set_scheduler(scheduler)
            picture_seed = (seed + index) & _MAX_SEED
            report = _Progress(index, job.num_images, on_progress, check)
            images.append(self._picture(arguments, picture_seed, report))
        return Done(images=tuple(images), load_seconds=load_seconds, run_seconds=time.monotonic() - started)

    def _load(self, spec: PipelineSpec, on_progress: Callable[[Running], None]) -> float:
        """Have the pipeline in memory; returns the seconds it took, 0 when it was there."""
        if self._spec == spec:
            return 0.0
        on_progress(Running(phase="load"))
        started = time.monotonic()
        self.warm()
        self._drop()
        self._pipeline = loader.load(spec, self._cache_dir, self.device or "cpu")
        self._scheduler = self._pipeline.scheduler
        self._spec = spec
        return time.monotonic() - started

    def _drop(self) -> None:
        """Let go of the pipeline in memory, before another takes its place."""
        if self._pipeline is not None:
            # Hooks of accelerate hold the modules.
            self._pipeline.remove_all_hooks()
        self._pipeline = self._scheduler = self._spec = None
        self._free()

    def _free(self) -> None:
        """Give back the memory that nothing refers to."""
        gc.collect()
        if self.device == "cuda":
            import torch

            torch.cuda.empty_cache()

    def _set_scheduler(self, name: str | None) -> None:
        # From the configuration that was loaded, for each picture: nothing of the job before,
        # not even of one that was cut short, is left in it.
        try:
            self._pipeline.scheduler = schedulers.build(self._scheduler, name)
        except schedulers.UnknownSchedulerError as error:
            raise _Refused("unknown_scheduler", str(error)) from None

    def _picture(self, arguments: dict[str, Any], seed: int, report: "_Progress") -> Picture:
        import torch

        # A generator of the CPU gives the same noise whatever the device is.
        generator = torch.Generator("cpu").manual_seed(seed)
        extra: dict[str, Any] = {}
        if "callback_on_step_end" in inspect.signature(self._pipeline.__call__).parameters:
            extra["callback_on_step_end"] = report
        try:
            output = self._pipeline(**arguments, **extra, generator=generator, output_type="pil")
        except (ValueError, TypeError) as error:
            # Before the first step only the arguments can be at fault: pipelines check them so.
            if report.begun:
                raise
            raise _Refused("bad_parameter", str(error).strip().split("\n")[0][:300]) from None
        return _png(output.images[0], seed)

    def _failure(self, error: Exception) -> ErrorRecord:
        if self.device is not None and loader.is_out_of_memory(error):
            return ErrorRecord(
                code="out_of_memory",
                message="The engine ran out of memory. Ask for a smaller picture or fewer of them.",
            )
        return ErrorRecord(code="engine_failed", message=f"The engine failed: {type(error).__name__}.")


class _Progress:
    """Called by a pipeline after each step: tells how far it is, and stops it when it must."""

    def __init__(
        self, index: int, count: int, on_progress: Callable[[Running], None], check: Callable[[], None]
    ) -> None:
        self._index = index
        self._count = count
        self._on_progress = on_progress
        self._check = check
        self.begun = False

    def __call__(self, pipeline: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        self.begun = True
        self._check()
        # A scheduler of second order has more steps than were asked for.
        each = len(pipeline.scheduler.timesteps)
        phase: Literal["denoise", "decode"] = "decode" if step + 1 >= each else "denoise"
        done = self._index * each + step + 1
        self._on_progress(Running(phase=phase, step=done, steps=self._count * each))
        return tensors


def _arguments(pipeline: Any, job: EngineJob) -> tuple[dict[str, Any], int, str | None]:
    """The arguments of the pipeline's call, the first seed and the scheduler's name."""
    given = {name: value for name, value in job.parameters.items() if value is not None}
    seed = given.pop("seed", None)
    scheduler = given.pop("scheduler", None)
    if seed is None:
        seed = secrets.randbelow(2**32)
    _whole("seed", seed, 0, _MAX_SEED)
    _whole("num_images", job.num_images, 1, _MAX_IMAGES)
    for name, low, high in (
        ("width", 8, _MAX_SIDE),
        ("height", 8, _MAX_SIDE),
        ("num_inference_steps", 1, _MAX_STEPS),
    ):
        if name in given:
            _whole(name, given[name], low, high)
    _typed("scheduler", scheduler, str, "a name")
    for name in ("prompt", "negative_prompt"):
        _typed(name, given.get(name), str, "text")
    _typed("guidance_scale", given.get("guidance_scale"), (int, float), "a number")
    takes = set(inspect.signature(pipeline.__call__).parameters) - _RESERVED
    unknown = sorted(set(given) - takes)
    if unknown:
        names = ", ".join(unknown)
        raise _Refused("bad_parameter", f"{type(pipeline).__name__} does not take {names}.")
    return given, seed, scheduler


def _typed(name: str, value: Any, kind: type | tuple[type, ...], words: str) -> None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, kind)):
        raise _Refused("bad_parameter", f"{name} is {words}.")


def _whole(name: str, value: Any, low: int, high: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise _Refused("bad_parameter", f"{name} is a whole number from {low} to {high}.")


def _png(image: Any, seed: int) -> Picture:
    buffer = io.BytesIO()
    # Level 4 takes half the time of Pillow's default for a few percent more bytes.
    image.save(buffer, format="PNG", compress_level=4)
    return Picture(
        data=buffer.getvalue(), content_type="image/png", seed=seed, width=image.width, height=image.height
    )
