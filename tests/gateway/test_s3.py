"""What goes wrong with a bucket is said in one line with the next step, and without a secret."""

import socket
import time
from collections.abc import Iterator

import pytest
from support.loopback_fal_http import Reply
from support.s3_server import (
    BrokenS3,
    MetadataServer,
    S3Server,
    asking_for_keys,
    drop_bucket,
    make_bucket,
    objects_of,
)

from gateway.storage import StorageError, open_store

TOKEN = "AQoDYXdzEJr-a-session-token"
SLOW_S = 30.0
"""Far above the limits at a start, and far below obstore's own of three minutes."""


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    with S3Server() as server:
        make_bucket(server.env, "results", {})
        yield server


@pytest.fixture
def silent() -> Iterator[str]:
    """The URL of a server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


def refused(env: dict[str, str], url: str = "s3://results/p") -> str:
    """What a start is ended with."""
    started = time.monotonic()
    with pytest.raises(StorageError) as caught:
        open_store(url, env)
    assert time.monotonic() - started < SLOW_S
    said = str(caught.value)
    assert "GATEWAY_STORAGE_URL" in said
    assert "\n" not in said
    for name in ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        assert not env.get(name, "").strip() or env[name] not in said
    return said


def test_a_bucket_that_is_not_there(s3) -> None:
    said = refused(s3.env, "s3://nobody/p")
    assert "the bucket nobody at 127.0.0.1:" in said
    assert said.endswith("NoSuchBucket: make the bucket, or name another")


def test_a_key_that_the_server_does_not_know(s3) -> None:
    with asking_for_keys(s3.env):
        said = refused({**s3.env, "AWS_SECRET_ACCESS_KEY": "hush-hush"})
    assert "InvalidAccessKeyId: check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY" in said


@pytest.mark.parametrize(
    ("reply", "step"),
    [
        (
            Reply(400, f"<Error><Code>InvalidToken</Code><Token-0>{TOKEN}</Token-0></Error>".encode()),
            "InvalidToken: check AWS_ACCESS_KEY_ID",
        ),
        (
            Reply(403, b"<Error><Code>AccessDenied</Code></Error>"),
            "AccessDenied: allow this key s3:PutObject",
        ),
        (Reply(403), "403: check AWS_ACCESS_KEY_ID"),
        (Reply(301), "redirected: set AWS_REGION"),
        (Reply(400, b"<Error><Code>AuthorizationHeaderMalformed</Code></Error>"), "set AWS_REGION"),
        (Reply(404, b"<html>"), "404: see that AWS_ENDPOINT_URL is right"),
        (Reply(500), "500: see that AWS_ENDPOINT_URL is right"),
        (Reply(wire="reset"), "see that AWS_ENDPOINT_URL is right"),
    ],
)
def test_what_a_server_refuses(reply, step) -> None:
    with BrokenS3(reply) as server:
        assert step in refused({**server.env, "AWS_SESSION_TOKEN": TOKEN})


def test_a_server_that_is_not_there(s3) -> None:
    said = refused({**s3.env, "AWS_ENDPOINT_URL": "http://127.0.0.1:1"})
    assert "at 127.0.0.1:1 cannot be used: connection refused: see that AWS_ENDPOINT_URL is right" in said


def test_a_server_that_says_nothing(s3, silent) -> None:
    assert "no answer in time" in refused({**s3.env, "AWS_ENDPOINT_URL": silent})


@pytest.mark.parametrize(
    "url",
    ["nonsense", "ftp://h.test", "http://", "http://h.test:0", "http://h.test:99999", "http://[x", "http://[]",
     "http://[1.2.3.4]", "http://u:hush@h.test", "http://h.test/?hush", "http://h.test/#x", "http://h test",
     "http://999.1.1.1", "http://h.0xzz.0x1ffffffff", "http://xn--a", "http://h.test/%zz"],
)  # fmt: skip
def test_endpoints_that_are_none(s3, url) -> None:
    said = refused({**s3.env, "AWS_ENDPOINT_URL": url})
    assert "AWS_ENDPOINT_URL must be like" in said
    assert "hush" not in said


def test_a_region_that_is_none(s3) -> None:
    assert "AWS_REGION must be like" in refused({**s3.env, "AWS_REGION": "Frankfurt am Main"})


def test_https_is_spoken_where_http_is_not_said(s3) -> None:
    refused({**s3.env, "AWS_ENDPOINT_URL": s3.env["AWS_ENDPOINT_URL"].replace("http:", "https:")})


@pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_half_a_key(s3, name) -> None:
    env = {key: value for key, value in s3.env.items() if key != name}
    assert "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are set together" in refused(env)


@pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID", "AWS_SESSION_TOKEN"])
def test_a_variable_that_is_set_but_empty(s3, name) -> None:
    assert f"{name} is set but empty: unset it" in refused({**s3.env, name: " "})


def test_empty_server_and_region_are_none(s3, monkeypatch) -> None:
    for name in ("AWS_ENDPOINT_URL_S3", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.setenv(name, "")  # obstore reads the process's
    open_store("s3://results/p", {**s3.env, "AWS_ENDPOINT_URL_S3": "", "AWS_REGION": ""})


# -- without a key ---------------------------------------------------------------------------


def without_key(s3: S3Server) -> dict[str, str]:
    return {"AWS_ENDPOINT_URL": s3.env["AWS_ENDPOINT_URL"]}


async def test_the_role_of_the_machine_serves(s3, monkeypatch) -> None:
    with MetadataServer() as metadata:
        monkeypatch.setenv("AWS_METADATA_ENDPOINT", metadata.url)
        store = open_store("s3://results/role", without_key(s3))
        await store.put("images/a.png", b"x", "image/png")
        assert [request.method for request in metadata.requests][:3] == ["PUT", "GET", "GET"]
    assert "role/images/a.png" in objects_of(s3.env, "results")


@pytest.mark.parametrize("metadata", ["http://127.0.0.1:1", "silent"])
def test_a_machine_without_a_role(s3, monkeypatch, silent, metadata) -> None:
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", silent if metadata == "silent" else metadata)
    said = refused(without_key(s3))
    assert said.endswith(
        "no key: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give this machine a role"
    )


def test_a_bucket_that_is_not_there_with_a_role(s3, monkeypatch) -> None:
    with MetadataServer() as metadata:
        monkeypatch.setenv("AWS_METADATA_ENDPOINT", metadata.url)
        assert "NoSuchBucket" in refused(without_key(s3), "s3://nobody")


# -- later -----------------------------------------------------------------------------------


async def test_a_server_that_went_is_a_storage_error(s3, tmp_path) -> None:
    (tmp_path / "large").write_bytes(b"x" * (6 << 20))
    with S3Server() as server:
        store = open_store("s3://results/later", server.env)
    for call in (
        store.put("images/a.png", b"x", "image/png"),
        store.put("media/a", tmp_path / "large", "application/octet-stream"),
        store.get("images/a.png"),
        store.keys("images"),
    ):
        with pytest.raises(StorageError, match="connection refused"):
            await call


async def test_a_bucket_that_went_is_no_missing_picture(s3) -> None:
    make_bucket(s3.env, "goes", {})
    store = open_store("s3://goes", s3.env)
    await store.put("images/a.png", b"x", "image/png")
    drop_bucket(s3.env, "goes")
    for call in (store.put("images/a.png", b"x", "image/png"), store.get("images/a.png"), store.keys("")):
        with pytest.raises(StorageError, match="NoSuchBucket"):
            await call


async def test_an_object_that_breaks_off(s3) -> None:
    headers = {"ETag": '"x"', "Last-Modified": "Wed, 21 Oct 2015 07:28:00 GMT"}
    with BrokenS3(Reply(200, b"x" * 1000, headers)) as server:
        store = open_store("s3://results", server.env)
        server.reply = server.reply._replace(wire="half")
        with pytest.raises(StorageError, match=r"images/a\.png could not be read"):
            await store.get("images/a.png")
