"""What a gateway and an engine say to each other.

A frame is a 4-byte big-endian length and that many bytes of msgpack: one message. A connection
carries a `Hello` and its answer, then one request and one reply. So nobody without the token can
make an engine read, or hold, more than a few thousand bytes; and whoever is refused knows that
his request was not taken, as it was not sent.

Everything that goes wrong travels as an `ErrorRecord` with a plain code; no exception class
crosses, so neither side needs the other's libraries.
"""

import asyncio
from typing import Any, Literal

import msgspec
from msgspec import Struct

__all__ = [
    "MAX_FROM_ENGINE",
    "MAX_HELLO",
    "MAX_TO_ENGINE",
    "Accepted",
    "Cancel",
    "Done",
    "EngineJob",
    "ErrorCode",
    "ErrorRecord",
    "Health",
    "HealthReply",
    "Hello",
    "Lora",
    "Picture",
    "PipelineSpec",
    "Poll",
    "Queued",
    "Reply",
    "Request",
    "Running",
    "Submit",
    "SubmitMany",
    "Welcome",
    "WireError",
    "decode_hello",
    "decode_reply",
    "decode_request",
    "encode",
    "frame_length",
    "read_frame",
    "seconds_for",
    "write_frame",
]

MAX_HELLO = 4096
"""Bytes of a `Hello`."""
MAX_TO_ENGINE = 320 * 1024 * 1024
"""Bytes of a request: weights and pictures travel in it."""
MAX_FROM_ENGINE = 256 * 1024 * 1024
"""Bytes of a reply."""
_SLOWEST = 1024 * 1024
"""Bytes a second that a connection must carry at least."""
_PIECE = 1024 * 1024

ErrorCode = Literal[
    "bad_parameter",
    "unknown_scheduler",
    "out_of_memory",
    "bad_weights",
    "canceled",
    "timeout",
    "unknown_job",
    "unauthorized",
    "engine_failed",
]


class WireError(Exception):
    """A frame that is too large, cut short, or not a message of this protocol."""


class PipelineSpec(Struct, frozen=True, kw_only=True):
    """What to load: `registry.schema.Pipeline` without its tier, which the engine cannot know."""

    source: str
    pipeline_class: str
    dtype: Literal["float32", "float16", "bfloat16"] = "float32"
    device_map: str | None = None
    variant: str | None = None
    sizes: tuple[tuple[int, int], ...] = ()
    """Widths and heights that it draws well, its own first; other ones come of these (`finish.py`).
    None named: it draws every size itself."""
    defaults: dict[str, Any] = {}
    """Parameters of a job that does not set them."""


class Lora(Struct, frozen=True, kw_only=True):
    """Weights laid over a pipeline for one job."""

    sha256: str
    data: bytes
    """A .safetensors file."""
    scale: float = 1.0


class EngineJob(Struct, frozen=True, kw_only=True):
    """One request for pictures."""

    id: str
    """Chosen by the caller; a second submit with it is the same job."""
    pipeline: PipelineSpec
    parameters: dict[str, Any]
    """Arguments of the pipeline's call, and `seed` and `scheduler`."""
    images: dict[str, bytes] = {}
    """PNG or JPEG files, by the names that they have in the pipeline's call: `image`, `mask_image`."""
    loras: tuple[Lora, ...] = ()
    num_images: int = 1
    timeout_s: float
    """Seconds from the submit to the deadline, waiting included."""


class Hello(Struct, frozen=True, kw_only=True, tag="hello"):
    """Opens a connection. Answered with `Welcome`, or with an `ErrorRecord` and the end."""

    token: str


class Welcome(Struct, frozen=True, kw_only=True, tag="welcome"):
    """The token is right: the request may come."""


class Health(Struct, frozen=True, kw_only=True, tag="health"):
    """Is the engine there?"""


class Submit(Struct, frozen=True, kw_only=True, tag="submit"):
    """Take a job."""

    job: EngineJob


class SubmitMany(Struct, frozen=True, kw_only=True, tag="submit_many"):
    """Take several jobs, to be run together; each is polled and canceled by its own id."""

    jobs: tuple[EngineJob, ...]


class Poll(Struct, frozen=True, kw_only=True, tag="poll"):
    """How is a job?"""

    id: str


class Cancel(Struct, frozen=True, kw_only=True, tag="cancel"):
    """End a job."""

    id: str


Request = Health | Submit | SubmitMany | Poll | Cancel


class HealthReply(Struct, frozen=True, kw_only=True, tag="healthy"):
    """The engine as it stands."""

    pid: int
    version: str
    model: str | None
    """Source of the pipeline in memory."""
    queued: int
    running: int
    device: str | None
    """`cpu`, `cuda` or `mps`; None before the first job has loaded torch."""
    device_name: str | None = None
    """The same as its maker calls it, such as `NVIDIA L40S`."""
    resident_bytes: int | None = None
    """Memory of the process; None where nobody knows, or of an older engine."""
    device_used_bytes: int | None = None
    """Memory of the device that is in use, by whomever; None on a CPU."""
    device_total_bytes: int | None = None
    models: int = 0
    """Pipelines in memory."""
    jobs_done: int = 0
    """Since the engine was started."""
    jobs_failed: int = 0
    busy_seconds: float = 0.0
    """That it has spent on jobs."""


