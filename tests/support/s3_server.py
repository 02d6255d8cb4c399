"""A real S3 protocol server (moto's) on loopback, in a thread."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, Self

import boto3
import httpx
from moto.server import ThreadedMotoServer
from support.loopback_fal_http import HttpServer, Reply, Request, answer

KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1"}


class S3Server:
    """Serves from `__enter__` to `__exit__`. Its objects outlive it, in this process."""

    def __enter__(self) -> Self:
        self._start(0)
        return self

    def __exit__(self, *_: object) -> None:
        self.go_away()

    @property
    def env(self) -> dict[str, str]:
        """The environment of its clients."""
        return {**KEYS, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self._port}"}

    def go_away(self) -> None:
        """Close the door: connections are refused."""
        self._server.stop()

    def come_back(self) -> None:
        """Open it again, on the same port."""
        self._start(self._port)

    def _start(self, port: int) -> None:
        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
        self._server.start()
        self._port = self._server.get_host_and_port()[1]


@contextmanager
def s3_server() -> Iterator[dict[str, str]]:
    """The server, as the environment of its clients."""
    with S3Server() as server:
        yield server.env


@contextmanager
def asking_for_keys(env: dict[str, str]) -> Iterator[None]:
    """The server refuses whom it does not know, which is everybody."""

    def after(requests: str) -> None:
        url, text = f"{env['AWS_ENDPOINT_URL']}/moto-api/reset-auth", {"Content-Type": "text/plain"}
        httpx.post(url, content=requests, headers=text, trust_env=False).raise_for_status()

    after("0")
    try:
        yield
    finally:
        after("inf")


class Stored(NamedTuple):
    data: bytes
    content_type: str
    parts: int
    """0: it came whole."""


def make_bucket(env: dict[str, str], name: str, objects: dict[str, bytes], *, public: bool = False) -> None:
    """Make a bucket with objects; everybody may read those of a public one."""
    client = _client(env)
    client.create_bucket(Bucket=name)
    for key, data in objects.items():
        client.put_object(Bucket=name, Key=key, Body=data, ACL="public-read" if public else "private")


def drop_bucket(env: dict[str, str], name: str) -> None:
    """Remove a bucket and what is in it."""
    client = _client(env)
    for key in objects_of(env, name):
        client.delete_object(Bucket=name, Key=key)
    client.delete_bucket(Bucket=name)


def objects_of(env: dict[str, str], name: str) -> dict[str, Stored]:
    """What is in a bucket, by key."""
    client = _client(env)
    found = {}
    for row in client.list_objects_v2(Bucket=name).get("Contents", []):
        one = client.get_object(Bucket=name, Key=row["Key"])
        parts = int(one["ETag"].strip('"').partition("-")[2] or 0)
        found[row["Key"]] = Stored(one["Body"].read(), one["ContentType"], parts)
    return found


def _client(env: dict[str, str]) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=env["AWS_ENDPOINT_URL"],
        region_name=env["AWS_REGION"],
        aws_access_key_id=env["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=env["AWS_SECRET_ACCESS_KEY"],
    )


class MetadataServer(HttpServer):
    """EC2's metadata service, with a role for whoever asks; `requests` are theirs."""

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[Request] = []

    async def respond(self, request: Request) -> Reply:
        self.requests.append(request)
        if request.path.endswith("/token"):
            return Reply(200, b"token", content_type="text/plain")
        if request.path.endswith("/security-credentials/"):
            return Reply(200, b"role", content_type="text/plain")
        key = {"AccessKeyId": "role-key", "SecretAccessKey": "role-secret", "Token": "role-token"}
        return answer(200, {"Code": "Success", "Expiration": "2099-01-01T00:00:00Z", **key})


class BrokenS3(HttpServer):
    """Gives every request the same answer."""

    def __init__(self, reply: Reply) -> None:
        super().__init__()
        self.reply = reply

    async def respond(self, request: Request) -> Reply:
        return self.reply

    @property
    def env(self) -> dict[str, str]:
        """The environment of its clients."""
        return {**KEYS, "AWS_ENDPOINT_URL": self.url}
