"""The engine on a socket: many may ask, one job runs at a time, in the order of arrival; those that were
handed over together run together.

What is kept of ended jobs: their answers, for an hour, and no more than 64 of them or 512 MiB;
past that the oldest goes first. A poll of a job that is gone says `unknown_job`.
"""

import asyncio
import hmac
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from msgspec.structs import replace

from providers.diffusers_modal.engine import Engine
from providers.diffusers_modal.memory import device_bytes, resident_bytes
from providers.diffusers_modal.tally import Tally
from providers.diffusers_modal.wire import (
    MAX_FROM_ENGINE,
    MAX_HELLO,
    MAX_TO_ENGINE,
    Accepted,
    Cancel,
    Done,
    EngineJob,
    ErrorRecord,
    Health,
    HealthReply,
    Poll,
    Queued,
    Reply,
    Request,
    Running,
    Submit,
    SubmitMany,
    Welcome,
    WireError,
    decode_hello,
    decode_request,
    encode,
    read_frame,
    write_frame,
)

__all__ = ["EngineServer", "serve"]

_logger = logging.getLogger(__name__)

_WRITE_PATIENCE_S = 60.0
"""Seconds that a reply may take on top of those for its size: a slower reader is gone."""


class _Job:
    """A job that was taken. `progress` is written by the worker thread, the rest by the loop."""

    def __init__(self, job: EngineJob) -> None:
        self.id = job.id
        self._work: EngineJob | None = job
        self.deadline = time.monotonic() + job.timeout_s
        self.mates: tuple[_Job, ...] = (self,)
        """With which it runs, itself included."""
        self.stop = threading.Event()
        self.progress: Running | None = None
        self.answer: Done | ErrorRecord | None = None
        self.ended_at = 0.0

    def take(self) -> EngineJob:
        """What to do; from here on its input pictures and weights are not kept.

        Raises:
            RuntimeError: it was taken before.
        """
        work, self._work = self._work, None
        if work is None:
            raise RuntimeError("a job runs once")
        return work

    @property
    def size(self) -> int:
        """Bytes of the pictures that are kept for it."""
        images = self.answer.images if isinstance(self.answer, Done) else ()
        return sum(len(image.data) for image in images)


