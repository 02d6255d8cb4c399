"""Loads pipelines, runs a job on the one in memory, and lets nothing out but answers."""

import gc
import logging
import os
import time
import traceback
from collections.abc import Callable, Sequence
from typing import TypeVar

from msgspec.structs import replace

from providers.diffusers_modal import levers, loader, lora
from providers.diffusers_modal.call import call, generator, png
from providers.diffusers_modal.plan import make_plan
from providers.diffusers_modal.progress import Progress, Turn, Watch
from providers.diffusers_modal.refusal import Refused
from providers.diffusers_modal.resident import Resident
from providers.diffusers_modal.wire import Done, EngineJob, ErrorRecord, PipelineSpec, Running

__all__ = ["Runner", "bare"]

_logger = logging.getLogger(__name__)
_T = TypeVar("_T")


def bare(spec: PipelineSpec) -> PipelineSpec:
    """A description without defaults: what is to be in memory does not depend on them."""
    return replace(spec, defaults={})


class Runner:
    """One pipeline in memory at most, and what is done with it. See `Engine` for the arguments."""

    def __init__(self, threads: int | None, lever_names: Sequence[str] = ()) -> None:
        self._levers = tuple(lever_names)
        # The other half is for the gateway: threads that wait for a busy core make a small
        # model four times slower (measured on two cores).
        self._threads = threads or max(1, min(8, (os.cpu_count() or 1) // 2))
        self.resident: Resident | None = None
        self.device: str | None = None
        self.device_name: str | None = None

    def warm(self) -> None:
        """Import torch and diffusers, unless they are there."""
        if self.device is None:
            self.device, self.device_name = loader.prepare(self._threads)

    def told(self, id_: str, work: Callable[[], _T]) -> _T | ErrorRecord:
        """What `work` returns, or a record of what went wrong. Never raises.

        Args:
            id_: of the job, for the log.
            work: called once.
        """
        answer: _T | ErrorRecord
        try:
            answer = work()
        except Refused as refused:
            answer = refused.record
        except loader.BadWeightsError as error:
            answer = ErrorRecord(code="bad_weights", message=str(error))
        except Exception as error:  # noqa: BLE001 - it is logged, and this is where it ends
            # As text: a log record that holds the error would hold the frames of the failed
            # call, and with them the pipeline.
            _logger.error("job %s failed\n%s", id_, traceback.format_exc())
            answer = self._failure(error)
        # Here the error is gone, and with it the frames that held the failed call's tensors.
        if self.resident is not None and self.resident.spoiled:
            _logger.error("job %s left its mark on the weights: they will be loaded again", id_)
            self._drop()
        elif isinstance(answer, ErrorRecord) and answer.code == "out_of_memory":
            self._free()
        return answer

    def alone(self, job: EngineJob, load_seconds: float, turn: Turn) -> Done | ErrorRecord:
        """Run one job, each picture in a call of its own.

        Args:
            job: what to make.
            load_seconds: to be told as its own, should its pipeline be in memory.
            turn: what came along with it.
        """
        watch = Watch([job], turn)

        def work() -> Done:
            watch()
            seconds = load_seconds + self.load(job.pipeline, turn)
            watch()
            return self._make(job, seconds, turn, watch)

        return self.told(job.id, work)

    def load(self, spec: PipelineSpec, turn: Turn) -> float:
        """Have a pipeline in memory; returns the seconds it took, 0 when it was there.

        Raises:
            BadWeightsError: it cannot be loaded. Then none is in memory.
        """
        wanted = bare(spec)
        if self.resident is not None and self.resident.spec == wanted:
            return 0.0
        started = time.monotonic()
        # Before anything of the next is there: the two together may be more than the memory.
        self._drop()
        turn.on_progress(Running(phase="load"))
        self.warm()
        pipeline = loader.load(wanted, self.device or "cpu")
        levers.apply(pipeline, self._levers)
        self.resident = Resident(wanted, pipeline)
        return time.monotonic() - started

    def _make(self, job: EngineJob, load_seconds: float, turn: Turn, watch: Watch) -> Done:
        started = time.monotonic()
        resident = self.resident
        if resident is None:
            raise RuntimeError("no pipeline is loaded")
        plan = make_plan(resident, job)
        progress = Progress(plan.count, turn.on_progress, watch)
        images = []
        with lora.laid_over(resident, job.loras, watch):
            for index, seed in enumerate(plan.seeds):
                progress.start(index)
                made = call(
                    resident, plan.pipeline, plan.scheduler, plan.arguments, generator(seed), progress
                )
                images.append(png(made[0], seed, plan.finish))
        return Done(
            images=tuple(images),
            load_seconds=load_seconds,
            run_seconds=time.monotonic() - started,
            device=self.device_name or "",
        )

    def _drop(self) -> None:
        """Let go of the pipeline in memory."""
        if self.resident is not None:
            self.resident.release()
        self.resident = None
        self._free()

    def _free(self) -> None:
        """Give back the memory that nothing refers to."""
        gc.collect()
        if self.device == "cuda":
            import torch

            torch.cuda.empty_cache()

    def _failure(self, error: Exception) -> ErrorRecord:
        if self.device is not None and loader.is_out_of_memory(error):
            return ErrorRecord(
                code="out_of_memory",
                message="The engine ran out of memory. Ask for a smaller picture or fewer of them.",
            )
        return ErrorRecord(code="engine_failed", message=f"The engine failed: {type(error).__name__}.")
