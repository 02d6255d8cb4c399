"""The client of our own API, against the real application and against what else may answer."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable

import httpx
import pytest

from gateway.client import GatewayClient, GatewayFailure


@pytest.fixture
def heads() -> list[str]:
    """What the server was asked."""
    return []


@pytest.fixture
async def make(heads: list[str]) -> AsyncIterator[Callable[..., GatewayClient]]:
    """A client of a server that gives these answers, over a real socket; for None it hangs up."""
    opened = []

    async def start(*answers: tuple[int, str, object] | None, streams: bool = False) -> GatewayClient:
        left = [*answers]

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
            answer = left.pop(0)
            if answer is None:
                writer.close()
                return
            status, kind, body = answer
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            size = len(data) + (1 if data.endswith(CUT) else 0)  # then the connection ends too soon
            head = f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {size}\r\n"
            writer.write((head + "Connection: close\r\n\r\n").encode() + data)
            await writer.drain()
            writer.close()
            await writer.wait_closed()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        http = httpx.AsyncClient(base_url=url, trust_env=False)
        opened.append((server, http))
        return GatewayClient(http, pauses_s=(0.0, 0.0), streams=streams)

    yield start
    for server, http in opened:
        await http.aclose()
        server.close()
        await server.wait_closed()


JSON = "application/json"
PROBLEM = "application/problem+json"
STREAM = "text/event-stream; charset=utf-8"
CUT = b"id: 9\neve"
QUEUED = {"jobId": "job_1", "status": "queued", "progress": None}


async def test_a_call(api) -> None:
    answer = await GatewayClient(api).call("GET", "/api/models")
    assert any(model["id"] == "embedded-mini" for model in answer["models"])


async def test_a_refusal_is_a_failure(api) -> None:
    with pytest.raises(GatewayFailure) as caught:
        await GatewayClient(api).generate({"model": "nope", "inputs": {}})
    assert (caught.value.code, caught.value.status) == ("unknown_model", 400)
    assert "nope" in str(caught.value)


@pytest.mark.parametrize("call", [lambda c: c.image("img_none"), lambda c: c.cancel("job_none")])
async def test_what_is_not_there(api, call) -> None:
    with pytest.raises(GatewayFailure) as caught:
        await call(GatewayClient(api))
    assert (caught.value.code, caught.value.status) == ("not_found", 404)


async def test_an_answer_that_is_no_problem(make) -> None:
    client = await make((502, "text/html", b"<h1>proxy</h1>"))
    with pytest.raises(GatewayFailure) as caught:
        await client.call("GET", "/api/models")
    assert (str(caught.value), caught.value.code) == ("HTTP 502", "unknown")


@pytest.mark.parametrize("end", ["completed", "failed", "canceled", "unknown"])
async def test_a_job_is_followed_to_its_end(make, end) -> None:
    stages = ["queued", "running", "storing", end]
    client = await make(*((200, JSON, {"jobId": "job_1", "status": status}) for status in stages))
    seen = []
    job = await client.generate({"inputs": {}}, seen.append)
    assert job["status"] == end
    assert [look["status"] for look in seen] == stages[:-1]


def told(*events: tuple[str, dict]) -> bytes:
    """A stream of these events, as the gateway writes it."""
    lines = [f"id: 0.0\nevent: {name}\ndata: {json.dumps(data)}\n\n" for name, data in events]
    return "".join(["retry: 2000\n\n", ":\n\n", *lines]).encode()


async def test_a_job_is_followed_by_its_events(make) -> None:
    end = {**QUEUED, "status": "completed"}
    events = told(
        ("status", {"jobId": "job_1", "status": "running"}),
        ("progress", {"step": 1, "steps": 2}),
        ("log", {"first": 0, "lines": ["x"]}),
        ("status", {"jobId": "job_1", "status": "completed"}),
        ("done", end),
    )
    client = await make((202, JSON, QUEUED), (200, STREAM, events), streams=True)
    seen = []
    assert await client.generate({"inputs": {}}, seen.append) == end
    assert [(look["status"], look["progress"]) for look in seen[:3]] == [
        ("queued", None),
        ("running", None),
        ("running", {"step": 1, "steps": 2}),
    ]


@pytest.mark.parametrize(
    ("status", "kind", "body"),
    [
        (404, PROBLEM, {"code": "not_found"}),
        (200, STREAM, told(("status", {"status": "running"}))),
        (200, STREAM, told(("progress", {"step": 1})) + CUT),
        (200, STREAM, b""),
    ],
    ids=["no such route", "it ends", "it breaks", "nothing"],
)
async def test_a_stream_that_does_not_go_on_is_no_reason_to_lose_the_job(make, status, kind, body) -> None:
    looks = ((200, JSON, {**QUEUED, "status": status}) for status in ("running", "completed"))
    client = await make((202, JSON, QUEUED), (status, kind, body), *looks, streams=True)
    assert (await client.generate({"inputs": {}}))["status"] == "completed"


@pytest.mark.parametrize("status", ["unknown", "scheduled", "failed"])
async def test_a_job_of_which_nothing_comes_is_not_waited_for(make, status) -> None:
    look = {**QUEUED, "status": status, "error": None}
    stream = told(("status", {"status": status}))
    client = await make((202, JSON, QUEUED), (200, STREAM, stream), (200, JSON, look), streams=True)
    assert await client.generate({"inputs": {}}) == look


def keys_of(heads: list[str]) -> list[str]:
    """The keys of the requests that make something."""
    posts = [head.splitlines() for head in heads if head.startswith("POST")]
    return [
        line.split(": ")[1] for head in posts for line in head if line.lower().startswith("idempotency-key")
    ]


def problem(code: str, **more: object) -> dict[str, object]:
    return {"code": code, **more}


@pytest.mark.parametrize(
    "lost",
    [
        None,
        (503, "text/html", b"<h1>proxy</h1>"),
        (503, PROBLEM, problem("shutting_down", retryable=True)),
        (409, PROBLEM, problem("idempotency_in_flight", retryable=True)),
    ],
)
async def test_a_request_that_is_lost_is_sent_again_as_the_same(make, heads, lost) -> None:
    client = await make(lost, lost, (200, JSON, {"jobId": "job_1", "status": "completed"}))
    assert (await client.generate({"inputs": {}}))["jobId"] == "job_1"
    first, second, third = keys_of(heads)
    assert first == second == third
    assert len(first) == 32


async def test_another_request_has_another_key(make, heads) -> None:
    client = await make(*[(200, JSON, {"jobId": "job_1", "status": "completed"})] * 2)
    for _ in range(2):
        await client.generate({"inputs": {}})
    assert len(set(keys_of(heads))) == 2


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (402, "insufficient_funds"),
        (409, "canceled"),
        (500, "internal_error"),
        (503, "provider_not_configured"),
    ],
)
async def test_a_refusal_that_will_not_pass_is_not_sent_again(make, heads, status, code) -> None:
    client = await make((status, PROBLEM, problem(code)))
    with pytest.raises(GatewayFailure) as caught:
        await client.generate({"inputs": {}})
    assert (caught.value.code, len(heads)) == (code, 1)


async def test_it_is_not_sent_again_for_ever(make, heads) -> None:
    client = await make(None, None, None)
    with pytest.raises(httpx.TransportError):
        await client.generate({"inputs": {}})
    assert len(heads) == 3


async def test_the_bytes_of_a_picture(make) -> None:
    client = await make((200, "image/png", b"\x89PNG"))
    assert await client.image("img_1") == b"\x89PNG"


async def test_nobody_there() -> None:
    async with httpx.AsyncClient(base_url="http://127.0.0.1:1", trust_env=False) as http:
        with pytest.raises(httpx.TransportError):
            await GatewayClient(http).call("GET", "/api/models")
