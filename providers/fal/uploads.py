"""The request's files on their way to fal: each `MediaRef` becomes a URL that fal can read.

Uploads are no submits: they cost nothing, may be repeated, and when one fails nothing was sent.
fal-client's own `upload` cannot use our client or addresses (docs/decisions/0009), so the two
requests for a file of up to 100 MB are ours; larger ones go through its multipart upload.
"""

import asyncio
import base64
import binascii
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar, cast

import msgspec
from fal_client.client import AsyncCDNTokenManager, AsyncMultipartUpload, CDNToken
from msgspec import Struct

from providers.base import Call, MediaRef, MediaSource
from providers.errors import ProviderUnavailable, RequestRejected
from providers.fal.addresses import Addresses
from providers.fal.errors import of_upload
from providers.fal.link import Link, fal_client_view

__all__ = ["ONE_REQUEST_BYTES", "Uploads"]

T = TypeVar("T")

ONE_REQUEST_BYTES = 100 << 20
"""Larger files go up in parts."""
KEPT_S = 24 * 3600
"""How long fal keeps a user's file: longer than any job waits, and not for ever."""
TOKEN_MARGIN = timedelta(seconds=60)
_LIFECYCLE: Any = {"expiration_duration_seconds": KEPT_S}


class _Token(Struct, frozen=True):
    token: str
    token_type: str
    expires_at: datetime


class _Stored(Struct, frozen=True):
    access_url: str


