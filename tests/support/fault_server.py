"""A raw HTTP/1.1 server on loopback that fails in one chosen way, and counts what it took whole."""

import asyncio
import socket
import ssl
import struct
from asyncio import IncompleteReadError, StreamReader, StreamWriter
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import NamedTuple, Self, cast

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Received(NamedTuple):
    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        return next((v for k, v in self.headers if k.lower() == name), None)


class Reset(Exception):
    """End the connection with RST and not FIN."""


class FaultServer:
    """One behaviour for every request; `fault` names a method below.

    `requests` holds each request read to its last byte, `taken` counts them by `X-Call`,
    `connections` those accepted, and `gone` is set when a client has closed one.
    """

    def __init__(
        self, fault: str = "answer", *, reply: bytes = OK, tls: ssl.SSLContext | None = None
    ) -> None:
        self._behave: Callable[[StreamReader, StreamWriter], Awaitable[None]] = getattr(self, fault)
        self._reply = reply
        self._tls = tls
        self.requests: list[Received] = []
        self.taken: Counter[str] = Counter()
        self.connections = 0
        self.arrived = asyncio.Event()
        self.gone = asyncio.Event()
        self._open: dict[StreamWriter, asyncio.Task[None] | None] = {}

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls, backlog=256)
        self.port: int = self._server.sockets[0].getsockname()[1]
        self.url = f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}/"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        tasks = [task for task in self._open.values() if task]
        for writer in list(self._open):
            writer.transport.abort()
        await asyncio.gather(*tasks)

    def half_close_all(self) -> None:
        """FIN on every connection, now, although a request may be on its way."""
        for writer in self._open:
            writer.get_extra_info("socket").shutdown(socket.SHUT_WR)

    async def took(self, count: int) -> None:
        """Wait until so many requests were read whole: a client may give one up before that."""
        while len(self.requests) < count:
            self.arrived.clear()
            await self.arrived.wait()

    async def _serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        self.connections += 1
        self._open[writer] = asyncio.current_task()
        try:
            while True:
                await self._behave(reader, writer)
        except (IncompleteReadError, ConnectionError):
            self.gone.set()
        except Reset:
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()
        except EOFError:
            pass  # a behaviour that ends the connection
        finally:
            writer.close()
            del self._open[writer]

    async def _head(self, reader: StreamReader) -> Received:
        head = await reader.readuntil(b"\r\n\r\n")
        first, *rest = head.decode("latin-1").strip().split("\r\n")
        method, target, _ = first.split(" ")
        headers = [(k, v.strip()) for k, _, v in (line.partition(":") for line in rest)]
        return Received(method, target, headers, b"")

    async def _request(self, reader: StreamReader) -> Received:
        head = await self._head(reader)
        if head.header("transfer-encoding") == "chunked":
            body = b"".join([chunk async for chunk in _chunks(reader)])
        else:
            body = await reader.readexactly(int(head.header("content-length") or 0))
        request = head._replace(body=body)
        self.requests.append(request)
        self.taken[request.header("x-call") or ""] += 1
        self.arrived.set()
        return request

    async def _send(self, writer: StreamWriter, data: bytes) -> None:
        writer.write(data)
        await writer.drain()

    # The behaviours.

    async def answer(self, reader: StreamReader, writer: StreamWriter) -> None:
        await self._request(reader)
        await self._send(writer, self._reply)

    async def answer_and_close(self, reader: StreamReader, writer: StreamWriter) -> None:
        await self.answer(reader, writer)
        raise EOFError

    async def answer_and_finish(self, reader: StreamReader, writer: StreamWriter) -> None:
        """Ends an idle connection; `gone` is set when the client has noticed."""
        await self.answer(reader, writer)
        writer.write_eof()
        await reader.readexactly(1)

    async def answer_once(self, reader: StreamReader, writer: StreamWriter) -> None:
        """The second request on a connection is read whole and gets no reply."""
        await self.answer(reader, writer)
        await self.close_after_body(reader, writer)

    async def answer_then_reset(self, reader: StreamReader, writer: StreamWriter) -> None:
        await self.answer(reader, writer)
        raise Reset

    async def reset_at_once(self, reader: StreamReader, writer: StreamWriter) -> None:
        raise Reset

    async def reset_before_body(self, reader: StreamReader, writer: StreamWriter) -> None:
        await self._head(reader)
        raise Reset

    async def reset_after_body(self, reader: StreamReader, writer: StreamWriter) -> None:
        await self._request(reader)
        raise Reset

    async def close_after_body(self, reader: StreamReader, writer: StreamWriter) -> None:
        await self._request(reader)
        raise EOFError

    async def silent(self, reader: StreamReader, writer: StreamWriter) -> None:
        await self._request(reader)
        await reader.readexactly(1)

    async def stall_after_reply(self, reader: StreamReader, writer: StreamWriter) -> None:
        await self.answer(reader, writer)
        await reader.readexactly(1)

    async def never_read(self, reader: StreamReader, writer: StreamWriter) -> None:
        cast(asyncio.Transport, writer.transport).pause_reading()
        await writer.wait_closed()
        raise EOFError

    async def answer_early(self, reader: StreamReader, writer: StreamWriter) -> None:
        """Replies to the headers and never reads the body."""
        await self._head(reader)
        await self._send(writer, self._reply)
        await self.never_read(reader, writer)

    async def drip(self, reader: StreamReader, writer: StreamWriter) -> None:
        await self._request(reader)
        for position in range(len(self._reply)):
            await self._send(writer, self._reply[position : position + 1])
            await asyncio.sleep(0.02)  # the pace is the behaviour

    async def not_http(self, reader: StreamReader, writer: StreamWriter) -> None:
        """Answers the first bytes, whatever they are: a plain server that is spoken TLS to."""
        await reader.readexactly(1)
        await self._send(writer, b"HTTP/1.1 400 Bad Request\r\n\r\n")
        raise EOFError

    async def deaf(self, reader: StreamReader, writer: StreamWriter) -> None:
        while await reader.read(65536):
            pass
        raise EOFError


async def _chunks(reader: StreamReader) -> AsyncIterator[bytes]:
    while size := int(await reader.readuntil(b"\r\n"), 16):
        yield await reader.readexactly(size)
        await reader.readexactly(2)
    await reader.readexactly(2)


def full_backlog() -> tuple[socket.socket, list[socket.socket]]:
    """A listening socket that answers no further connect, and what fills its queue. Linux."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen(0)
    fillers = []
    for _ in range(8):
        filler = socket.socket()
        filler.setblocking(False)
        filler.connect_ex(listening.getsockname())
        fillers.append(filler)
    return listening, fillers
