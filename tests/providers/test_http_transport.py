"""What the client carries over real sockets when nothing fails, and what it lets go of."""

import asyncio
import gzip
from collections.abc import AsyncIterator

import httpx
import pytest
from support.fault_server import FaultServer

from providers.http import create_client
from providers.http_transport import AiohttpTransport

SMALL = b"x" * 300
BIG = b"x" * 100 * 1024
HUGE = b"x" * 32 * 1024 * 1024  # more than the kernel buffers
HEAD = b"HTTP/1.1 200 OK\r\n"


def client(**options: int) -> httpx.AsyncClient:
    # No test here is about a time limit: none may end one on a machine that stands still for a while.
    return create_client(timeout_s=30.0, connect_timeout_s=30.0, **options)


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"])
async def test_methods(method: str) -> None:
    async with FaultServer(reply=HEAD + b"Content-Length: 0\r\n\r\n") as server, client() as http:
        assert (await http.request(method, server.url + "a%2Fb?q=1&q=%20")).status_code == 200
        assert server.requests[0][:2] == (method, "/a%2Fb?q=1&q=%20")


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_the_headers_are_those_of_httpx_and_no_others(method: str) -> None:
    async with FaultServer() as server, client() as ours, httpx.AsyncClient(trust_env=False) as plain:
        for http in (ours, plain):
            await http.request(method, server.url, headers=[("X-A", "1"), ("x-a", "2")])
        mine, theirs = (sorted((k.lower(), v) for k, v in request.headers) for request in server.requests)
        assert mine == theirs
        assert [value for name, value in mine if name == "x-a"] == ["1", "2"]


@pytest.mark.parametrize("body", [b"", SMALL, BIG, HUGE], ids=["empty", "small", "big", "huge"])
async def test_bytes_arrive_as_they_were(body: bytes) -> None:
    async with FaultServer() as server, client() as http:
        assert (await http.post(server.url, content=body)).text == "ok"
        assert server.requests[0].body == body
        assert server.requests[0].header("content-length") == str(len(body))


async def test_a_stream_is_sent_in_chunks() -> None:
    async def parts() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield BIG

    async with FaultServer() as server, client() as http:
        await http.post(server.url, content=parts())
        assert server.requests[0].body == BIG * 3
        assert server.requests[0].header("transfer-encoding") == "chunked"


async def test_a_form_with_a_file() -> None:
    async with FaultServer() as server, client() as http:
        await http.post(server.url, data={"a": "b"}, files={"image": ("i.png", BIG)})
        assert BIG in server.requests[0].body
        assert int(server.requests[0].header("content-length") or 0) == len(server.requests[0].body)


async def test_the_reply_is_kept_as_it_came() -> None:
    reply = b"HTTP/1.1 418 Short And Stout\r\nX-A: 1\r\nx-a: 2\r\nContent-Length: 3\r\n\r\nabc"
    async with FaultServer(reply=reply) as server, client() as http:
        response = await http.get(server.url)
        assert (response.status_code, response.reason_phrase, response.http_version) == (
            418,
            "Short And Stout",
            "HTTP/1.1",
        )
        assert response.headers.raw == [(b"X-A", b"1"), (b"x-a", b"2"), (b"Content-Length", b"3")]
        assert response.content == b"abc"


async def test_gzip_is_decoded_once() -> None:
    packed = gzip.compress(BIG)
    reply = HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed) + packed
    async with FaultServer(reply=reply) as server, client() as http:
        response = await http.get(server.url)
        assert response.content == BIG
        assert response.headers["content-encoding"] == "gzip"


async def test_no_content() -> None:
    async with FaultServer(reply=b"HTTP/1.1 204 No Content\r\n\r\n") as server, client() as http:
        for _ in range(2):
            assert (await http.delete(server.url)).content == b""
        assert server.connections == 1


async def test_a_redirect_is_not_followed() -> None:
    reply = b"HTTP/1.1 307 Elsewhere\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n"
    async with FaultServer(reply=reply) as server, client() as http:
        assert (await http.post(server.url)).headers["location"] == "/b"
        assert len(server.requests) == 1


async def test_cookies_are_not_kept() -> None:
    reply = HEAD + b"Set-Cookie: a=b\r\nContent-Length: 0\r\n\r\n"
    async with FaultServer(reply=reply) as server, client() as http:
        for _ in range(2):
            # By name: a cookie of an IP address is refused by most jars.
            response = await http.get(server.url.replace("127.0.0.1", "localhost"))
            assert response.headers["set-cookie"] == "a=b"
        assert server.requests[1].header("cookie") is None


async def test_the_environment_names_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    async with FaultServer() as server, client() as http:
        assert (await http.get(server.url)).text == "ok"


async def test_a_url_with_credentials() -> None:
    async with FaultServer() as server, client() as http:
        await http.get(server.url.replace("//", "//user:secret@"))
        assert server.requests[0].header("authorization") == "Basic dXNlcjpzZWNyZXQ="


async def test_a_large_download_in_pieces() -> None:
    reply = HEAD + b"Content-Length: %d\r\n\r\n" % len(HUGE) + HUGE
    async with (
        FaultServer(reply=reply) as server,
        client() as http,
        http.stream("GET", server.url) as response,
    ):
        sizes = [len(chunk) async for chunk in response.aiter_bytes()]
        assert (sum(sizes), len(sizes) > 10) == (len(HUGE), True)


async def test_a_reply_without_a_length() -> None:
    async with FaultServer("answer_and_close", reply=HEAD + b"\r\nwhole") as server, client() as http:
        assert (await http.get(server.url)).content == b"whole"


async def test_64_in_flight() -> None:
    async with FaultServer() as server, client() as http:
        calls = [str(n) for n in range(64)]
        replies = await asyncio.gather(
            *(http.post(server.url, content=BIG, headers={"X-Call": call}) for call in calls)
        )
        assert {reply.text for reply in replies} == {"ok"}
        assert server.taken == dict.fromkeys(calls, 1)


async def test_one_connection_serves_one_after_another() -> None:
    async with FaultServer() as server, client(max_connections=1) as http:
        await asyncio.gather(*(http.post(server.url, content=SMALL) for _ in range(8)))
        assert (len(server.requests), server.connections) == (8, 1)


async def test_a_cancelled_request_ends_its_connection() -> None:
    async with FaultServer("silent") as server, client(max_connections=1) as http:
        waiting = asyncio.create_task(http.post(server.url))
        await server.arrived.wait()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await server.gone.wait()


async def test_a_download_left_early_ends_its_connection() -> None:
    async with (
        FaultServer("stall_after_reply", reply=HEAD + b"Content-Length: 100\r\n\r\n") as server,
        client() as http,
    ):
        async with http.stream("GET", server.url) as response:
            assert response.status_code == 200
        await server.gone.wait()


async def test_closing_ends_idle_connections() -> None:
    async with FaultServer() as server:
        async with client() as http:
            await http.get(server.url)
        await server.gone.wait()


async def test_a_closed_transport_says_so() -> None:
    transport = AiohttpTransport()
    await transport.aclose()
    await transport.aclose()
    with pytest.raises(RuntimeError, match="closed"):
        await transport.handle_async_request(httpx.Request("GET", "http://127.0.0.1/"))


async def test_a_base_url_and_headers() -> None:
    async with (
        FaultServer() as server,
        create_client(base_url=server.url + "v1/", headers={"Authorization": "Key a"}) as http,
    ):
        await http.get("models")
        assert server.requests[0].target == "/v1/models"
        assert server.requests[0].header("authorization") == "Key a"
