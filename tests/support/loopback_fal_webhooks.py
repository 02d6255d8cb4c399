"""The loopback fal's webhooks: signed with keys of its own, which it publishes as a JWKS document."""

import base64
import hashlib
import time
from ipaddress import ip_address
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httpx
import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from support.loopback_fal_http import Reply, Request, answer

USER = "loopback-user"


class SentCall(NamedTuple):
    """A webhook as it goes over the wire."""

    headers: dict[str, str]
    body: bytes


class Caller:
    """Signs and delivers.

    Args:
        violations: where it is noted when a client asks for what the real one gives up on.
    """

    def __init__(self, violations: list[str]) -> None:
        self.violations = violations
        self.key = Ed25519PrivateKey.generate()
        self.published = [self.key]
        self.calls_loopback = False
        """The real one never calls a loopback or private address."""
        self.answers: list[int] = []
        """What each call was answered."""

    def rotate(self) -> None:
        """Sign with a new key, and publish it with the last one."""
        self.key = Ed25519PrivateKey.generate()
        self.published = [self.key, self.published[0]]

    def jwks(self, request: Request) -> Reply:
        """The published keys, for everybody."""
        if "authorization" in request.headers:
            self.violations.append("a credential was sent for the public keys")
        return answer(200, {"keys": [jwk(key) for key in self.published]})

    def call(self, request_id: str, *, user: str = USER, at: float | None = None, **more: Any) -> SentCall:
        """A call that a job has ended, signed.

        Args:
            request_id: of the queue.
            user: whose job it was.
            at: seconds since 1970; now when not given.
            more: further members of the body.
        """
        body = msgspec.json.encode({"request_id": request_id, "status": "OK", "payload": {}, **more})
        return SentCall(signed(self.key, body, request_id, user, at), body)

    def deliver(self, url: str, request_id: str) -> int | None:
        """POST a call; the status of the answer. None when it was given up before it was sent."""
        if not self.calls_loopback and private(url):
            self.violations.append(f"a webhook to {urlsplit(url).netloc}, where fal calls nobody")
            return None
        sent = self.call(request_id)
        with httpx.Client(trust_env=False, timeout=15) as http:
            status = http.post(url, content=sent.body, headers=sent.headers).status_code
        self.answers.append(status)
        return status


def signed(
    key: Ed25519PrivateKey, body: bytes, request_id: str, user: str = USER, at: float | None = None
) -> dict[str, str]:
    """The headers of a call."""
    timestamp = str(int(time.time() if at is None else at))
    message = "\n".join([request_id, user, timestamp, hashlib.sha256(body).hexdigest()])
    return {
        "content-type": "application/json",
        "x-fal-webhook-request-id": request_id,
        "x-fal-webhook-user-id": user,
        "x-fal-webhook-timestamp": timestamp,
        "x-fal-webhook-signature": key.sign(message.encode()).hex(),
    }


def jwk(key: Ed25519PrivateKey) -> dict[str, str]:
    """A key as a JWKS document has it (RFC 8037)."""
    raw = key.public_key().public_bytes_raw()
    x = base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
    return {"kty": "OKP", "crv": "Ed25519", "use": "sig", "kid": x[:8], "x": x}


def private(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return not ip_address(host).is_global
    except ValueError:
        return host == "localhost"
