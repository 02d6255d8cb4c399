"""The engine: one diffusers pipeline in memory, one call at a time.

A plain class, run by a process of its own (`process.py`) and by Modal's containers. Importing
this module is cheap; torch and diffusers come with the first job.
"""

import time
from collections.abc import Callable, Sequence

from providers.diffusers_modal import batch
from providers.diffusers_modal.progress import Turn
from providers.diffusers_modal.runner import Runner
from providers.diffusers_modal.wire import Done, EngineJob, ErrorRecord, Running

__all__ = ["Engine"]


class Engine:
    """Loads a pipeline on its first use and keeps it until another is asked for.

    Not thread-safe: `run`, `run_many` and `warm` are called from one thread. `model`, `device`
    and `device_name` can be read from any.

    Args:
        threads: CPU threads of an operation, as the sums of floats depend on their number; by
            default half of the machine's cores and 8 at most, so always the same on a machine.
        levers: of `levers.LEVERS`, for every pipeline that is loaded.
    """

    def __init__(self, *, threads: int | None = None, levers: Sequence[str] = ()) -> None:
        self._runner = Runner(threads, levers)

    @property
    def model(self) -> str | None:
        """Source of the pipeline in memory."""
        resident = self._runner.resident
        return None if resident is None else resident.spec.source

    @property
    def device(self) -> str | None:
        """`cpu`, `cuda` or `mps`; None until torch is there."""
        return self._runner.device

    @property
    def device_name(self) -> str | None:
        """As its maker calls it, such as `NVIDIA L40S`; None until torch is there."""
        return self._runner.device_name

    def warm(self) -> None:
        """Import torch and diffusers now: seconds that the first job then does not wait."""
        self._runner.warm()

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
            should_stop: asked before and after loading, and after each step or before each
                token; True cancels.
        """
        return self._runner.alone(job, 0.0, Turn(on_progress, should_stop, time.monotonic()))

    def run_many(
        self,
        jobs: Sequence[EngineJob],
        on_progress: Callable[[Running], None] = lambda _: None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> list[Done | ErrorRecord]:
        """Make the pictures of several jobs; those that can share a call of the pipeline do.

        They can when they have one pipeline, scheduler and shape: the same parameters but for
        texts and seeds, and neither input pictures nor LoRAs. A picture of a shared call
        differs from the one that `run` makes by rounding alone (2 of 255 at most). What is
        wrong with one job is its own `ErrorRecord` and stops no other; a call that fails, as
        for lack of memory, is tried again by halves.

        Args:
            jobs: each with its own `timeout_s`, which counts from this call.
            on_progress: as in `run`; steps are those of the call that runs.
            should_stop: as in `run`; True cancels all the jobs that have not ended.

        Returns:
            One answer a job, in their order. The seconds of a shared load or call are shared out.
        """
        return batch.run(self._runner, jobs, Turn(on_progress, should_stop, time.monotonic()))
