"""What a GPU container does with a job: from the bytes of an `EngineJob` to those of its answer.

Plain Python, so that it runs and is tested without Modal; `app.py` is the shell around it.
"""

import concurrent.futures
import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

import msgspec
from msgspec.structs import replace

from providers.diffusers_modal.board import Board
from providers.diffusers_modal.engine import Engine
from providers.diffusers_modal.wire import Done, EngineJob, ErrorRecord, Lora, PipelineSpec, Running

__all__ = ["Models", "NoModels", "Worker"]

_logger = logging.getLogger(__name__)

T = TypeVar("T")

_MARGIN_S = 30.0
"""Seconds before Modal's timeout at which a job ends by itself, and the container lives on."""

_jobs = msgspec.msgpack.Decoder(EngineJob)


class Models(Protocol):
    """The weights that are kept between containers."""

    def find(self, source: str) -> bool:
        """Whether a model is here, after looking for what other containers have added."""
        ...

    def keep(self) -> None:
        """Keep what was downloaded."""
        ...


class NoModels:
    """Nothing is kept."""

    def find(self, source: str) -> bool:
        """Always there."""
        return True

    def keep(self) -> None:
        """Nothing to keep."""


class Worker:
    """Runs jobs on an engine, in a thread of its own.

    Modal cancels an input by an exception in the main thread, anywhere. It lands on a wait here,
    never inside torch: the engine is told to stop, ends the job at its next step, and is whole.

    Args:
        engine: what runs the jobs.
        board: gets the progress.
        limit_s: Modal's timeout for a job, in seconds.
        models: where weights come from.
    """

    def __init__(self, engine: Engine, board: Board, *, limit_s: float, models: Models | None = None) -> None:
        self._engine = engine
        self._board = board
        self._limit_s = max(limit_s - _MARGIN_S, limit_s / 2)
        self._models = models or NoModels()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="engine")

    def warm(self) -> None:
        """Import torch and diffusers before the first job.

        Raises:
            RuntimeError: they cannot be imported. The message says why: the class of what was
                raised may not exist where it is read.
        """
        try:
            self._thread.submit(self._engine.warm).result()
        except Exception as error:
            _logger.exception("the engine cannot start")
            raise RuntimeError(f"The engine cannot start: {type(error).__name__}: {error}") from None

    def run(self, data: bytes) -> bytes:
        """One job; never raises but for a cancel."""
        return self.run_many([data])[0]

    def run_many(self, data: Sequence[bytes]) -> list[bytes]:
        """Jobs that may share calls of the pipeline; one answer each, in their order."""
        read = [self._read(item) for item in data]
        jobs = [job for job in read if isinstance(job, EngineJob)]
        answers = iter(self._on_thread(lambda stop: self._answer(jobs, stop)) if jobs else [])
        return [msgspec.msgpack.encode(next(answers) if isinstance(job, EngineJob) else job) for job in read]

    def close(self) -> None:
        """End both threads; what is left to tell is told."""
        self._thread.shutdown()
        self._board.close()

    def _read(self, data: bytes) -> EngineJob | ErrorRecord:
        try:
            job = _jobs.decode(data)
            unknown = _unknown(msgspec.msgpack.decode(data))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return ErrorRecord(code="engine_failed", message=f"The backend cannot read the job: {error}.")
        if unknown:
            # Left out in silence, it would be missing from the picture.
            return ErrorRecord(
                code="engine_failed",
                message=f"The deployed backend is older than the gateway and does not know {unknown}: "
                "run `gateway backend deploy`.",
            )
        return replace(job, timeout_s=min(job.timeout_s, self._limit_s))

    def _on_thread(self, work: Callable[[Callable[[], bool]], T]) -> T:
        stop = threading.Event()
        future: concurrent.futures.Future[T] | None = None
        try:
            future = self._thread.submit(work, stop.is_set)
            return future.result()
        finally:
            stop.set()
            if future is not None:
                concurrent.futures.wait([future])

    def _answer(self, jobs: list[EngineJob], should_stop: Callable[[], bool]) -> list[Done | ErrorRecord]:
        def tell(news: Running) -> None:
            for job in jobs:
                self._board.post(job.id, news)

        try:
            whole = {job.pipeline.source: self._models.find(job.pipeline.source) for job in jobs}
            answers = self._engine_answers(jobs, tell, should_stop)
            if not all(whole.values()):
                # Before the next job, and after the answer to this one.
                self._thread.submit(self._keep)
        except Exception as error:
            # No exception leaves the container: its class may not exist in the gateway.
            _logger.exception("the jobs %s failed", [job.id for job in jobs])
            record = ErrorRecord(code="engine_failed", message=f"The backend failed: {type(error).__name__}.")
            return [record for _ in jobs]
        finally:
            for job in jobs:
                self._board.drop(job.id)
        return answers

    def _keep(self) -> None:
        try:
            self._models.keep()
        except Exception:
            _logger.exception("what was downloaded is not kept")

    def _engine_answers(
        self, jobs: list[EngineJob], tell: Callable[[Running], None], should_stop: Callable[[], bool]
    ) -> list[Done | ErrorRecord]:
        if len(jobs) == 1:
            return [self._engine.run(jobs[0], tell, should_stop)]
        return self._engine.run_many(jobs, tell, should_stop)


def _unknown(raw: Any) -> str:
    """The names in a job's map that its structs here do not have."""
    parts = [(raw, EngineJob), (raw["pipeline"], PipelineSpec)]
    parts += [(lora, Lora) for lora in raw.get("loras", ())]
    names = {name for part, kind in parts for name in part if name not in kind.__struct_fields__}
    return ", ".join(sorted(names))
