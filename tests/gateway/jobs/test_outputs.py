"""Pictures are brought home over a real socket: whole, or not at all."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable

import httpx
import pytest
from blockbuster import BlockingError
from support.scripted_provider import picture

from gateway.jobs.outputs import Collector, OutputNotStored, image_id
from gateway.storage import ImageStore, open_store
from providers.base import ImageBytes, ImageUrl, Succeeded
from providers.errors import MalformedOutput, OutputFetchFailed
from providers.http import create_client

PNG = picture()
HTML = b"<!doctype html><title>Sorry</title>"
MAX_BYTES = 50_000


def reply(status: int, body: bytes, length: int | None = None) -> bytes:
    head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(body) if length is None else length}\r\n"
    return (head + "Connection: close\r\n\r\n").encode() + body


class Cdn:
    """Answers each request with the next reply; the last one stays."""

    def __init__(self) -> None:
        self.replies: list[bytes] = []
        self.requests = 0
        self.heads: list[bytes] = []
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.heads.append(await reader.readuntil(b"\r\n\r\n"))
        answer = self.replies[min(self.requests, len(self.replies) - 1)]
        self.requests += 1
        writer.write(answer)
        await writer.drain()
        writer.close()
        await writer.wait_closed()


@pytest.fixture
async def cdn() -> AsyncIterator[Cdn]:
    found = Cdn()
    server = await asyncio.start_server(found.serve, "127.0.0.1", 0)
    found.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/p.png"
    yield found
    server.close()
    await server.wait_closed()


@pytest.fixture
def store() -> ImageStore:
    return open_store("memory://")


@pytest.fixture
async def fetch(cdn: Cdn, store: ImageStore) -> AsyncIterator[Callable[..., Awaitable[object]]]:
    client: httpx.AsyncClient = create_client()
    collector = Collector(store, client, pauses_s=(0.0, 0.0), max_bytes=MAX_BYTES)

    async def collect(*replies: bytes, count: int = 1) -> object:
        cdn.replies = list(replies)
        images = (ImageUrl(url=cdn.url, seed=4),) * count
        return await collector.collect("job_1", Succeeded(images=images), provider="first")

    yield collect
    await client.aclose()


async def test_a_url_is_fetched_and_kept(fetch, store) -> None:
    (image,) = await fetch(reply(200, PNG))
    assert (image.width, image.height, image.content_type, image.seed) == (64, 48, "image/png", 4)
    assert (image.byte_size, image.sha256) == (len(PNG), hashlib.sha256(PNG).hexdigest())
    assert await store.get(image.storage_key) == PNG


async def test_no_credential_goes_along(fetch, cdn) -> None:
    await fetch(reply(200, PNG))
    assert b"authorization" not in cdn.heads[0].lower()
    assert b"cookie" not in cdn.heads[0].lower()


@pytest.mark.parametrize("first", [reply(404, b""), reply(500, b""), reply(200, PNG[:50], len(PNG))])
async def test_a_fetch_is_repeated(fetch, cdn, first) -> None:
    assert len(await fetch(first, reply(200, PNG))) == 1
    assert cdn.requests == 2


@pytest.mark.parametrize(
    "answer", [reply(500, b"x"), reply(403, b""), reply(302, b""), reply(200, PNG[:50], len(PNG))]
)
async def test_a_fetch_that_never_works(fetch, cdn, store, answer) -> None:
    with pytest.raises(OutputFetchFailed) as caught:
        await fetch(answer)
    assert (cdn.requests, caught.value.provider) == (3, "first")
    assert not caught.value.retry_same
    assert not caught.value.try_next
    assert await store.keys("") == []


@pytest.mark.parametrize("body", [HTML, b"", PNG[:-1], PNG + b"x", b"x" * (MAX_BYTES + 1)])
async def test_what_is_no_picture_is_not_kept(fetch, cdn, store, body) -> None:
    with pytest.raises(MalformedOutput):
        await fetch(reply(200, body))
    assert cdn.requests == 1
    assert await store.keys("") == []


async def test_all_or_none(fetch, store) -> None:
    with pytest.raises(MalformedOutput):
        await fetch(reply(200, PNG), reply(200, HTML), count=2)
    assert await store.keys("") == []


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/x.png", "ftp://h.test/x", "http://[x", "nonsense"])
async def test_a_url_that_leads_nowhere(fetch, url, store) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        collector = Collector(store, client, pauses_s=())
        with pytest.raises(OutputFetchFailed):
            await collector.collect("j", Succeeded(images=(ImageUrl(url=url),)), provider="p")


@pytest.fixture
def refusing(tmp_path) -> ImageStore:
    (tmp_path / "images").write_text("a file where the folder should be")
    return open_store(tmp_path.as_uri())


async def test_a_store_that_refuses(refusing, tmp_path) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        image = ImageBytes(data=PNG, content_type="image/png")
        with pytest.raises(OutputNotStored) as caught:
            await Collector(refusing, client).collect("j", Succeeded(images=(image,)), provider="p")
    assert str(tmp_path) not in caught.value.message


def test_ids_are_derived() -> None:
    assert image_id("job_1", 0) == image_id("job_1", 0)
    assert len({image_id(job, n) for job in ("job_1", "job_11") for n in (0, 1, 11)}) == 6


async def test_a_blocking_call_of_ours_is_noticed(tmp_path) -> None:
    with pytest.raises(BlockingError):
        open_store((tmp_path / "s").as_uri())
