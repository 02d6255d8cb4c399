"""What the engine says of itself is told, and that it says nothing."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import msgspec
import pytest
from support.job_world import World
from support.scraped import Scraped

from gateway.observe.collect import EVERY_S, Figures
from gateway.observe.engine import PATIENCE_S, engine_of
from gateway.settings import load_settings
from providers.diffusers_modal.wire import (
    MAX_FROM_ENGINE,
    MAX_HELLO,
    ErrorRecord,
    Health,
    HealthReply,
    Reply,
    Welcome,
    decode_hello,
    decode_request,
    encode,
    read_frame,
    write_frame,
)

TOKEN = "t" * 32
BUSY = HealthReply(
    pid=1, version="1", model="sdxl", queued=3, running=2, device="cuda", resident_bytes=4_000_000_000,
    device_used_bytes=9_000_000_000, device_total_bytes=48_000_000_000, models=("sdxl",), jobs_done=7, jobs_failed=1,
    busy_seconds=12.5,
)  # fmt: skip
Answer = Callable[[], Awaitable[Reply | bytearray]]


@asynccontextmanager
async def engine(answer: Answer) -> AsyncIterator[str]:
    """Something that speaks the wire's protocol; its `host:port`."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hello = decode_hello(await read_frame(reader, MAX_HELLO, 5))
        right = hello.token == TOKEN
        greeting = Welcome() if right else ErrorRecord(code="unauthorized", message="No.")
        await write_frame(writer, encode(greeting, MAX_FROM_ENGINE), 5)
        if right:
            assert decode_request(await read_frame(reader, MAX_HELLO, 5)) == Health()
            said = await answer()
            frame = said if isinstance(said, bytearray) else encode(said, MAX_FROM_ENGINE)
            await write_frame(writer, frame, 5)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


def figures(world: World, address: str, token: str = TOKEN) -> Figures:
    """Of the core, with an engine there."""
    env = {"GATEWAY_ENGINE": address, "GATEWAY_ENGINE_TOKEN": token}
    settings = world.core.settings
    world.core.settings = msgspec.structs.replace(settings, env=env)
    return Figures(world.core)


async def scrape(made: Figures) -> Scraped:
    text, media_type = await made.scrape("")
    return Scraped(text.decode(), media_type)


async def test_what_it_says_is_told_and_asked_once_in_a_while(world: World) -> None:
    asked = 0

    async def answer() -> Reply:
        nonlocal asked
        asked += 1
        return BUSY

    async with engine(answer) as address:
        made = figures(world, address)
        found = await scrape(made)
        assert found.value("gateway_engine_up") == 1
        assert found.all("gateway_engine_memory_bytes") == {
            ("resident",): 4e9, ("device_used",): 9e9, ("device_total",): 48e9
        }  # fmt: skip
        assert found.all("gateway_engine_jobs") == {("queued",): 3, ("running",): 2}
        assert found.value("gateway_engine_busy_seconds_total") == 12.5
        assert found.all("gateway_engine_jobs_ended_total") == {("completed",): 7, ("failed",): 1}
        await asyncio.gather(*(scrape(made) for _ in range(5)))
        assert asked == 1
        world.clock.ahead_s += EVERY_S
        await scrape(made)
        assert asked == 2


async def test_an_older_one_says_less(world: World) -> None:
    """It does not know of memory; and a newer one may say what we do not know."""

    async def answer() -> bytearray:
        body = {"type": "healthy", "pid": 1, "version": "0", "model": None, "queued": 0, "running": 1,
                "device": "cpu", "heat": 3}  # fmt: skip
        frame = msgspec.msgpack.encode(body)
        return bytearray(len(frame).to_bytes(4, "big") + frame)

    async with engine(answer) as address:
        found = await scrape(figures(world, address))
    assert found.value("gateway_engine_up") == 1
    assert found.all("gateway_engine_memory_bytes") == {}
    assert found.value("gateway_engine_jobs", state="running") == 1


async def test_one_that_does_not_answer_is_down(world: World) -> None:
    stuck = asyncio.Event()

    async def never() -> Reply:
        await stuck.wait()
        return BUSY

    async with engine(never) as address:
        begun = asyncio.get_running_loop().time()
        found = await scrape(figures(world, address))
        assert asyncio.get_running_loop().time() - begun >= PATIENCE_S
        assert found.value("gateway_engine_up") == 0
        assert found.all("gateway_engine_jobs") == {}
        refused = await scrape(figures(world, address, token="wrong"))
        assert refused.value("gateway_engine_up") == 0
        stuck.set()
    gone = await scrape(figures(world, address))
    assert gone.value("gateway_engine_up") == 0


@pytest.mark.parametrize("address", ["nonsense", "host:", "host:port"])
def test_an_address_that_is_none_is_no_engine(address: str) -> None:
    assert engine_of(load_settings({"GATEWAY_ENGINE": address})) is None
