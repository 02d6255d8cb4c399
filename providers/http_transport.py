"""httpx over aiohttp's connections, with an error map that tells sent from unsent.

httpx's own transport slows down with many requests in flight (`bench/http_client.py`); aiohttp's
does not. The map stands on one fact and not on aiohttp's exception classes, which mix both sides:
`_Request.send` is where bytes can first go out. An error before it becomes a connect or pool
error; an error after it never does. `tests/providers/test_http.py` holds the table.
"""

import asyncio
import functools
import re
import ssl
from collections.abc import AsyncIterator
from typing import Any, cast

import aiohttp
import httpx
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from yarl import URL

__all__ = ["AiohttpTransport", "RequestNotSendable"]

KEEPALIVE_S = 4.0
"""Seconds an idle connection is kept: less than the 5 s after which common servers close it. A
POST that meets a closing connection ends as unknown, which is dearer than a new connection."""

_WRITE_BYTES = 65_536
"""A longer body goes out in pieces of this size, each under the write timeout."""

_HEADER_BYTES = 65_536
_OURS = ("Accept", "Accept-Encoding", "User-Agent", "Content-Type")  # httpx has set what is wanted
_ILLEGAL = re.compile(rb"[\r\n\x00]")


class RequestNotSendable(httpx.LocalProtocolError):
    """The request cannot be written as HTTP (a line break in a header, say); no byte went out."""


class _WriteStalled(aiohttp.ClientError):
    """The peer took no bytes of the body for the length of the write timeout."""


class _Request(aiohttp.ClientRequest):
    """aiohttp's request, which keeps the connection it may have written to."""

    protocol: ResponseHandler | None = None
    """None as long as no byte can have gone out."""

    async def send(self, conn: Connection) -> aiohttp.ClientResponse:
        self.protocol = conn.protocol
        return await super().send(conn)

    def update_body_from_data(self, body: Any, _stacklevel: int = 3) -> None:
        # aiohttp would add `Content-Length: 0` to a DELETE; httpx has set what is wanted.
        if body is not None:
            super().update_body_from_data(body, _stacklevel + 1)


