"""From an answer of the Images API to pictures. Pure."""

import base64
import binascii

import httpx
import msgspec
from msgspec import Struct

from providers.base import ImageBytes, ImageUrl, RemoteImage, Succeeded
from providers.errors import MalformedOutput

__all__ = ["read_result"]


class _Image(Struct, frozen=True):
    b64_json: str | None = None
    url: str | None = None
    revised_prompt: str | None = None


class _Answer(Struct, frozen=True):
    data: list[_Image]
    output_format: str | None = None


def read_result(response: httpx.Response, base_url: str, provider: str) -> Succeeded:
    """The pictures of a success.

    Args:
        response: 2xx, read to its end.
        base_url: the server's; a picture may lie there, or anywhere on https.
        provider: the registry's name of the provider.

    Raises:
        MalformedOutput: no picture, or none that can be had.
    """
    try:
        answer = msgspec.json.decode(response.content, type=_Answer)
    except (msgspec.DecodeError, RecursionError) as error:
        raise _malformed("The provider's answer cannot be read.", provider, repr(error)) from error
    if not answer.data:
        raise _malformed("The provider's answer has no picture.", provider, "")
    kind = f"image/{answer.output_format or 'png'}"
    return Succeeded(
        images=tuple(_image(item, kind, base_url, provider) for item in answer.data),
        revised_prompt=answer.data[0].revised_prompt,
    )


def _image(item: _Image, kind: str, base_url: str, provider: str) -> RemoteImage:
    if item.b64_json is not None:
        try:
            return ImageBytes(data=base64.b64decode(item.b64_json, validate=True), content_type=kind)
        except binascii.Error as error:
            raise _malformed("A picture of the provider's cannot be read.", provider, repr(error)) from error
    if item.url is None or not _may_fetch(item.url, base_url):
        raise _malformed("The provider names a picture that is not on https.", provider, str(item.url)[:200])
    return ImageUrl(url=item.url)


def _may_fetch(url: str, base_url: str) -> bool:
    """On https, or where the server itself is: servers at home have no certificate."""
    try:
        found, own = httpx.URL(url), httpx.URL(base_url)
    except httpx.InvalidURL:
        return False
    same = (found.scheme, found.host, found.port) == (own.scheme, own.host, own.port)
    return bool(found.host) and not found.userinfo and (found.scheme == "https" or same)


def _malformed(message: str, provider: str, raw: str) -> MalformedOutput:
    return MalformedOutput(message, provider=provider, raw=raw[:300])
