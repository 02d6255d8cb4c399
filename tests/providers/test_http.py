"""The client factory against real sockets: which error a fault becomes, and what it proves."""

import asyncio
import ssl
import sys
from typing import NamedTuple

import aiohttp
import httpx
import pytest
import trustme
from support.fault_server import FaultServer, full_backlog

from providers.http import create_client, provably_not_sent
from providers.http_transport import AiohttpTransport, RequestNotSendable

SMALL = b"x" * 300
BIG = b"x" * 100 * 1024
HUGE = b"x" * 32 * 1024 * 1024  # more than the kernel buffers
HEAD = b"HTTP/1.1 200 OK\r\n"
SIZED = HEAD + b"Content-Length: 100\r\n\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


class Fault(NamedTuple):
    what: str
    behaviour: str
    error: type[httpx.TransportError]
    taken: int  # requests that the server read whole
    body: bytes = SMALL
    reply: bytes = b""


# Everything here reached a server, so nothing here is proven unsent, taken or not.
SENT = [
    #     what                         what the server does   what httpx raises          taken
    Fault("reset before reading", "reset_at_once", httpx.ReadError, 0),
    Fault("reset before the body", "reset_before_body", httpx.ReadError, 0, BIG),
    Fault("takes no body", "never_read", httpx.WriteTimeout, 0, HUGE),
    Fault("reset after the body", "reset_after_body", httpx.ReadError, 1),
    Fault("reset after 100 KiB", "reset_after_body", httpx.ReadError, 1, BIG),
    Fault("close after the body", "close_after_body", httpx.RemoteProtocolError, 1),
    Fault("close after 100 KiB", "close_after_body", httpx.RemoteProtocolError, 1, BIG),
    Fault("no reply", "silent", httpx.ReadTimeout, 1),
    Fault("half a status line", "answer_and_close", httpx.RemoteProtocolError, 1, reply=b"HTTP/1."),
    Fault("half the headers", "answer_and_close", httpx.RemoteProtocolError, 1, reply=HEAD + b"A: b\r\nC"),
    Fault("headers, then reset", "answer_then_reset", httpx.ReadError, 1, reply=HEAD + b"A: b\r\n"),
    Fault("slow headers", "stall_after_reply", httpx.ReadTimeout, 1, reply=HEAD),
    Fault("half a body", "answer_and_close", httpx.RemoteProtocolError, 1, reply=SIZED + b"half"),
    Fault("half a body, reset", "answer_then_reset", httpx.RemoteProtocolError, 1, reply=SIZED + b"half"),
    Fault("slow body", "stall_after_reply", httpx.ReadTimeout, 1, reply=SIZED + b"half"),
    Fault("chunks cut", "answer_and_close", httpx.RemoteProtocolError, 1, reply=CHUNKED + b"9\r\nhalf"),
    Fault("no length, reset", "answer_then_reset", httpx.ReadError, 1, reply=HEAD + b"\r\nhalf"),
    Fault("garbage", "answer_and_close", httpx.RemoteProtocolError, 1, reply=b"\x00\xff garbage\r\n\r\n"),
    Fault("garbage, kept open", "stall_after_reply", httpx.RemoteProtocolError, 1, reply=b"220 smtp\r\n\r\n"),
    Fault(
        "not a length",
        "answer_and_close",
        httpx.RemoteProtocolError,
        1,
        reply=HEAD + b"Content-Length: x\r\n\r\n",
    ),
]
AFTER_BODY = [fault for fault in SENT if fault.taken]


def named(faults: list[Fault]) -> list[object]:
    return [pytest.param(fault, id=fault.what) for fault in faults]


SHORT_S = 1.0
"""Where a time limit is what a test is about: more than a busy machine stands still for."""


def client(read_s: float = 30.0, connect_s: float = 30.0, **options: int) -> httpx.AsyncClient:
    return create_client(timeout_s=read_s, connect_timeout_s=connect_s, **options)


def client_for(fault: Fault) -> httpx.AsyncClient:
    """One that waits shortly where waiting is how the fault ends, and else for long."""
    return client(SHORT_S) if issubclass(fault.error, httpx.TimeoutException) else client()


