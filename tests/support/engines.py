"""Helpers around a real diffusers engine."""

import asyncio
import io
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
from PIL import Image

from providers.diffusers_modal.wire import (
    MAX_FROM_ENGINE,
    MAX_HELLO,
    MAX_TO_ENGINE,
    Done,
    EngineJob,
    ErrorRecord,
    Hello,
    PipelineSpec,
    Poll,
    Queued,
    Reply,
    Request,
    Running,
    Welcome,
    decode_reply,
    encode,
    read_frame,
)

TOKEN = "t0ken"
MINI = PipelineSpec(source="embedded:mini", pipeline_class="StableDiffusionPipeline")


def job(
    id_: str = "job",
    *,
    pipeline: PipelineSpec = MINI,
    num_images: int = 1,
    timeout_s: float = 60.0,
    **parameters: Any,
) -> EngineJob:
    """A small picture, about 0.1 s of work."""
    chosen = {"prompt": "a red cat", "width": 64, "height": 64, "num_inference_steps": 4, "seed": 1}
    return EngineJob(
        id=id_,
        pipeline=pipeline,
        parameters=chosen | parameters,
        num_images=num_images,
        timeout_s=timeout_s,
    )


def long_job(id_: str = "long", **parameters: Any) -> EngineJob:
    """Minutes of work in steps of some ten milliseconds."""
    return job(id_, num_inference_steps=1000, num_images=64, **parameters)


def made(answer: Done | ErrorRecord) -> Done:
    assert isinstance(answer, Done), answer
    return answer


def code(answer: Done | ErrorRecord) -> str:
    assert isinstance(answer, ErrorRecord), answer
    assert answer.message
    return answer.code


def pixels(data: bytes) -> numpy.ndarray:
    """(height, width, 3) of signed numbers, so that they can be subtracted."""
    return numpy.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)


async def ask(port: int, request: Request, token: str = TOKEN) -> Reply:
    """One request on a connection of its own."""
    return await ask_raw(port, encode(Hello(token=token), MAX_HELLO), encode(request, MAX_TO_ENGINE))


async def ask_raw(port: int, *frames: bytes) -> Reply:
    """The answer to the last frame, or the one that is no welcome."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for frame in frames:
            writer.write(frame)
            await writer.drain()
            reply = decode_reply(await read_frame(reader, MAX_FROM_ENGINE, 30))
            if not isinstance(reply, Welcome):
                break
        return reply
    finally:
        writer.close()


async def until(port: int, id_: str, stop: Callable[[Reply], bool], timeout_s: float = 60.0) -> Reply:
    """Poll a job until `stop` likes the reply."""
    async with asyncio.timeout(timeout_s):
        while not stop(reply := await ask(port, Poll(id=id_))):
            await asyncio.sleep(0.01)
    return reply


def ended(reply: Reply) -> bool:
    return isinstance(reply, Done | ErrorRecord)


def denoising(reply: Reply) -> bool:
    assert isinstance(reply, Queued | Running), reply
    return isinstance(reply, Running) and reply.step > 0


def wait(condition: Callable[[], bool], timeout_s: float = 30.0) -> None:
    """Until the condition holds."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def engine_command(data_dir: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "providers.diffusers_modal.process", "--data-dir", str(data_dir), *more]