class EngineServer:
    """Answers requests; runs jobs in one worker thread. All methods belong to one event loop.

    Args:
        engine: used by the worker thread alone, but for reading `model` and `device`.
        token: what every `Hello` must carry.
        version: told in `HealthReply`.
        keep_s: seconds that an ended job is known.
        keep_jobs: ended jobs that are known.
        keep_bytes: bytes of pictures that are held for them.
        read_timeout_s: seconds that a connection has to say hello, and again to send its
            request, of a size that is sent in no time; large ones have more.
    """

    def __init__(
        self,
        engine: Engine,
        token: str,
        *,
        version: str = "",
        keep_s: float = 3600.0,
        keep_jobs: int = 64,
        keep_bytes: int = 512 * 1024 * 1024,
        read_timeout_s: float = 10.0,
    ) -> None:
        self._engine = engine
        self._token = token.encode()
        self._version = version
        self._keep_s = keep_s
        self._keep_jobs = keep_jobs
        self._keep_bytes = keep_bytes
        self._read_timeout_s = read_timeout_s
        self._jobs: dict[str, _Job] = {}
        self._queue: deque[_Job] = deque()
        self._ended: deque[_Job] = deque()
        self._running: list[_Job] = []
        self._tally = Tally()
        self._wake = asyncio.Event()
        self._closing = False
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="engine")
        self._task: asyncio.Task[None] | None = None
        self._server: asyncio.Server | None = None
        self.last_request = time.monotonic()
        """When a request with the right token came last (`time.monotonic`)."""

    async def start(self, host: str, port: int) -> int:
        """Listen, and begin to work; returns the port, which is a free one when 0 was given.

        Raises:
            OSError: the address cannot be had.
        """
        self._server = await asyncio.start_server(self._connection, host, port)
        self._task = asyncio.create_task(self._work())
        return int(self._server.sockets[0].getsockname()[1])

    def warm(self) -> None:
        """Have the worker import its libraries before the first job comes."""
        # What fails here fails again, and is told, in the first job.
        self._worker.submit(self._engine.warm)

    async def close(self, grace_s: float = 5.0) -> bool:
        """Stop listening, cancel all jobs and wait for the one that runs.

        Returns:
            False when the worker was still busy after `grace_s` seconds: loading weights
            cannot be interrupted.
        """
        if self._server is None or self._task is None:
            return True
        self._server.close()
        self._closing = True
        for job in list(self._queue):
            self._cancel(job.id)
        for job in self._running:
            job.stop.set()
        self._wake.set()
        _, busy = await asyncio.wait({self._task}, timeout=grace_s)
        self._worker.shutdown(wait=False)
        for task in busy:
            task.cancel()
            await asyncio.wait({task})
        return not busy

    async def _work(self) -> None:
        while not self._closing:
            if not self._queue:
                self._wake.clear()
                await self._wake.wait()
                continue
            # Those of them that were canceled, or that ran before, are not in the queue.
            jobs = [job for job in self._queue[0].mates if job in self._queue]
            for job in jobs:
                self._queue.remove(job)
            self._running = jobs
            self._tally.begin()
            answers = await self._run(jobs)
            self._tally.rest()
            self._running = []
            for job, answer in zip(jobs, answers, strict=True):
                if job.answer is None:
                    self._end(job, answer)

    async def _run(self, jobs: Sequence[_Job]) -> Sequence[Done | ErrorRecord]:
        """Run jobs together; one answer each, in their order."""
        now = time.monotonic()
        late = ErrorRecord(code="timeout", message="The job's time was over before its turn came.")
        works = {job: replace(job.take(), timeout_s=job.deadline - now) for job in jobs}
        alive = [job for job in jobs if job.deadline > now]
        if not alive:
            return [late for _ in jobs]
        answers = dict(zip(alive, await self._on_engine(alive, [works[job] for job in alive]), strict=True))
        return [answers.get(job, late) for job in jobs]

    async def _on_engine(
        self, jobs: Sequence[_Job], works: Sequence[EngineJob]
    ) -> Sequence[Done | ErrorRecord]:
        def progress(step: Running) -> None:
            for job in jobs:
                job.progress = step

        def should_stop() -> bool:
            return all(job.stop.is_set() for job in jobs)

        loop = asyncio.get_running_loop()
        try:
            if len(works) > 1:
                run_many = self._engine.run_many
                return await loop.run_in_executor(self._worker, run_many, works, progress, should_stop)
            run = self._engine.run
            return [await loop.run_in_executor(self._worker, run, works[0], progress, should_stop)]
        except Exception as error:
            # The engine promises not to raise; a server that dies of a bug helps nobody.
            _logger.exception("the jobs %s broke the engine", [work.id for work in works])
            record = ErrorRecord(code="engine_failed", message=f"The engine failed: {type(error).__name__}.")
            return [record for _ in works]

    def _end(self, job: _Job, answer: Done | ErrorRecord) -> None:
        job.answer = answer
        self._tally.count(answer)
        job.ended_at = time.monotonic()
        self._ended.append(job)
        self._drop_old()

    def _drop_old(self) -> None:
        """Forget ended jobs, oldest first, until what is kept is within the limits."""
        held = sum(job.size for job in self._ended)
        now = time.monotonic()
        while self._ended:
            oldest = self._ended[0]
            late = now - oldest.ended_at > self._keep_s
            # The last one stays whatever its size is: somebody is about to ask for it.
            many = len(self._ended) > self._keep_jobs or (held > self._keep_bytes and len(self._ended) > 1)
            if not (late or many):
                return
            held -= oldest.size
            self._ended.popleft()
            del self._jobs[oldest.id]

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            hello = await read_frame(reader, MAX_HELLO, self._read_timeout_s)
            answer = self._greet(hello)
            await write_frame(writer, _frame(answer), _WRITE_PATIENCE_S)
            if isinstance(answer, Welcome):
                body = await read_frame(reader, MAX_TO_ENGINE, self._read_timeout_s)
                await write_frame(writer, _frame(self._answer(body)), _WRITE_PATIENCE_S)
        except (WireError, TimeoutError, ConnectionError) as error:
            # Whoever it is has no request for us, or has gone: close, and say so in the log.
            _logger.info("connection dropped: %r", error)
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    def _greet(self, body: bytearray) -> Welcome | ErrorRecord:
        try:
            hello = decode_hello(body)
        except WireError as error:
            return ErrorRecord(code="bad_parameter", message=f"The engine got {error}.")
        if not hmac.compare_digest(hello.token.encode(), self._token):
            return ErrorRecord(code="unauthorized", message="The token is not this engine's.")
        self.last_request = time.monotonic()
        return Welcome()

    def _answer(self, body: bytearray) -> Reply:
        try:
            request = decode_request(body)
        except WireError as error:
            return ErrorRecord(code="bad_parameter", message=f"The engine got {error}.")
        # Again: what was large took a while to come.
        self.last_request = time.monotonic()
        self._drop_old()
        return self._dispatch(request)

    def _dispatch(self, request: Request) -> Reply:
        match request:
            case Health():
                return self._health()
            case Submit(job=job):
                return self._submit([job])
            case SubmitMany(jobs=jobs):
                return self._submit(jobs)
            case Poll(id=id_):
                return self._poll(id_)
            case Cancel(id=id_):
                return self._cancel(id_)

    def _health(self) -> HealthReply:
        device, tally = device_bytes(self._engine.device), self._tally
        return HealthReply(
            pid=os.getpid(),
            version=self._version,
            model=self._engine.model,
            queued=len(self._queue),
            running=len(self._running),
            device=self._engine.device,
            device_name=self._engine.device_name,
            models=() if self._engine.model is None else (self._engine.model,),
            resident_bytes=resident_bytes(),
            device_used_bytes=None if device is None else device[0],
            device_total_bytes=None if device is None else device[1],
            jobs_done=tally.done,
            jobs_failed=tally.failed,
            jobs_canceled=tally.canceled,
            busy_seconds=tally.busy_s,
        )

    def _submit(self, jobs: Sequence[EngineJob]) -> Accepted:
        new = {job.id: _Job(job) for job in jobs if job.id not in self._jobs}
        for taken in new.values():
            taken.mates = tuple(new.values())
        self._jobs.update(new)
        self._queue.extend(new.values())
        self._wake.set()
        return Accepted()

    def _poll(self, id_: str) -> Reply:
        job = self._jobs.get(id_)
        if job is None:
            return ErrorRecord(code="unknown_job", message="The engine does not know this job.")
        if job.answer is not None:
            return job.answer
        if job in self._running:
            return job.progress or Running(phase="load")
        return Queued(position=self._queue.index(job) + len(self._running))

    def _cancel(self, id_: str) -> Accepted:
        job = self._jobs.get(id_)
        if job is not None:
            job.stop.set()
            canceled = ErrorRecord(code="canceled", message="The job was canceled.")
            if job in self._queue:
                self._queue.remove(job)
                job.take()
                self._end(job, canceled)
            elif job in self._running and not all(mate.stop.is_set() for mate in self._running):
                # The others' call goes on; what it makes for this one is dropped.
                self._end(job, canceled)
        return Accepted()


def _frame(reply: Reply) -> bytearray:
    try:
        return encode(reply, MAX_FROM_ENGINE)
    except WireError as error:
        record = ErrorRecord(code="engine_failed", message=f"The pictures cannot be sent: {error}.")
        return encode(record, MAX_FROM_ENGINE)


async def serve(
    engine: Engine,
    host: str,
    port: int,
    token: str,
    *,
    stop: asyncio.Event,
    on_ready: Callable[[EngineServer, int], None] = lambda _server, _port: None,
    version: str = "",
) -> bool:
    """Serve until `stop` is set; returns `EngineServer.close`'s word.

    Args:
        engine: what runs the jobs.
        host: address to listen on.
        port: port to listen on; 0 for a free one.
        token: what every `Hello` must carry.
        stop: set it to end.
        on_ready: called with the server and its port once it listens.
        version: told in `HealthReply`.

    Raises:
        OSError: the address cannot be had.
    """
    server = EngineServer(engine, token, version=version)
    try:
        on_ready(server, await server.start(host, port))
        await stop.wait()
    finally:
        idle = await server.close()
    return idle
