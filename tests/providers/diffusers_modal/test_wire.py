import asyncio

import pytest
from support.engines import job

from providers.diffusers_modal.wire import (
    MAX_TO_ENGINE,
    Done,
    Picture,
    Submit,
    WireError,
    decode_reply,
    decode_request,
    encode,
    read_frame,
)


def reader(data):
    stream = asyncio.StreamReader()
    stream.feed_data(data)
    stream.feed_eof()
    return stream


async def test_a_request_comes_through():
    request = Submit(token="t", job=job(loras=[{"path": "x", "scale": 0.5}]))
    body = await read_frame(reader(encode(request, MAX_TO_ENGINE)), MAX_TO_ENGINE)
    assert decode_request(body) == request


async def test_a_reply_comes_through():
    picture = Picture(data=b"\x89PNG", content_type="image/png", seed=2**62, width=8, height=8)
    reply = Done(images=(picture,), load_seconds=0.0, run_seconds=1.5)
    assert decode_reply(await read_frame(reader(encode(reply, 1000)), 1000)) == reply


def test_what_is_too_large_is_not_made():
    with pytest.raises(WireError, match="most"):
        encode(Submit(token="t", job=job(prompt="x" * MAX_TO_ENGINE)), MAX_TO_ENGINE)


def test_what_msgpack_cannot_carry_is_told():
    with pytest.raises(WireError, match="encoded"):
        encode(Submit(token="t", job=job(image=object())), MAX_TO_ENGINE)


async def test_too_large_a_frame_is_refused_by_its_head():
    with pytest.raises(WireError, match="most"):
        await read_frame(reader(b"\x00\x00\x04\x01"), 1024)


@pytest.mark.parametrize("data", [b"", b"\x00\x00", b"\x00\x00\x00\x04abc"])
async def test_half_a_frame_is_told(data):
    with pytest.raises(WireError, match="ended"):
        await read_frame(reader(data), 1024)


@pytest.mark.parametrize("body", [b"", b"\xc1", b"\x01", b"\x81\xa4type\xa3zzz", b"\x91" * 5000])
def test_what_is_no_message_is_told(body):
    with pytest.raises(WireError, match="not a request"):
        decode_request(body)
    with pytest.raises(WireError, match="not a reply"):
        decode_reply(body)