class _Exchange:
    """One request and its answer. As a middleware of aiohttp it sits inside aiohttp's loop that
    sends idempotent requests again: httpx's exceptions pass through that loop unrepeated.
    """

    def __init__(self, request: httpx.Request, timeout: dict[str, float | None]) -> None:
        self._request = request
        self._write_timeout = timeout.get("write")
        self._sent: _Request | None = None

    async def __call__(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        self._sent = cast(_Request, request)  # the session's request_class
        try:
            return await handler(request)
        except (aiohttp.ClientError, OSError) as error:
            raise self.translate(error) from error

    @property
    def protocol(self) -> ResponseHandler | None:
        return self._sent.protocol if self._sent else None

    def translate(self, error: Exception) -> httpx.TransportError:
        """The httpx error for one of aiohttp's, by whether a byte can have gone out."""
        kind = _unsent(error) if self.protocol is None else _maybe_sent(error)
        return kind(f"{type(error).__name__}: {error}", request=self._request)

    async def body(self) -> AsyncIterator[bytes]:
        """The request's body, in pieces; a piece that is not taken in time breaks the connection."""
        loop = asyncio.get_running_loop()
        async for piece in _pieces(self._request):
            timer = loop.call_later(self._write_timeout, self._stalled) if self._write_timeout else None
            try:
                yield piece  # comes back when aiohttp has written it
            finally:
                if timer:
                    timer.cancel()

    def _stalled(self) -> None:
        if self.protocol is not None and self.protocol.transport is not None:
            self.protocol.set_exception(_WriteStalled("the body was not taken in time"))
            self.protocol.transport.abort()


def _unsent(error: Exception) -> type[httpx.TransportError]:
    if isinstance(error, ValueError) and not isinstance(error, OSError):
        return RequestNotSendable  # a refused certificate is both
    return httpx.ConnectTimeout if isinstance(error, TimeoutError) else httpx.ConnectError


def _maybe_sent(error: Exception) -> type[httpx.TransportError]:
    if isinstance(error, _WriteStalled):
        return httpx.WriteTimeout
    if isinstance(error, TimeoutError):
        return httpx.ReadTimeout
    if isinstance(error, aiohttp.ClientConnectionResetError) or type(error) is aiohttp.ClientConnectionError:
        return httpx.WriteError
    if isinstance(
        error, aiohttp.ServerDisconnectedError | aiohttp.ClientResponseError | aiohttp.ClientPayloadError
    ):
        return httpx.RemoteProtocolError
    return httpx.ReadError


class _ResponseBody(httpx.AsyncByteStream):
    def __init__(
        self, response: aiohttp.ClientResponse, exchange: _Exchange, slots: asyncio.Semaphore
    ) -> None:
        self._response = response
        self._exchange = exchange
        self._slots: asyncio.Semaphore | None = slots

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._response.content.iter_any():
                yield chunk
        except (aiohttp.ClientError, OSError) as error:
            raise self._exchange.translate(error) from error
        # A body without a length ends with the connection; aiohttp takes a reset for that end.
        protocol = self._exchange.protocol
        failure = protocol.exception() if protocol is not None else None
        if isinstance(failure, OSError) and _ends_with_connection(self._response):
            raise self._exchange.translate(failure) from failure

    async def aclose(self) -> None:
        """Give the connection back, or break it when the body was not read to its end."""
        self._response.close()
        if self._slots is not None:
            self._slots.release()
            self._slots = None


class AiohttpTransport(httpx.AsyncBaseTransport):
    """Runs httpx requests over an aiohttp session. One event loop, HTTP/1.1, no cookies, no
    redirects, no proxies, no header that httpx did not set, and each request sent at most once.

    Args:
        max_connections: requests in flight; more wait for the pool timeout.
        ssl_context: what is trusted; by default httpx's certificates, or `SSL_CERT_FILE`.
    """

    def __init__(self, *, max_connections: int = 1000, ssl_context: ssl.SSLContext | None = None) -> None:
        self._ssl_context = ssl_context or _default_ssl_context()
        # aiohttp's own limit cannot tell waiting for a slot from connecting.
        self._slots = asyncio.Semaphore(max_connections)
        self._session: aiohttp.ClientSession | None = None
        self._closed = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request once.

        Raises:
            httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol,
            RequestNotSendable: no byte of it went out.
            httpx.TransportError: any other class: it may have been taken.
        """
        _check(request)
        session = self._open_session()
        timeout: dict[str, float | None] = request.extensions.get("timeout", {})
        await self._take_slot(request, timeout.get("pool"))
        try:
            return await self._exchange(session, request, timeout)
        except BaseException:
            self._slots.release()
            raise

    async def _exchange(
        self, session: aiohttp.ClientSession, request: httpx.Request, timeout: dict[str, float | None]
    ) -> httpx.Response:
        exchange = _Exchange(request, timeout)
        try:
            response = await session.request(
                request.method,
                _url(request.url),
                headers=_headers(request),
                data=_data(request, exchange),
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(connect=timeout.get("connect"), sock_read=timeout.get("read")),
                middlewares=(exchange,),
            )
        except (aiohttp.ClientError, ValueError) as error:
            # Outside the middleware: aiohttp could not make a request of it.
            raise exchange.translate(error) from error
        version = response.version or aiohttp.HttpVersion11
        return httpx.Response(
            response.status,
            headers=list(response.raw_headers),
            stream=_ResponseBody(response, exchange, self._slots),
            request=request,
            extensions={
                "http_version": b"HTTP/%d.%d" % (version.major, version.minor),
                "reason_phrase": (response.reason or "").encode("ascii", "ignore"),
            },
        )

    async def aclose(self) -> None:
        """Close every connection. Idempotent."""
        self._closed = True
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _open_session(self) -> aiohttp.ClientSession:
        if self._closed:
            raise RuntimeError("this transport is closed")
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEPALIVE_S, ssl=self._ssl_context),
                cookie_jar=aiohttp.DummyCookieJar(),
                skip_auto_headers=_OURS,
                request_class=_Request,
                auto_decompress=False,
                trust_env=False,
                max_line_size=_HEADER_BYTES,
                max_field_size=_HEADER_BYTES,
            )
        return self._session

    async def _take_slot(self, request: httpx.Request, timeout: float | None) -> None:
        if not self._slots.locked():
            await self._slots.acquire()  # at once
            return
        try:
            async with asyncio.timeout(timeout):
                await self._slots.acquire()
        except TimeoutError as error:
            raise httpx.PoolTimeout(f"no free connection in {timeout} s", request=request) from error


@functools.cache
def _default_ssl_context() -> ssl.SSLContext:
    return httpx.create_ssl_context()  # reads some 200 kB of certificates: once


def _check(request: httpx.Request) -> None:
    if request.url.scheme not in ("http", "https"):
        raise httpx.UnsupportedProtocol(f"not http: {request.url.scheme!r}", request=request)
    for name, value in request.headers.raw:
        if _ILLEGAL.search(name) or _ILLEGAL.search(value):
            # The value may be a credential: only the name is told.
            raise RequestNotSendable(f"a control character in the header {name!r}", request=request)


def _url(url: httpx.URL) -> URL:
    if url.userinfo:
        url = url.copy_with(userinfo=b"")  # httpx has made a header of it
    return URL(str(url), encoded=True)


def _headers(request: httpx.Request) -> list[tuple[str, str]]:
    # aiohttp keeps a name's second value only if it is spelled like the first.
    spelling: dict[bytes, str] = {}
    return [
        (spelling.setdefault(name.lower(), name.decode()), value.decode())  # it writes UTF-8
        for name, value in request.headers.raw
        if name.lower() != b"transfer-encoding"  # it sets this itself, and refuses another
    ]


def _data(request: httpx.Request, exchange: _Exchange) -> bytes | AsyncIterator[bytes] | None:
    if isinstance(request.stream, httpx.ByteStream) and len(request.content) <= _WRITE_BYTES:
        return request.content or None
    return exchange.body()


async def _pieces(request: httpx.Request) -> AsyncIterator[bytes]:
    async for chunk in cast(httpx.AsyncByteStream, request.stream):
        for start in range(0, len(chunk), _WRITE_BYTES):
            yield chunk[start : start + _WRITE_BYTES]


def _ends_with_connection(response: aiohttp.ClientResponse) -> bool:
    headers = response.headers
    return "Content-Length" not in headers and "chunked" not in headers.get("Transfer-Encoding", "").lower()
