"""The engine on a socket: many may ask, one job runs at a time, in the order of arrival.

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
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from msgspec.structs import replace

from providers.diffusers_modal.engine import Engine
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
        self._running: _Job | None = None
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
        if self._running is not None:
            self._running.stop.set()
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
            job = self._running = self._queue.popleft()
            answer = await self._run(job, job.take())
            self._running = None
            self._end(job, answer)

    async def _run(self, job: _Job, work: EngineJob) -> Done | ErrorRecord:
        def progress(step: Running) -> None:
            job.progress = step

        left = job.deadline - time.monotonic()
        if left <= 0:
            return ErrorRecord(code="timeout", message="The job's time was over before its turn came.")
        work = replace(work, timeout_s=left)
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._worker, self._engine.run, work, progress, job.stop.is_set)
        except Exception as error:
            # The engine promises not to raise; a server that dies of a bug helps nobody.
            _logger.exception("job %s broke the engine", work.id)
            return ErrorRecord(code="engine_failed", message=f"The engine failed: {type(error).__name__}.")

    def _end(self, job: _Job, answer: Done | ErrorRecord) -> None:
        job.answer = answer
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
                return self._submit(job)
            case Poll(id=id_):
                return self._poll(id_)
            case Cancel(id=id_):
                return self._cancel(id_)

    def _health(self) -> HealthReply:
        return HealthReply(
            pid=os.getpid(),
            version=self._version,
            model=self._engine.model,
            queued=len(self._queue),
            running=int(self._running is not None),
            device=self._engine.device,
            device_name=self._engine.device_name,
        )

    def _submit(self, job: EngineJob) -> Accepted:
        if job.id not in self._jobs:
            self._jobs[job.id] = taken = _Job(job)
            self._queue.append(taken)
            self._wake.set()
        return Accepted()

    def _poll(self, id_: str) -> Reply:
        job = self._jobs.get(id_)
        if job is None:
            return ErrorRecord(code="unknown_job", message="The engine does not know this job.")
        if job.answer is not None:
            return job.answer
        if job is self._running:
            return job.progress or Running(phase="load")
        return Queued(position=self._queue.index(job) + (self._running is not None))

    def _cancel(self, id_: str) -> Accepted:
        job = self._jobs.get(id_)
        if job is not None:
            job.stop.set()
            if job in self._queue:
                self._queue.remove(job)
                job.take()
                self._end(job, ErrorRecord(code="canceled", message="The job was canceled."))
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
