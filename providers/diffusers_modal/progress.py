"""Where a job is, told step by step; and what stops it."""

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Any, Literal

from providers.diffusers_modal.refusal import Refused
from providers.diffusers_modal.wire import EngineJob, ErrorRecord, Running

__all__ = ["Progress", "Turn", "Watch", "too_late"]


@dataclasses.dataclass(frozen=True)
class Turn:
    """What a caller of the engine gave along with the jobs."""

    on_progress: Callable[[Running], None]
    should_stop: Callable[[], bool]
    started: float
    """When the call came, by `time.monotonic`: deadlines count from it."""


class Watch:
    """Ends jobs that share a call: all when the caller says so, or when the time of all is over."""

    def __init__(self, jobs: Sequence[EngineJob], turn: Turn) -> None:
        self._jobs = jobs
        self._turn = turn
        self.late: set[int] = set()
        """Places in `jobs` of those whose time was over at the last look."""

    def __call__(self) -> None:
        """Look at the clock, and ask the caller.

        Raises:
            Refused: it is over.
        """
        if self._turn.should_stop():
            raise Refused("canceled", "The job was canceled.")
        passed = time.monotonic() - self._turn.started
        self.late = {place for place, job in enumerate(self._jobs) if passed >= job.timeout_s}
        if len(self.late) == len(self._jobs):
            record = too_late(max(self._jobs, key=lambda job: job.timeout_s))
            raise Refused(record.code, record.message)


def too_late(job: EngineJob) -> ErrorRecord:
    """The answer to a job whose time is over."""
    return ErrorRecord(code="timeout", message=f"The job did not end within {job.timeout_s:.1f} seconds.")


class Progress:
    """Called by a pipeline after each step: tells how far it is, and stops it when it must.

    Args:
        calls: how many times the pipeline will be called.
        on_progress: gets each news.
        check: raises when the job must end.
    """

    def __init__(self, calls: int, on_progress: Callable[[Running], None], check: Callable[[], None]) -> None:
        self._calls = calls
        self._on_progress = on_progress
        self._check = check
        self._call = 0
        self._each = 0
        self.begun = False
        """Whether this call of the pipeline is past its checks of the arguments."""

    def start(self, call: int) -> None:
        """The pipeline is about to be called for the `call`-th time, counted from 0."""
        self._check()
        self._call = call
        self.begun = False

    def before_token(self) -> None:
        """A model that writes tokens before the first step is about to write one."""
        if not self.begun:
            self.begun = True
            # How many steps will follow is known from the second call on.
            done, all_ = self._call * self._each, self._calls * self._each
            self._on_progress(Running(phase="prior", step=done, steps=all_))
        self._check()

    def __call__(self, pipeline: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        """What a pipeline calls after a step, counted from 0 in each call of it."""
        self.begun = True
        self._check()
        # Not the number that was asked for: strength leaves steps out, and a scheduler of second
        # order has more of them.
        self._each = getattr(pipeline, "_num_timesteps", 0) or len(pipeline.scheduler.timesteps)
        phase: Literal["denoise", "decode"] = "decode" if step + 1 >= self._each else "denoise"
        done = self._call * self._each + step + 1
        self._on_progress(Running(phase=phase, step=done, steps=self._calls * self._each))
        return tensors
