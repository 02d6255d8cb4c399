"""A small HTTP/1.1 server on loopback in a thread of its own, which can fail at the socket."""

import asyncio
import socket
import ssl
import struct
import threading
from asyncio import IncompleteReadError, StreamReader, StreamWriter
from collections.abc import Awaitable
from http import HTTPStatus
from typing import Any, NamedTuple, Self
from urllib.parse import parse_qs, urlsplit

import msgspec
from support.gateway_process import free_port


class Request(NamedTuple):
    """A request read to its end; header names are lower case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, list[str]]:
        return parse_qs(urlsplit(self.target).query)

    def json(self) -> Any:
        return msgspec.json.decode(self.body)


class Reply(NamedTuple):
    """An answer; `wire` says how it goes out.

    `whole`; `half` (half of it, then the end of the connection); `none` (the end without a byte);
    `reset` (RST without a byte); `silent` (nothing until the client goes).
    """

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = {}
    content_type: str = "application/json"
    wire: str = "whole"


def answer(status: int, value: Any, **headers: str) -> Reply:
    """A reply in JSON; `X_Fal_Retryable="true"` is a header."""
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Reply(status, msgspec.json.encode(value), named)


class _Cut(Exception):
    """End the connection; with `reset`, by RST."""

    def __init__(self, *, reset: bool) -> None:
        self.reset = reset


class HttpServer:
    """Serves on `host` from `__enter__` to `__exit__`; subclasses answer.

    It runs in its own thread, so that a test may block and a gateway in another process may ask.
    """

    host = "127.0.0.1"
    tls: ssl.SSLContext | None = None
    """For who is not on this machine: a key goes over no open network."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="loopback-fal")
        self._writers: set[StreamWriter] = set()
        self._tasks: set[asyncio.Task[Any]] = set()

    def __enter__(self) -> Self:
        self._thread.start()
        # Not one that was just another's: whose gateway may still be calling there.
        self._do(self._start(free_port()))
        return self

    def __exit__(self, *_: object) -> None:
        self._do(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def url(self) -> str:
        """Where it is, without a slash at the end; stays while it is away."""
        return f"{'https' if self.tls else 'http'}://{self.host}:{self.port}"

    def go_away(self) -> None:
        """Close the door: connections are refused, open ones are reset."""
        self._do(self._stop())

    def come_back(self) -> None:
        """Open it again, on the same port."""
        self._do(self._start(self.port))

    async def before_body(self, method: str, target: str) -> str | None:
        """`reset` or `close` to end the connection before the body is read."""
        return None

    async def respond(self, request: Request) -> Reply:
        """The answer to a request."""
        raise NotImplementedError

    def _do(self, work: Awaitable[None]) -> None:
        async def run() -> None:
            await work

        asyncio.run_coroutine_threadsafe(run(), self._loop).result(30)

    async def _start(self, port: int) -> None:
        self._server = await asyncio.start_server(
            self._serve, self.host, port, backlog=512, limit=1 << 20, ssl=self.tls
        )
        self.port: int = self._server.sockets[0].getsockname()[1]

    async def _stop(self) -> None:
        self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()
        await asyncio.gather(*self._tasks)

    async def _serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._writers.add(writer)
        self._tasks.add(task)
        try:
            while True:
                await self._one(reader, writer)
        except (IncompleteReadError, ConnectionError):
            pass  # the client went
        except _Cut as cut:
            if cut.reset:
                linger = struct.pack("ii", 1, 0)
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                writer.transport.abort()
        finally:
            writer.close()
            self._writers.discard(writer)
            self._tasks.discard(task)

    async def _one(self, reader: StreamReader, writer: StreamWriter) -> None:
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").strip().split("\r\n")
        method, target, _ = first.split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        cut = await self.before_body(method, target)
        if cut is not None:
            raise _Cut(reset=cut == "reset")
        body = await _body(reader, headers)
        await self._send(await self.respond(Request(method, target, headers, body)), reader, writer)

    async def _send(self, reply: Reply, reader: StreamReader, writer: StreamWriter) -> None:
        if reply.wire == "silent":
            await reader.readexactly(1)
        if reply.wire in ("none", "reset"):
            raise _Cut(reset=reply.wire == "reset")
        named = {
            "Content-Type": reply.content_type,
            "Content-Length": str(len(reply.body)),
            **reply.headers,
        }
        head = f"HTTP/1.1 {reply.status} {_phrase(reply.status)}\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in named.items())
        data = head.encode("latin-1") + b"\r\n" + reply.body
        writer.write(data[: len(data) - len(reply.body) // 2 - 1] if reply.wire == "half" else data)
        await writer.drain()
        if reply.wire == "half":
            raise _Cut(reset=False)


def _phrase(status: int) -> str:
    return HTTPStatus(status).phrase if status in list(HTTPStatus) else "Unnamed"


async def _body(reader: StreamReader, headers: dict[str, str]) -> bytes:
    if headers.get("transfer-encoding", "").lower() != "chunked":
        return await reader.readexactly(int(headers.get("content-length", "0")))
    parts = []
    while size := int(await reader.readuntil(b"\r\n"), 16):
        parts.append(await reader.readexactly(size))
        await reader.readexactly(2)
    await reader.readexactly(2)
    return b"".join(parts)
