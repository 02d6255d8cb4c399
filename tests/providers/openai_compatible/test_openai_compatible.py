"""Servers with OpenAI's Images API, asked over real sockets."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from msgspec.structs import replace
from support.loopback_fal_http import Reply
from support.loopback_fal_images import picture
from support.loopback_openai import KEY, LoopbackOpenAi, refused

from providers.base import Call, ImageBytes, ImageUrl, MediaRef, ProviderContext, Succeeded
from providers.conformance import ProviderContract
from providers.errors import (
    ContentRejected,
    CredentialsRejected,
    JobLost,
    MalformedOutput,
    ProviderError,
    ProviderFailed,
    ProviderQuota,
    ProviderUnavailable,
    RateLimited,
    RequestRejected,
    SubmitUnknown,
    TargetUnavailable,
)
from providers.openai_compatible.provider import OpenAiCompatibleProvider
from registry.load import load_registry
from registry.schema import ProviderRow

ROUTE = load_registry().models["gpt-image-1.5"].routes[-1]
GOOD = {"prompt": "a fox", "size": "1024x1024", "n": 2, "output_format": "png"}


@pytest.fixture
def server() -> Iterator[LoopbackOpenAi]:
    with LoopbackOpenAi() as server:
        yield server


def context(server: LoopbackOpenAi, key: str = KEY) -> ProviderContext:
    row = ProviderRow(type="openai_compatible", base_url=server.base_url, key="OPENAI_API_KEY")
    return ProviderContext(name="openai", row=row, env={"OPENAI_API_KEY": key}, data_dir="/")


def call(**payload: Any) -> Call:
    body = GOOD | payload
    return Call(id="att_1", route=ROUTE, payload=body, num_images=body["n"], timeout_s=20)


class Kept:
    """The store's copies of a user's pictures."""

    async def read(self, ref: MediaRef) -> bytes:
        width, height = map(int, ref.url.split("x"))
        return picture(width, height, "png")


class TestContract(ProviderContract):
    @pytest.fixture
    def make_provider(self, server: LoopbackOpenAi) -> Any:
        return lambda: OpenAiCompatibleProvider.create(context(server))

    @pytest.fixture
    def good_call(self) -> Any:
        return lambda id_: replace(call(), id=id_)

    @pytest.fixture
    def slow_call(self) -> Any:
        return lambda id_: replace(call(), id=id_)

    @pytest.fixture
    def bad_call(self) -> Any:
        return lambda id_: replace(call(size="7x7"), id=id_)


async def ask(server: LoopbackOpenAi, asked: Call, key: str = KEY) -> Succeeded:
    provider = OpenAiCompatibleProvider.create(context(server, key))
    try:
        done = await provider.submit(asked)
        assert isinstance(done, Succeeded)
        return done
    finally:
        await provider.aclose()


async def test_what_is_sent(server: LoopbackOpenAi) -> None:
    done = await ask(server, call(quality="low"))
    assert server.asked == [{"model": "gpt-image-1.5", **GOOD, "quality": "low"}]
    for image in done.images:
        assert isinstance(image, ImageBytes)
        assert (image.content_type, image.data[:4]) == ("image/png", b"\x89PNG")


async def test_pictures_and_a_mask_make_an_edit(server: LoopbackOpenAi) -> None:
    refs = [MediaRef(url="64x48", content_type="image/png"), MediaRef(url="32x16", content_type="image/jpeg")]
    edit = replace(call(n=1, image=refs, mask=MediaRef(url="64x48", content_type="image/png")), media=Kept())
    await ask(server, edit)
    (asked,) = server.asked
    assert asked["image[]"] == [(64, 48), (32, 16)]
    assert asked["mask"] == [(64, 48)]
    assert (asked["prompt"], asked["n"]) == ("a fox", 1)


async def test_pictures_that_stay_at_the_server(server: LoopbackOpenAi) -> None:
    done = await ask(server, call(response_format="url", n=1))
    (image,) = done.images
    assert isinstance(image, ImageUrl)
    assert image.url.startswith(server.url)


@pytest.mark.parametrize(
    "url", ["http://other.test/a.png", "ftp://a.test/b.png", "https://u:p@a.test/b", "file:///etc/passwd"]
)
async def test_pictures_that_are_elsewhere(server: LoopbackOpenAi, url: str) -> None:
    server.faults = [Reply(200, b'{"data":[{"url":"' + url.encode() + b'"}]}')]
    with pytest.raises(MalformedOutput):
        await ask(server, call())


FAULTS: list[tuple[Reply, type[ProviderError]]] = [
    (refused(400, "Your request was rejected by the safety system", "moderation_blocked"), ContentRejected),
    (refused(400, "size is wrong", "invalid_value"), RequestRejected),
    (refused(401, f"Incorrect API key provided: {KEY}", "invalid_api_key"), CredentialsRejected),
    (refused(403, "not for you", None), CredentialsRejected),
    (refused(402, "pay", None), ProviderQuota),
    (refused(429, "You exceeded your current quota", "insufficient_quota"), ProviderQuota),
    (refused(429, "slow down", "rate_limit_exceeded"), RateLimited),
    (refused(404, "no such model", "model_not_found"), TargetUnavailable),
    (refused(500, "the server had an error", None), ProviderFailed),
    (refused(503, "overloaded", None), ProviderUnavailable),
    (Reply(502, b"<html>bad gateway</html>", content_type="text/html"), SubmitUnknown),
    (Reply(504, b"", content_type="text/html"), SubmitUnknown),
    (Reply(500, b"oops", content_type="text/plain"), SubmitUnknown),
    (Reply(302, b"", {"Location": "http://evil.test"}), SubmitUnknown),
    (Reply(wire="none"), SubmitUnknown),
    (Reply(wire="reset"), SubmitUnknown),
    (Reply(200, b"x" * 900, wire="half"), SubmitUnknown),
    (Reply(200, b"hello"), MalformedOutput),
    (Reply(200, b'{"data":[]}'), MalformedOutput),
    (Reply(200, b'{"data":[{}]}'), MalformedOutput),
    (Reply(200, b'{"data":[{"b64_json":"%%"}]}'), MalformedOutput),
]


@pytest.mark.parametrize(
    ("reply", "kind"),
    FAULTS,
    ids=[f"{r.status}-{r.wire}-{k.__name__}-{n}" for n, (r, k) in enumerate(FAULTS)],
)
async def test_a_fault(server: LoopbackOpenAi, reply: Reply, kind: type[ProviderError]) -> None:
    server.faults = [reply]
    with pytest.raises(ProviderError) as caught:
        await ask(server, call())
    assert type(caught.value) is kind
    assert KEY not in caught.value.message + caught.value.raw
    assert server.asked == []


async def test_when_to_come_back(server: LoopbackOpenAi) -> None:
    server.faults = [refused(429, "slow", None)._replace(headers={"Retry-After": "7"})]
    with pytest.raises(RateLimited) as caught:
        await ask(server, call())
    assert caught.value.retry_after == 7


async def test_a_server_that_is_not_there(server: LoopbackOpenAi) -> None:
    server.go_away()
    with pytest.raises(ProviderUnavailable):
        await ask(server, call())
    server.come_back()


async def test_a_server_that_never_answers(server: LoopbackOpenAi) -> None:
    server.faults = [Reply(wire="silent")]
    with pytest.raises(SubmitUnknown):
        await ask(server, replace(call(), timeout_s=0.3))


async def test_a_wrong_key(server: LoopbackOpenAi) -> None:
    with pytest.raises(CredentialsRejected):
        await ask(server, call(), key="sk-other")


async def test_there_are_no_jobs(server: LoopbackOpenAi) -> None:
    provider = OpenAiCompatibleProvider.create(context(server))
    with pytest.raises(RequestRejected, match="none to adopt"):
        provider.handle_for(ROUTE, "x")
    assert provider.idempotent_submit(ROUTE) is False
    await asyncio.gather(provider.aclose(), provider.aclose())
    assert JobLost.code == "provider_lost_job"


@pytest.mark.parametrize(
    ("row", "env", "setting", "said"),
    [
        ({"base_url": None, "key": None}, {}, None, "no base_url"),
        ({"base_url": "ftp://x", "key": None}, {}, None, "no base_url"),
        ({"base_url": "http://127.0.0.1:8080/v1", "key": "A_KEY"}, {}, "A_KEY", "set A_KEY"),
        ({"base_url": "http://127.0.0.1:8080/v1", "key": "A_KEY"}, {"A_KEY": "a b"}, "A_KEY", "no key"),
    ],
)
def test_why_it_cannot_be_used(
    row: dict[str, Any], env: dict[str, str], setting: str | None, said: str
) -> None:
    made = ProviderContext(
        name="mine", row=ProviderRow(type="openai_compatible", **row), env=env, data_dir="/"
    )
    found = OpenAiCompatibleProvider.unavailable(made, ROUTE)
    assert found is not None
    assert found.setting == setting
    assert said in found.reason


def test_a_server_at_home_needs_no_key() -> None:
    row = ProviderRow(type="openai_compatible", base_url="http://127.0.0.1:8080/v1")
    made = ProviderContext(name="mine", row=row, env={}, data_dir="/")
    assert OpenAiCompatibleProvider.unavailable(made, ROUTE) is None