class Accepted(Struct, frozen=True, kw_only=True, tag="accepted"):
    """A submit was taken (now or before), or a cancel was heard."""


class Queued(Struct, frozen=True, kw_only=True, tag="queued"):
    """Waiting."""

    position: int
    """Jobs ahead of this one, the running one included."""


class Running(Struct, frozen=True, kw_only=True, tag="running"):
    """Under way."""

    phase: Literal["load", "prior", "denoise", "decode"]
    """`prior`: a language model writes what the steps then paint; it has no steps of its own."""
    step: int = 0
    """Steps done, over all the pictures of the job."""
    steps: int = 0


class Picture(Struct, frozen=True, kw_only=True):
    """One picture."""

    data: bytes
    content_type: str
    seed: int
    width: int
    height: int


class Done(Struct, frozen=True, kw_only=True, tag="done"):
    """Ended well."""

    images: tuple[Picture, ...]
    load_seconds: float
    """0 when the pipeline was in memory already."""
    run_seconds: float
    device: str = ""
    """What it ran on, as its maker calls it."""


class ErrorRecord(Struct, frozen=True, kw_only=True, tag="error"):
    """Ended badly, or refused."""

    code: ErrorCode
    message: str
    """A sentence or two for people; no path, no secret, no stack trace."""


Reply = Welcome | HealthReply | Accepted | Queued | Running | Done | ErrorRecord

_encoder = msgspec.msgpack.Encoder()
_hellos: msgspec.msgpack.Decoder[Hello] = msgspec.msgpack.Decoder(Hello)
_requests: msgspec.msgpack.Decoder[Request] = msgspec.msgpack.Decoder(Request)
_replies: msgspec.msgpack.Decoder[Reply] = msgspec.msgpack.Decoder(Reply)


def encode(message: Hello | Request | Reply, limit: int) -> bytearray:
    """A whole frame, length included.

    Raises:
        WireError: it would be larger than `limit` bytes, or holds what msgpack cannot carry.
    """
    frame = bytearray(4)
    try:
        # Behind the length, and not put behind it later: that would be a second copy.
        _encoder.encode_into(message, frame, 4)
    except (TypeError, OverflowError, RecursionError) as error:
        raise WireError(f"the message cannot be encoded: {error}") from None
    length = len(frame) - 4
    if length > limit:
        raise WireError(f"the message has {length} bytes, and {limit} is the most")
    frame[:4] = length.to_bytes(4, "big")
    return frame


def decode_hello(body: bytes | bytearray) -> Hello:
    """A hello from the body of a frame.

    Raises:
        WireError: it is none.
    """
    try:
        return _hellos.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise WireError(f"not a hello: {error}") from None


def decode_request(body: bytes | bytearray) -> Request:
    """A request from the body of a frame.

    Raises:
        WireError: it is none.
    """
    try:
        return _requests.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise WireError(f"not a request: {error}") from None


def decode_reply(body: bytes | bytearray) -> Reply:
    """A reply from the body of a frame.

    Raises:
        WireError: it is none.
    """
    try:
        return _replies.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise WireError(f"not a reply: {error}") from None


def frame_length(head: bytes, limit: int) -> int:
    """Bytes of the body that a 4-byte head announces.

    Raises:
        WireError: more than `limit`.
    """
    length = int.from_bytes(head, "big")
    if length > limit:
        raise WireError(f"a frame of {length} bytes, and {limit} is the most")
    return length


def seconds_for(size: int) -> float:
    """How long so many bytes may take on their way."""
    return size / _SLOWEST


async def read_frame(reader: asyncio.StreamReader, limit: int, patience_s: float) -> bytearray:
    """The body of the next frame.

    Args:
        reader: at the start of a frame.
        limit: bytes of the body.
        patience_s: seconds for its start to come, and those that its body may take on top of
            `seconds_for` it.

    Raises:
        WireError: the frame is larger than `limit` bytes, or the stream ended before its end.
        TimeoutError: it took too long.
    """
    body = bytearray()
    try:
        async with asyncio.timeout(patience_s):
            length = frame_length(await reader.readexactly(4), limit)
        async with asyncio.timeout(patience_s + seconds_for(length)):
            # In pieces, so that what is held is what came, and no copy of it is made.
            while len(body) < length:
                body += await reader.readexactly(min(_PIECE, length - len(body)))
    except asyncio.IncompleteReadError:
        raise WireError("the connection ended before the frame did") from None
    return body


async def write_frame(writer: asyncio.StreamWriter, frame: bytearray, patience_s: float) -> None:
    """Send a frame of `encode`.

    Args:
        writer: open.
        frame: length included.
        patience_s: seconds that it may take on top of `seconds_for` it.

    Raises:
        TimeoutError: it took too long.
        ConnectionError: the other side is gone.
    """
    async with asyncio.timeout(patience_s + seconds_for(len(frame))):
        # In pieces, so that the loop does other things between them.
        with memoryview(frame) as view:
            for start in range(0, len(frame), _PIECE):
                writer.write(bytes(view[start : start + _PIECE]))
                await writer.drain()
