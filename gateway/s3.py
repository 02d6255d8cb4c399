"""How an S3 bucket is opened, and in which words its faults are told.

Key, region and server come from the environment that is given. What an S3 server says of an error
is never repeated: it may hold the session token that it refuses.
"""

import re
from collections.abc import Mapping
from datetime import timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from msgspec import Struct
from obstore.store import S3Store

if TYPE_CHECKING:
    from obstore.store import S3Config  # there for type checkers alone

__all__ = ["AT_START", "AT_WORK", "Patience", "S3Login", "explain", "open_bucket"]

ENDPOINT = re.compile(r"https?://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?(/[A-Za-z0-9._/-]*)?")
REGION = re.compile(r"[A-Za-z0-9-]+")
NUMBER = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")
KEY_NAMES = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


class Patience(Struct, frozen=True, kw_only=True):
    """How long a bucket is waited for. Seconds."""

    connect_s: float
    silence_s: float
    """Without a byte of the answer; a part of a large object goes up in that time."""
    request_s: float
    """One request with its whole body."""
    retries: int
    retry_s: float
    """From the first try; later no other is begun."""


AT_WORK = Patience(connect_s=5, silence_s=30, request_s=600, retries=3, retry_s=20)
AT_START = Patience(connect_s=3, silence_s=4, request_s=4, retries=1, retry_s=4)


class S3Login(Struct, frozen=True, kw_only=True):
    """Where the S3 server is and who asks it."""

    endpoint: str
    region: str
    key: str
    secret: str
    token: str
    machine_role: bool
    """Without a key the role of this machine or container is asked for, as obstore does it (web
    identity, then ECS and EKS, then EC2's metadata service); else nothing is signed."""

    @classmethod
    def of(cls, env: Mapping[str, str], *, machine_role: bool) -> "S3Login":
        """What an environment says.

        Raises:
            ValueError: it cannot be used; names the variable, and holds no secret.
        """

        def first(*names: str) -> str:
            return next((text for name in names if (text := env.get(name, "").strip())), "")

        if machine_role:
            _refuse_empty(env)
        region = first("AWS_REGION", "AWS_DEFAULT_REGION") or "us-east-1"
        if not REGION.fullmatch(region):
            raise ValueError("AWS_REGION must be like eu-central-1")
        endpoint = first("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL") or f"https://s3.{region}.amazonaws.com"
        _check_endpoint(endpoint)
        key, secret, token = (first(name) for name in KEY_NAMES)
        if bool(key) != bool(secret):
            raise ValueError("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are set together or not at all")
        return cls(
            endpoint=endpoint.rstrip("/"),
            region=region,
            key=key,
            secret=secret,
            token=token,
            machine_role=machine_role,
        )

    def __repr__(self) -> str:
        return f"S3Login(endpoint={self.endpoint!r}, region={self.region!r})"


def _refuse_empty(env: Mapping[str, str]) -> None:
    # obstore reads these from the process too, and would sign with an empty one.
    for name in KEY_NAMES:
        if name in env and not env[name].strip():
            raise ValueError(f"{name} is set but empty: unset it, or give it a value")


def _check_endpoint(endpoint: str) -> None:
    # obstore panics on a URL that it cannot read, so what is let through must be one.
    try:
        right = ENDPOINT.fullmatch(endpoint) is not None and urlsplit(endpoint).port != 0
        host = urlsplit(endpoint).hostname or ""
        host.encode("ascii").decode("idna")
        if NUMBER.fullmatch(host.rpartition(".")[2]):
            ip_address(host)
    except ValueError:
        right = False
    if not right:
        raise ValueError("AWS_ENDPOINT_URL must be like https://s3.example.org, without user, ? and #")


def open_bucket(bucket: str, login: S3Login, patience: Patience, prefix: str | None = None) -> S3Store:
    """Open a bucket. No I/O.

    Args:
        bucket: its name.
        login: plain http is spoken only where its endpoint says so.
        patience: for each request.
        prefix: all keys are below it.
    """
    # Region and endpoint are always given, and the endpoint by the name that overrules the others:
    # obstore takes what it does not get from the process, and panics on an empty endpoint.
    config: S3Config = {"region": login.region, "aws_endpoint_url_s3": login.endpoint}
    if login.key:
        config |= {"access_key_id": login.key, "secret_access_key": login.secret}
        if login.token:
            config["session_token"] = login.token
    elif not login.machine_role:
        config["skip_signature"] = True
    return S3Store(
        bucket,
        prefix=prefix,
        config=config,
        client_options={
            "allow_http": login.endpoint.startswith("http://"),
            "connect_timeout": timedelta(seconds=patience.connect_s),
            "read_timeout": timedelta(seconds=patience.silence_s),
            "timeout": timedelta(seconds=patience.request_s),
        },
        retry_config={
            "max_retries": patience.retries,
            "retry_timeout": timedelta(seconds=patience.retry_s),
        },
    )


CODE = re.compile(r"<Code>(\w{1,64})</Code>")
STATUS = re.compile(r"status code: (\d{3})")
ASKED = re.compile(r"Error performing [A-Z]+ (https?://\S+)")
KEY_STEP = "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN"
REGION_STEP = "set AWS_REGION to the region of the bucket"
SERVER_STEP = "see that AWS_ENDPOINT_URL is right and that the server runs"
STEPS = {
    "NoSuchBucket": "make the bucket, or name another",
    "AccessDenied": "allow this key s3:PutObject, s3:GetObject, s3:DeleteObject and s3:ListBucket there",
    "InvalidAccessKeyId": KEY_STEP,
    "SignatureDoesNotMatch": KEY_STEP,
    "InvalidToken": KEY_STEP,
    "ExpiredToken": KEY_STEP,
    "401": KEY_STEP,
    "403": KEY_STEP,
    "AuthorizationHeaderMalformed": REGION_STEP,
    "PermanentRedirect": REGION_STEP,
    "redirected": REGION_STEP,
    "RequestTimeTooSkewed": "set the clock of this machine",
}
TRANSPORT = (
    ("redirect", "redirected"),
    ("dns error", "its name is not known"),
    ("ertificate", "its certificate is not trusted"),
    ("ConnectionRefused", "connection refused"),
    ("TimedOut", "no answer in time"),
    ("kind: Timeout", "no answer in time"),
)
"""What obstore's text holds, and what we say of it. The first that fits."""


def explain(error: Exception, login: S3Login) -> str:
    """What a fault is and what to do, in one line without a secret:
    `NoSuchBucket: make the bucket, or name another`.
    """
    text = str(error)
    asked = ASKED.search(text)
    if not login.key and asked and urlsplit(asked[1]).netloc != urlsplit(login.endpoint).netloc:
        # Not the bucket failed but the look for a role.
        return "no key: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give this machine a role"
    found = CODE.search(text) or STATUS.search(text)
    fault = found[1] if found else next((words for sign, words in TRANSPORT if sign in text), "no answer")
    return f"{fault}: {STEPS.get(fault, SERVER_STEP)}"
