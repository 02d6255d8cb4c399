"""From the reply with a job's result to its pictures and its bill. Pure."""

import base64
import binascii
import re
from decimal import Decimal, InvalidOperation
from typing import Any

import httpx
import msgspec
from msgspec import Struct

from providers.base import ImageBytes, ImageUrl, RemoteImage, Succeeded
from providers.errors import MalformedOutput
from providers.fal.addresses import Addresses
from providers.fal.errors import content_rejected

__all__ = ["MOST_PHASE", "log_lines", "read_result"]

MOST_PHASE = 200
_DATA = re.compile(r"data:([\w.+-]+/[\w.+-]+)?(?:;[\w=.+-]+)*;base64,", re.ASCII)


class _Image(Struct, frozen=True):
    url: str
    content_type: str | None = None


class _Output(Struct, frozen=True):
    """Text-to-image and edits answer with `images`, utilities with `image`."""

    images: list[_Image] | None = None
    image: _Image | None = None
    seed: int | None = None
    has_nsfw_concepts: list[bool | None] | None = None
    prompt: Any = None
    """What was drawn: after fal's own rewriting, if it was asked for."""


def read_result(
    response: httpx.Response, addresses: Addresses, provider: str, metrics: Any = None
) -> Succeeded:
    """The pictures of a result and what it was billed as.

    Args:
        response: 2xx, read to its end.
        addresses: fal's.
        provider: the registry's name of the provider, for errors.
        metrics: of the status; `inference_time` in seconds.

    Raises:
        ContentRejected: a picture is marked as not safe (fal blacks it out).
        MalformedOutput: no picture, or none that can be fetched.
    """
    try:
        output = msgspec.json.decode(response.content, type=_Output)
    except (msgspec.DecodeError, RecursionError) as error:
        raise _malformed("fal's result cannot be read", provider, repr(error)) from error
    if any(output.has_nsfw_concepts or ()):
        raise content_rejected(provider, "has_nsfw_concepts")
    found = output.images or ([output.image] if output.image else [])
    if not found:
        raise _malformed("fal's result has no picture", provider, "")
    return Succeeded(
        images=tuple(_image(item, output.seed, addresses, provider) for item in found),
        run_seconds=_seconds(metrics),
        billable_units=_units(response.headers),
        revised_prompt=output.prompt if isinstance(output.prompt, str) else None,
    )


def log_lines(logs: Any) -> tuple[str, ...]:
    """The lines of a job's log; fal gives all of it at each look."""
    entries = logs if isinstance(logs, list) else []
    messages = [entry.get("message") if isinstance(entry, dict) else None for entry in entries]
    texts = [message for message in messages if isinstance(message, str)]
    return tuple(line for text in texts for line in map(_last_written, text.split("\n")) if line)


def _last_written(line: str) -> str:
    """What is left to be seen of a line: a progress bar rewrites it after a carriage return."""
    written = [part.strip() for part in line.splitlines() if part.strip()]
    return written[-1] if written else ""


def _image(item: _Image, seed: int | None, addresses: Addresses, provider: str) -> RemoteImage:
    if item.url.startswith("data:"):
        return _inline(item, seed, provider)
    if not addresses.has_file(item.url):
        raise _malformed("fal's result names a picture that is not on https", provider, item.url[:200])
    return ImageUrl(url=item.url, content_type=item.content_type, seed=seed)


def _inline(item: _Image, seed: int | None, provider: str) -> ImageBytes:
    head = _DATA.match(item.url)
    if head is None:
        raise _malformed("fal's result has a picture that cannot be read", provider, item.url[:80])
    try:
        data = base64.b64decode(item.url[head.end() :], validate=True)
    except binascii.Error as error:
        raise _malformed("fal's result has a picture that cannot be read", provider, repr(error)) from error
    kind = item.content_type or head.group(1) or "application/octet-stream"
    return ImageBytes(data=data, content_type=kind, seed=seed)


def _seconds(metrics: Any) -> float | None:
    value = metrics.get("inference_time") if isinstance(metrics, dict) else None
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < 1e9:
        return None
    return float(value)


def _units(headers: httpx.Headers) -> str | None:
    """X-Fal-Billable-Units, when it is a number of units and not something else."""
    text = headers.get("x-fal-billable-units", "").strip()
    try:
        units = Decimal(text)
    except InvalidOperation:
        return None
    return text if units.is_finite() and 0 <= units < 1_000_000 else None


def _malformed(what: str, provider: str, raw: str) -> MalformedOutput:
    return MalformedOutput(f"{what}. Nothing was charged.", provider=provider, raw=raw[:300])