async def failure(
    http: httpx.AsyncClient, url: str, call: str = "", body: bytes = SMALL
) -> httpx.TransportError:
    with pytest.raises(httpx.TransportError) as caught:
        await http.post(url, content=body, headers={"X-Call": call})
    return caught.value


@pytest.mark.parametrize("fault", named(SENT))
async def test_a_fault_after_the_first_byte_is_unknown(fault: Fault) -> None:
    async with FaultServer(fault.behaviour, reply=fault.reply) as server, client_for(fault) as http:
        error = await failure(http, server.url, body=fault.body)
        await server.took(fault.taken)
        assert (type(error), provably_not_sent(error)) == (fault.error, False)
        assert (len(server.requests), server.connections) == (fault.taken, 1)


@pytest.mark.parametrize("fault", named(AFTER_BODY))
async def test_64_in_flight_are_each_taken_once(fault: Fault) -> None:
    async with FaultServer(fault.behaviour, reply=fault.reply) as server, client_for(fault) as http:
        calls = [str(n) for n in range(64)]
        errors = await asyncio.gather(*(failure(http, server.url, call, fault.body) for call in calls))
        assert {type(e) for e in errors} == {fault.error}
        assert not any(provably_not_sent(e) for e in errors)
        await server.took(64)
        assert server.taken == dict.fromkeys(calls, 1)


async def test_a_body_not_taken_although_a_reply_began() -> None:
    timeout = httpx.Timeout(None, write=0.3)
    async with FaultServer("answer_early", reply=SIZED) as server, client() as http:
        with pytest.raises(httpx.TransportError) as caught:
            await http.post(server.url, content=HUGE, timeout=timeout)
    assert not provably_not_sent(caught.value)


async def test_a_requests_own_timeout_holds() -> None:
    async with FaultServer("silent") as server, client() as http, asyncio.timeout(10):
        with pytest.raises(httpx.ReadTimeout):
            await http.post(server.url, timeout=httpx.Timeout(30.0, read=0.1))


async def test_a_drip_is_no_silence() -> None:
    # A byte every 0.02 seconds.
    reply = HEAD + b"Content-Length: 60\r\n\r\n" + b"x" * 60
    async with FaultServer("drip", reply=reply) as server, client(SHORT_S) as http:
        started = asyncio.get_running_loop().time()
        assert (await http.post(server.url)).content == b"x" * 60
        assert asyncio.get_running_loop().time() - started > SHORT_S


async def test_refused() -> None:
    async with FaultServer() as server, client() as http:
        url = server.url
        await server.__aexit__(None, None, None)
        error = await failure(http, url)
    assert (type(error), provably_not_sent(error)) == (httpx.ConnectError, True)


async def test_unknown_name() -> None:
    async with client() as http:
        error = await failure(http, "http://no-such-host.invalid/")
    assert (type(error), provably_not_sent(error)) == (httpx.ConnectError, True)


@pytest.mark.skipif(sys.platform != "linux", reason="a full backlog drops connects only there")
async def test_connect_timeout() -> None:
    listening, fillers = full_backlog()
    async with client(connect_s=0.3) as http:
        error = await failure(http, f"http://127.0.0.1:{listening.getsockname()[1]}/")
    for sock in (listening, *fillers):
        sock.close()
    assert (type(error), provably_not_sent(error)) == (httpx.ConnectTimeout, True)


async def test_tls_to_a_plain_server() -> None:
    async with FaultServer("not_http") as server, client() as http:
        error = await failure(http, server.url.replace("http", "https"))
    assert (type(error), provably_not_sent(error)) == (httpx.ConnectError, True)


async def test_tls_without_an_answer() -> None:
    async with FaultServer("deaf") as server, client(connect_s=0.3) as http:
        error = await failure(http, server.url.replace("http", "https"))
    assert (type(error), provably_not_sent(error)) == (httpx.ConnectTimeout, True)


async def test_untrusted_certificate() -> None:
    async with FaultServer(tls=server_tls(trustme.CA())) as server, client() as http:
        error = await failure(http, server.url)
        assert (type(error), provably_not_sent(error)) == (httpx.ConnectError, True)
        assert server.requests == []


