"""Server-sent events as bytes, and what becomes of a stream whose client is gone."""

import asyncio
from collections.abc import AsyncGenerator

import pytest

from gateway.event_views import LogEvent
from gateway.jobs.events import Event
from gateway.routes.events import EventStream, message

SCOPE = {"type": "http", "method": "GET"}


def test_an_event_is_four_lines() -> None:
    event = Event(name="log", data=LogEvent(first=2, lines=("a\nb", "ü")), id="4.0")
    text = 'id: 4.0\nevent: log\ndata: {"first":2,"lines":["a\\nb","ü"]}\n\n'
    assert message(event).decode() == text


class Client:
    """The server's side of a connection. It takes some chunks, then no more, and hangs up when it is told to."""

    def __init__(self, takes: int) -> None:
        self.takes = takes
        self.got: list[bytes] = []
        self.full, self.gone = asyncio.Event(), asyncio.Event()

    async def receive(self):
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, event) -> None:
        if event["type"] == "http.response.start":
            self.headers = {name.decode(): value.decode() for name, value in event["headers"]}
            return
        self.got.append(event["body"])
        if len(self.got) >= self.takes:
            self.full.set()
            await asyncio.Event().wait()


@pytest.mark.parametrize("takes", [1, 3])
async def test_a_client_that_hangs_up_closes_the_stream(takes) -> None:
    """Also when it hangs up while something is being sent: nothing of the stream runs then."""
    closed = asyncio.Event()

    async def chunks() -> AsyncGenerator[bytes, None]:
        try:
            while True:
                yield b":\n\n"
        finally:
            closed.set()

    client = Client(takes)
    response = EventStream(chunks()).to_asgi_response(None, None)
    serving = asyncio.create_task(response(SCOPE, client.receive, client.send))
    await client.full.wait()
    assert not closed.is_set()
    client.gone.set()
    async with asyncio.timeout(20):
        await serving
    assert closed.is_set()
    assert client.headers == {
        "cache-control": "no-store",
        "content-type": "text/event-stream; charset=utf-8",
        "x-accel-buffering": "no",
    }
