"""An HTTP/1.1 server on loopback that answers each path with raw bytes, and counts who came."""

import asyncio
import ssl
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Self

ENDLESS = b"endless"
"""As a page: chunks without end."""
DRIP = b"drip"
"""As a page: a byte now and then, without end."""


def page(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    """A whole answer."""
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def redirect(location: str, *headers: str) -> bytes:
    """An answer that leads elsewhere."""
    return page(b"", f"Location: {location}", *headers, status="302 Found")


class WebServer:
    """`pages` holds the answers by path; `heads` the requests, `connections` those accepted."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        self._host, self._wanted, self._tls = host, port, tls
        self.pages: dict[str, bytes] = {}
        self.heads: list[str] = []
        self.connections = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._count, self._host, self._wanted, ssl=self._tls)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _count(self, reader: StreamReader, writer: StreamWriter) -> None:
        self.connections += 1
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.heads.append(head)
            async for piece in self._answer(self.pages.get(head.split(" ")[1], page(b"", status="404 No"))):
                writer.write(piece)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client went away: what some tests are about
        finally:
            writer.transport.abort() if self._tls else writer.close()

    async def _answer(self, answer: bytes) -> AsyncIterator[bytes]:
        if answer not in (ENDLESS, DRIP):
            yield answer
            return
        yield b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        while True:
            yield b"10000\r\n" + b"x" * 65536 + b"\r\n" if answer == ENDLESS else b"1\r\nx\r\n"
            await asyncio.sleep(0 if answer == ENDLESS else 0.02)  # the pace is the behaviour
