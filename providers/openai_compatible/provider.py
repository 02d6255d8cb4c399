"""The provider `openai_compatible`: any server with `/images/generations` and `/images/edits`.

It answers at once: `submit` waits for the pictures. What it was sent and got no answer to may have been
made and billed, so it is never sent again by itself.
"""

import asyncio
import json
import re
from typing import Any, ClassVar
from urllib.parse import urlsplit

import httpx

from providers.base import (
    Call,
    Failed,
    Handle,
    MediaRef,
    Poll,
    ProviderContext,
    Succeeded,
    Unavailable,
)
from providers.errors import JobLost, ProviderUnavailable, RequestRejected, SubmitUnknown
from providers.http import create_client, provably_not_sent
from providers.openai_compatible.errors import of_answer
from providers.openai_compatible.results import read_result
from registry.schema import Route

__all__ = ["OpenAiCompatibleProvider"]

SILENCE_S = 600.0
"""A picture may take minutes, in which not a byte comes."""
KEY = re.compile(r"[\x21-\x7e]+")


class OpenAiCompatibleProvider:
    """Asks one server. Build it with `create`."""

    type: ClassVar[str] = "openai_compatible"

    def __init__(self, client: httpx.AsyncClient, base_url: str, name: str, key: str) -> None:
        self._client = client
        self._base_url = base_url
        self._name = name
        self._key = key

    @classmethod
    def unavailable(cls, context: ProviderContext, route: Route) -> Unavailable | None:
        """See `providers.base.Provider.unavailable`. A row without a `key` needs none."""
        if not _is_address(context.row.base_url or ""):
            return Unavailable(
                reason=f"the provider {context.name!r} has no base_url: name it in the registry, "
                '"https://host/v1"'
            )
        setting = context.row.key
        if setting is None:
            return None
        key = context.env.get(setting, "").strip()
        if not key:
            return Unavailable(
                reason=f"the provider {context.name!r} has no key: set {setting}", setting=setting
            )
        if not KEY.fullmatch(key):
            return Unavailable(
                reason=f"{setting} is no key: it holds blanks or strange characters.", setting=setting
            )
        return None

    @classmethod
    def create(cls, context: ProviderContext) -> "OpenAiCompatibleProvider":
        """See `providers.base.Provider.create`."""
        key = context.env.get(context.row.key or "", "").strip()
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        client = create_client(headers=headers, timeout_s=SILENCE_S)
        return cls(client, (context.row.base_url or "").rstrip("/"), context.name, key)

    def idempotent_submit(self, route: Route) -> bool:
        """The API has no key of that kind: never."""
        return False

    async def submit(self, call: Call) -> Handle | Succeeded:
        """See `providers.base.Provider.submit`. With a picture it is an edit, and goes as a form."""
        files = await _files(call)
        plain = {name: value for name, value in call.payload.items() if not _is_media(value)}
        body: dict[str, Any] = {"model": call.route.endpoint, **plain}
        what: dict[str, Any] = {"json": body}
        if files:
            what = {"data": {name: _field(value) for name, value in body.items()}, "files": files}
        path = "/images/edits" if files else "/images/generations"
        request = self._client.build_request("POST", self._base_url + path, **what)
        response = await self._send(request, call.timeout_s)
        if not response.is_success:
            raise of_answer(response, self._name, self._key)
        return read_result(response, self._base_url, self._name)

    def handle_for(self, route: Route, remote_id: str) -> Handle:
        """See `providers.base.Provider.handle_for`.

        Raises:
            RequestRejected: always: these servers keep no jobs.
        """
        raise RequestRejected(
            "This provider answers at once and keeps no jobs, so that there is none to adopt.",
            provider=self._name,
        )

    async def poll(self, handle: Handle) -> Poll:
        """See `providers.base.Provider.poll`. There are no handles of this provider."""
        return Failed(error=JobLost("This provider keeps no jobs.", provider=self._name))

    async def cancel(self, handle: Handle) -> None:
        """See `providers.base.Provider.cancel`. There is nothing to cancel by."""

    async def aclose(self) -> None:
        """See `providers.base.Provider.aclose`."""
        await self._client.aclose()

    async def _send(self, request: httpx.Request, within_s: float) -> httpx.Response:
        """One request and its whole reply.

        Raises:
            ProviderUnavailable: it was provably not sent.
            SubmitUnknown: it may have been.
        """
        try:
            async with asyncio.timeout(within_s):
                return await self._client.send(request)
        except (httpx.HTTPError, TimeoutError) as error:
            raw = repr(error).replace(self._key, "[key]") if self._key else repr(error)
            if provably_not_sent(error):
                raise ProviderUnavailable(
                    "The provider could not be reached. Nothing was charged.", provider=self._name, raw=raw
                ) from error
            raise SubmitUnknown(
                "The provider was asked and gave no answer: the pictures may have been made.",
                provider=self._name,
                raw=raw,
            ) from error


def _is_address(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.username is None


def _is_media(value: Any) -> bool:
    return isinstance(value, MediaRef) or (
        isinstance(value, list | tuple) and bool(value) and all(isinstance(item, MediaRef) for item in value)
    )


async def _files(call: Call) -> list[tuple[str, tuple[str, bytes, str]]]:
    """The pictures of a payload as parts of a form; several of one name as `name[]`."""
    found: list[tuple[str, tuple[str, bytes, str]]] = []
    for name, value in call.payload.items():
        if not _is_media(value):
            continue
        several = not isinstance(value, MediaRef)
        for position, ref in enumerate(value if several else (value,)):
            kind = ref.content_type or "image/png"
            file = f"{name}-{position}.{kind.partition('/')[2]}", await call.media.read(ref), kind
            found.append((f"{name}[]" if several else name, file))
    return found


def _field(value: Any) -> str:
    """A member of the body as a form has it."""
    return value if isinstance(value, str) else json.dumps(value)
