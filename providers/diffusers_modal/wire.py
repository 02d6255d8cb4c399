"""What a gateway and an engine say to each other.

A frame is a 4-byte big-endian length and that many bytes of msgpack: one request, or one reply.
A connection carries one request and one reply. Everything that goes wrong travels as an
`ErrorRecord` with a plain code; no exception class crosses, so neither side needs the other's
libraries.
"""

import asyncio
from typing import Any, Literal

import msgspec
from msgspec import Struct

__all__ = [
    "MAX_FROM_ENGINE",
    "MAX_TO_ENGINE",
    "Accepted",
    "Cancel",
    "Done",
    "EngineJob",
    "ErrorCode",
    "ErrorRecord",
    "Health",
    "HealthReply",
    "Picture",
    "PipelineSpec",
    "Poll",
    "Queued",
    "Reply",
    "Request",
    "Running",
    "Submit",
    "WireError",
    "decode_reply",
    "decode_request",
    "encode",
    "frame_length",
    "read_frame",
]

MAX_TO_ENGINE = 1024 * 1024
"""Bytes of a request; checked before the body is read."""
MAX_FROM_ENGINE = 256 * 1024 * 1024
"""Bytes of a reply."""

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


class EngineJob(Struct, frozen=True, kw_only=True):
    """One request for pictures."""

    id: str
    """Chosen by the caller; a second submit with it is the same job."""
    pipeline: PipelineSpec
    parameters: dict[str, Any]
    """Arguments of the pipeline's call, and `seed` and `scheduler`."""
    num_images: int = 1
    timeout_s: float
    """Seconds from the submit to the deadline, waiting included."""


class Health(Struct, frozen=True, kw_only=True, tag="health"):
    """Is the engine there?"""

    token: str


class Submit(Struct, frozen=True, kw_only=True, tag="submit"):
    """Take a job."""

    token: str
    job: EngineJob


class Poll(Struct, frozen=True, kw_only=True, tag="poll"):
    """How is a job?"""

    token: str
    id: str


class Cancel(Struct, frozen=True, kw_only=True, tag="cancel"):
    """End a job."""

    token: str
    id: str


Request = Health | Submit | Poll | Cancel


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


class Accepted(Struct, frozen=True, kw_only=True, tag="accepted"):
    """A submit was taken (now or before), or a cancel was heard."""


class Queued(Struct, frozen=True, kw_only=True, tag="queued"):
    """Waiting."""

    position: int
    """Jobs ahead of this one, the running one included."""


class Running(Struct, frozen=True, kw_only=True, tag="running"):
    """Under way."""

    phase: Literal["load", "denoise", "decode"]
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


class ErrorRecord(Struct, frozen=True, kw_only=True, tag="error"):
    """Ended badly, or refused."""

    code: ErrorCode
    message: str
    """A sentence or two for people; no path, no secret, no stack trace."""


Reply = HealthReply | Accepted | Queued | Running | Done | ErrorRecord

_encoder = msgspec.msgpack.Encoder()
_requests: msgspec.msgpack.Decoder[Request] = msgspec.msgpack.Decoder(Request)
_replies: msgspec.msgpack.Decoder[Reply] = msgspec.msgpack.Decoder(Reply)


def encode(message: Request | Reply, limit: int) -> bytes:
    """A whole frame, length included.

    Raises:
        WireError: it would be larger than `limit` bytes, or holds what msgpack cannot carry.
    """
    try:
        body = _encoder.encode(message)
    except (TypeError, OverflowError, RecursionError) as error:
        raise WireError(f"the message cannot be encoded: {error}") from None
    if len(body) > limit:
        raise WireError(f"the message has {len(body)} bytes, and {limit} is the most")
    return len(body).to_bytes(4, "big") + body


def decode_request(body: bytes) -> Request:
    """A request from the body of a frame.

    Raises:
        WireError: it is none.
    """
    try:
        return _requests.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise WireError(f"not a request: {error}") from None


def decode_reply(body: bytes) -> Reply:
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


async def read_frame(reader: asyncio.StreamReader, limit: int) -> bytes:
    """The body of the next frame.

    Raises:
        WireError: the frame is larger than `limit` bytes, or the stream ended before its end.
    """
    try:
        head = await reader.readexactly(4)
        return await reader.readexactly(frame_length(head, limit))
    except asyncio.IncompleteReadError:
        raise WireError("the connection ended before the frame did") from None
