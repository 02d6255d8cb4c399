"""fal's calls to us when a job has ended: what proves one to be fal's, and of our account.

X-Fal-Webhook-Request-Id, -User-Id, -Timestamp    signed, with the SHA-256 of the body
X-Fal-Webhook-Signature                           Ed25519, in hex, by one of the keys that fal publishes

The rule (message, window, keys for a day at most) is fal's: docs.fal.ai, "Webhooks".
"""

import asyncio
import base64
import hashlib
import logging
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from msgspec import Struct

from providers.base import Webhook, WebhookRefused
from providers.errors import ProviderUnavailable
from providers.fal.link import Link

__all__ = ["KeyStore", "Signed", "Webhooks", "is_signed", "read_keys", "read_signed"]

log = logging.getLogger(__name__)

WINDOW_S = 300
"""A call is good so long before and after its timestamp."""
KEYS_LAST_S = 86_400.0
KEYS_AGAIN_S = 60.0
"""Between two looks for the keys: a flood of bad signatures must not become one at fal."""
MOST_KEYS = 16
PREFIX = "x-fal-webhook-"

_PLAIN = re.compile(r"[\x21-\x7e]{1,200}", re.ASCII)
_TIME = re.compile(r"\d{1,12}", re.ASCII)
_SIGNATURE = re.compile(r"[0-9A-Fa-f]{128}", re.ASCII)
_REQUEST_ID = re.compile(r"[A-Za-z0-9_-]{1,128}", re.ASCII)


class Signed(Struct, frozen=True, kw_only=True):
    """A call that is whole, in time and of our account, if its signature is good."""

    message: bytes
    signature: bytes
    """64 bytes."""
    webhook: Webhook


class _Body(Struct, frozen=True, kw_only=True):
    request_id: str | None = None
    gateway_request_id: str | None = None


class _Jwks(Struct, frozen=True, kw_only=True):
    keys: list[Any]


def read_signed(headers: Mapping[str, str], body: bytes, *, now_s: float, user_ids: frozenset[str]) -> Signed:
    """What a call claims. Pure; `is_signed` says whether to believe it.

    Args:
        headers: their names in small letters.
        body: as it came.
        now_s: seconds since 1970 UTC.
        user_ids: our accounts' ids at fal; none: a call of any account is read, and not `ours`.

    Raises:
        WebhookRefused: a header is missing or strange, the time is past, or the account is not ours.
    """
    request_id = _header(headers, "request-id", _PLAIN)
    user_id = _header(headers, "user-id", _PLAIN)
    timestamp = _header(headers, "timestamp", _TIME)
    signature = _header(headers, "signature", _SIGNATURE)
    if abs(now_s - int(timestamp)) > WINDOW_S:
        raise WebhookRefused("its timestamp is more than five minutes from now")
    if user_ids and user_id not in user_ids:
        raise WebhookRefused("it is of another fal account than FAL_USER_ID")
    digest = hashlib.sha256(body).hexdigest()
    return Signed(
        message="\n".join((request_id, user_id, timestamp, digest)).encode(),
        signature=bytes.fromhex(signature),
        webhook=Webhook(request_ids=_request_ids(body, request_id), ours=bool(user_ids)),
    )


def is_signed(signed: Signed, keys: Iterable[Ed25519PublicKey]) -> bool:
    """Whether one of the keys made the signature. Pure."""
    for key in keys:
        try:
            key.verify(signed.signature, signed.message)
        except InvalidSignature:
            continue
        return True
    return False


def read_keys(content: bytes) -> tuple[Ed25519PublicKey, ...]:
    """The Ed25519 keys of a JWKS document (RFC 8037); other kinds are passed over. Pure.

    Raises:
        ValueError: it is none, or has no such key.
    """
    jwks = msgspec.json.decode(content, type=_Jwks)
    found = [raw for raw in map(_key, jwks.keys) if raw is not None]
    if not found:
        raise ValueError("no Ed25519 key is in it")
    return tuple(Ed25519PublicKey.from_public_bytes(raw) for raw in found[:MOST_KEYS])


