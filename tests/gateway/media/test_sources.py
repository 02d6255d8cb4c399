"""`data:` and `s3://`: the references that are no https URL."""

from collections.abc import Iterator

import pytest
from support.loopback_fal_http import Reply
from support.s3_server import BrokenS3, MetadataServer, make_bucket, s3_server

from gateway.media.errors import MediaRefused, MediaTooLarge
from gateway.media.library import LIMITS
from gateway.media.sources import Buckets, read_data_url
from gateway.s3 import AT_WORK


@pytest.mark.parametrize(
    ("url", "data"),
    [
        ("data:,a%20b", b"a b"),
        ("data:image/png;base64,AAEC", b"\0\1\2"),
        ("data:image/png;charset=x;BASE64,AAECAw", b"\0\1\2\3"),
        ("data:;base64,AA%3D%3D", b"\0"),
        ("data:;base64,AA EC", b"\0\1\2"),
        ("data:text/plain,base64,AAEC", b"base64,AAEC"),
        ("data:,", b""),
    ],
)
def test_data_urls(url, data) -> None:
    assert read_data_url(url) == data


@pytest.mark.parametrize(
    "url", ["data:", "data:image/png;base64", "data:;base64,A", "data:;base64,A*==", "data:;base64,AA=A"]
)
def test_data_urls_that_are_none(url) -> None:
    with pytest.raises(MediaRefused):
        read_data_url(url)


@pytest.fixture(scope="module")
def s3() -> Iterator[dict[str, str]]:
    with s3_server() as env:
        make_bucket(env, "inputs", {"a/b c?.png": b"x" * 3_000_000})
        make_bucket(env, "private", {"a.png": b"secret"})
        make_bucket(env, "open", {"a.png": b"open"}, public=True)
        yield env


async def test_an_object_of_a_listed_bucket(s3, spool) -> None:
    async with spool(4_000_000) as into:
        await Buckets(["inputs"], s3).fetch("s3://inputs/a/b c?.png", into, deadline_s=20)
        assert into.path.read_bytes() == b"x" * 3_000_000


async def test_an_object_that_is_too_large(s3, spool) -> None:
    async with spool(1000) as into:
        with pytest.raises(MediaTooLarge, match="3000000 bytes"):
            await Buckets(["inputs"], s3).fetch("s3://inputs/a/b c?.png", into, deadline_s=20)
        assert into.size == 0


@pytest.mark.parametrize(
    "url",
    ["s3://private/a.png", "s3://inputs", "s3://inputs/", "s3://", "s3:///a.png", "s3://INPUTS/a.png",
     "s3://inputs@private/a.png", "s3://inputs/none.png", "s3://inputs/../private/a.png",
     "s3://inputs/a/../../private/a.png", "s3://inputs//a.png"],
)  # fmt: skip
async def test_objects_that_are_not_given(url, s3, spool) -> None:
    async with spool() as into:
        with pytest.raises(MediaRefused):
            await Buckets(["inputs"], s3).fetch(url, into, deadline_s=20)
        assert into.size == 0


async def test_a_server_that_is_not_there(spool) -> None:
    env = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s", "AWS_ENDPOINT_URL": "http://127.0.0.1:1"}
    async with spool() as into:
        with pytest.raises(MediaRefused):
            await Buckets(["inputs"], env).fetch("s3://inputs/a.png", into, deadline_s=1)


async def test_without_a_key_nothing_is_signed(s3, spool, monkeypatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3["AWS_ACCESS_KEY_ID"])  # the process's own, not given to it
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3["AWS_SECRET_ACCESS_KEY"])
    buckets = Buckets(["inputs", "open"], {"AWS_ENDPOINT_URL": s3["AWS_ENDPOINT_URL"]})
    async with spool() as into:
        await buckets.fetch("s3://open/a.png", into, deadline_s=20)
        assert into.size == 4
        with pytest.raises(MediaRefused):  # a private one
            await buckets.fetch("s3://inputs/a/b c?.png", into, deadline_s=20)


async def test_the_machines_role_is_never_asked_for(s3, spool, monkeypatch) -> None:
    with MetadataServer() as metadata:
        monkeypatch.setenv("AWS_METADATA_ENDPOINT", metadata.url)
        buckets = Buckets(["inputs"], {"AWS_ENDPOINT_URL": s3["AWS_ENDPOINT_URL"]})
        async with spool() as into:
            with pytest.raises(MediaRefused):
                await buckets.fetch("s3://inputs/a/b c?.png", into, deadline_s=20)
        assert metadata.requests == []


@pytest.mark.parametrize("change", [{"AWS_ENDPOINT_URL": "nonsense"}, {"AWS_SECRET_ACCESS_KEY": ""}])
async def test_an_environment_that_cannot_be_used(s3, spool, change, caplog) -> None:
    async with spool() as into:
        with pytest.raises(MediaRefused):
            await Buckets(["inputs"], {**s3, **change}).fetch("s3://inputs/a.png", into, deadline_s=20)
    assert next(iter(change)) in caplog.text


async def test_what_a_server_says_of_a_token_is_not_in_the_log(spool, caplog) -> None:
    reply = Reply(400, b"<Error><Code>InvalidToken</Code><Token-0>hush</Token-0></Error>")
    with BrokenS3(reply) as server:
        async with spool() as into:
            with pytest.raises(MediaRefused):
                await Buckets(["inputs"], server.env).fetch("s3://inputs/a.png", into, deadline_s=20)
    assert "InvalidToken" in caplog.text
    assert "hush" not in caplog.text


def test_a_slow_object_has_as_long_as_its_fetch() -> None:
    assert AT_WORK.request_s >= max(limit.deadline_s for limit in LIMITS.values())
