"""What is said comes through; what is too large, cut, or nonsense is told."""

import asyncio

import msgspec
import pytest
from msgspec import Struct
from msgspec.structs import replace
from support.engines import job

from providers.diffusers_modal.wire import (
    MAX_TO_ENGINE,
    Done,
    HealthReply,
    Lora,
    Picture,
    Submit,
    WireError,
    decode_hello,
    decode_reply,
    decode_request,
    encode,
    read_frame,
    seconds_for,
    write_frame,
)


class OlderReply(Struct, frozen=True, kw_only=True, tag="healthy"):
    """As an engine of 0.1 told it."""

    pid: int
    version: str
    model: str | None
    queued: int
    running: int
    device: str | None
    device_name: str | None = None


OLD = {"pid": 1, "version": "0.1", "model": None, "queued": 0, "running": 0, "device": None}


def test_an_older_engine_says_less_and_is_understood():
    reply = decode_reply(msgspec.msgpack.encode(OlderReply(**OLD)))
    assert reply == HealthReply(**OLD)
    assert (reply.resident_bytes, reply.models, reply.jobs_done, reply.busy_seconds) == (None, (), 0, 0.0)


def test_an_older_gateway_understands_what_a_newer_engine_says():
    said = HealthReply(**OLD, resident_bytes=1, models=("a",), jobs_done=2, busy_seconds=1.5)
    assert msgspec.msgpack.decode(encode(said, 1000)[4:], type=OlderReply) == OlderReply(**OLD)


def reader(data):
    stream = asyncio.StreamReader()
    stream.feed_data(data)
    stream.feed_eof()
    return stream


async def test_a_request_comes_through():
    weights = Lora(sha256="0" * 64, data=bytes(range(256)), scale=0.5)
    work = replace(job(), loras=(weights,), images={"image": b"\x89PNG"})
    body = await read_frame(reader(encode(Submit(job=work), MAX_TO_ENGINE)), MAX_TO_ENGINE, 1)
    assert decode_request(body) == Submit(job=work)


async def test_a_frame_of_many_pieces_comes_through():
    work = replace(job(), images={"image": bytes(range(256)) * 20_000})
    server_side = asyncio.get_running_loop().create_future()

    async def hear(reader, writer):
        server_side.set_result(await read_frame(reader, MAX_TO_ENGINE, 5))
        writer.close()

    server = await asyncio.start_server(hear, "127.0.0.1", 0)
    _, writer = await asyncio.open_connection("127.0.0.1", server.sockets[0].getsockname()[1])
    await write_frame(writer, encode(Submit(job=work), MAX_TO_ENGINE), 5)
    assert decode_request(await server_side) == Submit(job=work)
    writer.close()
    server.close()
    await server.wait_closed()


async def test_one_who_does_not_read_is_waited_for_no_longer_than_its_patience():
    async def hear(reader, writer):
        await left.wait()
        writer.close()

    left = asyncio.Event()
    server = await asyncio.start_server(hear, "127.0.0.1", 0, limit=1024)
    _, writer = await asyncio.open_connection("127.0.0.1", server.sockets[0].getsockname()[1])
    work = replace(job(), images={"image": bytes(2**25)})
    frame = encode(Submit(job=work), MAX_TO_ENGINE)
    with pytest.raises(TimeoutError):
        # As many seconds less as it may take for its size.
        await write_frame(writer, frame, 0.2 - seconds_for(len(frame)))
    writer.transport.abort()
    left.set()
    server.close()
    await server.wait_closed()


async def test_a_frame_that_does_not_come_is_waited_for_no_longer_than_its_patience():
    silent = asyncio.StreamReader()
    with pytest.raises(TimeoutError):
        await read_frame(silent, 1000, 0.05)
    silent.feed_data((1000).to_bytes(4, "big") + b"half")
    with pytest.raises(TimeoutError):
        await read_frame(silent, 1000, 0.05)


def test_a_large_transfer_has_more_time():
    assert seconds_for(MAX_TO_ENGINE) > 100 * seconds_for(1024 * 1024) > 0


async def test_a_reply_comes_through():
    picture = Picture(data=b"\x89PNG", content_type="image/png", seed=2**62, width=8, height=8)
    reply = Done(images=(picture,), load_seconds=0.0, run_seconds=1.5)
    assert decode_reply(await read_frame(reader(encode(reply, 1000)), 1000, 1)) == reply


def test_what_is_too_large_is_not_made():
    with pytest.raises(WireError, match="most"):
        encode(Submit(job=job(prompt="x" * 1000)), 1000)


def test_what_msgpack_cannot_carry_is_told():
    with pytest.raises(WireError, match="encoded"):
        encode(Submit(job=job(image=object())), MAX_TO_ENGINE)


async def test_too_large_a_frame_is_refused_by_its_head():
    with pytest.raises(WireError, match="most"):
        await read_frame(reader(b"\x00\x00\x04\x01"), 1024, 1)


@pytest.mark.parametrize("data", [b"", b"\x00\x00", b"\x00\x00\x00\x04abc"])
async def test_half_a_frame_is_told(data):
    with pytest.raises(WireError, match="ended"):
        await read_frame(reader(data), 1024, 1)


@pytest.mark.parametrize("body", [b"", b"\xc1", b"\x01", b"\x81\xa4type\xa3zzz", b"\x91" * 5000])
def test_what_is_no_message_is_told(body):
    with pytest.raises(WireError, match="not a hello"):
        decode_hello(body)
    with pytest.raises(WireError, match="not a request"):
        decode_request(body)
    with pytest.raises(WireError, match="not a reply"):
        decode_reply(body)