class KeyStore:
    """fal's keys, kept for a day; older ones only while fal cannot be asked.

    Args:
        link: what asks.
        url: of the JWKS document.
        within_s: seconds for the request and its whole reply.
    """

    def __init__(self, link: Link, url: str, within_s: float) -> None:
        self._link = link
        self._url = url
        self._within_s = within_s
        self._keys: tuple[Ed25519PublicKey, ...] = ()
        self._fetched_s = self._asked_s = -math.inf
        self._asking = asyncio.Lock()

    async def keys(self, now_s: float) -> tuple[Ed25519PublicKey, ...]:
        """The keys; none when there never were any to be had."""
        if abs(now_s - self._fetched_s) >= KEYS_LAST_S:
            await self.ask(now_s)
        return self._keys

    async def ask(self, now_s: float) -> tuple[Ed25519PublicKey, ...]:
        """The keys as fal has them now, if it was not asked within the last minute."""
        async with self._asking:
            if abs(now_s - self._asked_s) >= KEYS_AGAIN_S:
                self._asked_s = now_s
                await self._fetch(now_s)
        return self._keys

    async def _fetch(self, now_s: float) -> None:
        try:
            # Without our key: the document is for everybody.
            response = await self._link.send("GET", self._url, within_s=self._within_s)
            if response.status_code != 200:
                raise ValueError(f"HTTP {response.status_code}")
            self._keys = read_keys(response.content)
        except (ProviderUnavailable, ValueError) as error:
            log.warning("fal's keys for webhooks cannot be had: %s", getattr(error, "raw", "") or error)
        else:
            self._fetched_s = now_s


class Webhooks:
    """Reads fal's calls.

    Args:
        link: asks for the keys.
        url: of their document.
        user_ids: our accounts' ids at fal.
        within_s: seconds that asking may take.
    """

    def __init__(self, link: Link, url: str, user_ids: frozenset[str], within_s: float) -> None:
        self._provider = link.provider
        self._user_ids = user_ids
        self._store = KeyStore(link, url, within_s)

    async def read(self, headers: Mapping[str, str], body: bytes, now_s: float) -> Webhook:
        """See `providers.base.CallsBack.read_webhook`."""
        signed = read_signed(headers, body, now_s=now_s, user_ids=self._user_ids)
        keys = await self._store.keys(now_s)
        if is_signed(signed, keys):
            return signed.webhook
        # By none that we know: fal may have a new one.
        keys = await self._store.ask(now_s)
        if is_signed(signed, keys):
            return signed.webhook
        if not keys:
            raise ProviderUnavailable("fal's keys cannot be had now.", provider=self._provider)
        raise WebhookRefused("its signature is not of a key of fal's")


def _header(headers: Mapping[str, str], name: str, shape: re.Pattern[str]) -> str:
    value = headers.get(PREFIX + name, "")
    if not shape.fullmatch(value):
        raise WebhookRefused(f"its header {PREFIX}{name} is missing, or is none")
    return value


def _request_ids(body: bytes, header: str) -> tuple[str, ...]:
    """The queue's id first: a body names that and, after a repeat of fal's, the repeat's own."""
    try:
        said = msgspec.json.decode(body, type=_Body)
    except (msgspec.DecodeError, RecursionError):
        said = _Body()
    ids = dict.fromkeys(text for text in (said.request_id, header, said.gateway_request_id) if text)
    found = tuple(text for text in ids if _REQUEST_ID.fullmatch(text))
    if not found:
        raise WebhookRefused("it names no request")
    return found


def _key(item: Any) -> bytes | None:
    """The 32 bytes of a key; None for another kind."""
    if (
        not isinstance(item, dict)
        or item.get("kty", "OKP") != "OKP"
        or item.get("crv", "Ed25519") != "Ed25519"
    ):
        return None
    text = item.get("x")
    if not isinstance(text, str) or not text.isascii():
        return None
    try:
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        return None
    return raw if len(raw) == 32 else None