class Uploads:
    """Brings files to fal's CDN.

    Args:
        link: what sends.
        addresses: fal's.
        timeout_s: seconds for one request of an upload.
        one_request_bytes: larger files go up in parts.
    """

    def __init__(
        self,
        link: Link,
        addresses: Addresses,
        *,
        timeout_s: float,
        one_request_bytes: int = ONE_REQUEST_BYTES,
    ) -> None:
        self._link = link
        self._addresses = addresses
        self._timeout_s = timeout_s
        self._one_request_bytes = one_request_bytes
        self._token: _Token | None = None
        self._renewing = asyncio.Lock()

    async def place(self, call: Call) -> dict[str, Any]:
        """A call's payload with a URL for each `MediaRef`; the same file goes up once.

        Raises:
            ProviderUnavailable: an upload failed; nothing was submitted.
            RequestRejected: a file that fal cannot read or does not take.
            CredentialsRejected, ProviderQuota: about our account at fal.
            OutputFetchFailed: our copy of a file is gone.
        """
        urls: dict[MediaRef, str] = {}
        for ref in _references(call.payload):
            if ref not in urls:
                urls[ref] = await self._url(ref, call.media)
        return cast(dict[str, Any], _replaced(call.payload, urls))

    async def _url(self, ref: MediaRef, media: MediaSource) -> str:
        if ref.key is not None:
            return await self._upload(await media.read(ref), ref.content_type)
        if ref.url.startswith("https://"):
            return ref.url
        if ref.url.startswith("data:"):
            return await self._upload(*_inline(ref.url, self._link.provider))
        raise RequestRejected(
            f"fal cannot read {ref.url[:80]!r}: give an https or data URL.", provider=self._link.provider
        )

    async def _upload(self, data: bytes, content_type: str | None) -> str:
        kind = content_type or "application/octet-stream"
        if len(data) > self._one_request_bytes:
            return await self._upload_in_parts(data, kind)
        token = await self._fresh_token()
        response = await self._link.send(
            "POST",
            f"{self._addresses.cdn}/files/upload",
            within_s=self._timeout_s,
            content=data,
            headers={
                "Authorization": f"{token.token_type} {token.token}",
                "Content-Type": kind,
                "X-Fal-File-Name": _file_name(kind),
                "X-Fal-Object-Lifecycle": msgspec.json.encode(_LIFECYCLE).decode(),
            },
        )
        if not response.is_success:
            raise of_upload(self._link.read(response), self._link.provider)
        return self._checked(self._read(response.content, _Stored).access_url)

    async def _upload_in_parts(self, data: bytes, kind: str) -> str:
        view = fal_client_view(
            self._link,
            may_ask=self._addresses.has_upload,
            refuse=of_upload,
            within_s=self._timeout_s,
            with_key=False,
        )
        try:
            url = await AsyncMultipartUpload.save(
                client=view,
                token_manager=cast(AsyncCDNTokenManager, _Tokens(self)),
                file_name=_file_name(kind),
                data=data,
                content_type=kind,
                object_lifecycle_preference=_LIFECYCLE,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise self._unreadable(error) from error
        return self._checked(url)

    async def cdn_token(self) -> CDNToken:
        """The credential of an upload, as fal-client has it."""
        token = await self._fresh_token()
        return CDNToken(
            token=token.token,
            token_type=token.token_type,
            base_upload_url=self._addresses.cdn,
            expires_at=token.expires_at,
        )

    async def _fresh_token(self) -> _Token:
        async with self._renewing:
            if self._token is None or self._token.expires_at < datetime.now(UTC) + TOKEN_MARGIN:
                self._token = await self._new_token()
            return self._token

    async def _new_token(self) -> _Token:
        response = await self._link.send(
            "POST",
            f"{self._addresses.rest}/storage/auth/token?storage_type=fal-cdn-v3",
            within_s=self._timeout_s,
            json={},
            headers=self._link.authorization(),
        )
        if not response.is_success:
            raise of_upload(self._link.read(response), self._link.provider)
        token = self._read(response.content, _Token)
        when = token.expires_at if token.expires_at.tzinfo else token.expires_at.replace(tzinfo=UTC)
        return _Token(token=token.token, token_type=token.token_type, expires_at=when)

    def _read(self, content: bytes, kind: type[T]) -> T:
        try:
            return msgspec.json.decode(content, type=kind)
        except msgspec.DecodeError as error:
            raise self._unreadable(error) from error

    def _checked(self, url: str) -> str:
        """A URL that is handed to fal's runner: nothing but fal's own."""
        if not self._addresses.has_upload(url):
            raise self._unreadable(ValueError(f"the upload is at {url[:200]}"))
        return url

    def _unreadable(self, error: Exception) -> ProviderUnavailable:
        return ProviderUnavailable(
            "fal's answer to an upload cannot be read. Nothing was sent or charged.",
            provider=self._link.provider,
            raw=self._link.clean(repr(error))[:300],
        )


class _Tokens:
    """What fal-client's multipart upload asks of its token manager."""

    def __init__(self, uploads: Uploads) -> None:
        self._uploads = uploads

    async def get_token(self) -> CDNToken:
        return await self._uploads.cdn_token()


def _references(value: Any) -> list[MediaRef]:
    if isinstance(value, MediaRef):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [ref for item in value for ref in _references(item)] if isinstance(value, list | tuple) else []


def _replaced(value: Any, urls: dict[MediaRef, str]) -> Any:
    if isinstance(value, MediaRef):
        return urls[value]
    if isinstance(value, dict):
        return {name: _replaced(item, urls) for name, item in value.items()}
    return [_replaced(item, urls) for item in value] if isinstance(value, list | tuple) else value


def _inline(url: str, provider: str) -> tuple[bytes, str]:
    """The bytes and the content type of a `data:` URL."""
    head, comma, body = url.partition(",")
    kind, *rest = head.removeprefix("data:").split(";")
    try:
        if not comma or "base64" not in rest:
            raise binascii.Error("not base64")
        return base64.b64decode(body, validate=True), kind or "application/octet-stream"
    except binascii.Error as error:
        raise RequestRejected("A data URL of the request is not base64.", provider=provider) from error


def _file_name(content_type: str) -> str:
    """A name that tells nothing but the type."""
    known = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp"}
    return f"input.{known.get(content_type, 'safetensors' if 'safetensors' in content_type else 'bin')}"