async def test_trusted_certificate() -> None:
    authority = trustme.CA()
    trusted = ssl.create_default_context()
    authority.configure_trust(trusted)
    async with (
        FaultServer(tls=server_tls(authority)) as server,
        httpx.AsyncClient(transport=AiohttpTransport(ssl_context=trusted)) as http,
    ):
        assert (await http.post(server.url, content=SMALL)).text == "ok"


async def test_no_free_connection() -> None:
    async with FaultServer("silent") as server, client(0.3, max_connections=1) as http:
        # The first has no time limit of its own: it must hold its connection until the end.
        first = asyncio.create_task(http.post(server.url, timeout=None))
        await server.arrived.wait()
        error = await failure(http, server.url)
        assert (type(error), provably_not_sent(error)) == (httpx.PoolTimeout, True)
        assert (len(server.requests), first.done()) == (1, False)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first


async def test_a_failed_request_frees_its_connection() -> None:
    async with FaultServer("close_after_body") as server, client(max_connections=1) as http:
        errors = [await failure(http, server.url) for _ in range(3)]
        assert [type(e) for e in errors] == [httpx.RemoteProtocolError] * 3


async def test_another_scheme() -> None:
    async with client() as http:
        error = await failure(http, "ftp://127.0.0.1/")
    assert (type(error), provably_not_sent(error)) == (httpx.UnsupportedProtocol, True)


@pytest.mark.parametrize(("method", "url"), [("GET", "http://2130706433/"), ("G\nET", "http://127.0.0.1:1/")])
async def test_a_request_that_is_not_http(method: str, url: str) -> None:
    async with client() as http:
        with pytest.raises(RequestNotSendable) as caught:
            await http.request(method, url)
    assert provably_not_sent(caught.value)


@pytest.mark.parametrize("key", ["id:secret\n", "a\r\nX-B: c", "nul\0"])
async def test_a_line_break_in_a_header(key: str) -> None:
    async with FaultServer() as server, client() as http:
        with pytest.raises(RequestNotSendable) as caught:
            await http.post(server.url, headers={"Authorization": key})
        assert provably_not_sent(caught.value)
        assert key not in str(caught.value)
        assert server.connections == 0


async def test_a_local_error_of_another_transport_proves_nothing() -> None:
    assert not provably_not_sent(httpx.LocalProtocolError("too little data for the declared length"))


# A connection used before.


@pytest.mark.parametrize("method", ["POST", "PUT", "GET", "DELETE"])
async def test_a_reply_lost_on_a_reused_connection_is_not_sent_again(method: str) -> None:
    async with FaultServer("answer_once") as server, client() as http:
        await http.request(method, server.url, headers={"X-Call": "first"})
        with pytest.raises(httpx.RemoteProtocolError) as caught:
            await http.request(method, server.url, headers={"X-Call": "second"})
        assert not provably_not_sent(caught.value)
        assert server.taken == {"first": 1, "second": 1}
        assert server.connections == 1


async def test_aiohttp_alone_would_send_it_again() -> None:
    async with FaultServer("answer_once") as server, aiohttp.ClientSession() as session:
        for call in ("first", "second"):
            async with session.put(server.url, headers={"X-Call": call}) as response:
                await response.read()
        assert server.taken == {"first": 1, "second": 2}


async def test_a_connection_that_ended_while_idle_is_replaced() -> None:
    async with FaultServer("answer_and_finish") as server, client() as http:
        await http.post(server.url, headers={"X-Call": "first"})
        await server.gone.wait()
        await http.post(server.url, headers={"X-Call": "second"})
        assert server.taken == {"first": 1, "second": 1}
        assert server.connections == 2


async def test_a_post_that_crosses_the_end_of_its_connection_is_unknown() -> None:
    async with FaultServer() as server, client() as http:
        await http.post(server.url, headers={"X-Call": "first"})
        server.half_close_all()
        error = await failure(http, server.url, "second")
        assert not provably_not_sent(error)
        assert server.taken["second"] <= 1
        assert server.connections == 1


def server_tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context
