"""fal's platform API: reads of it, each sent once, and every failure with a next step.

Lists come in pages: `{"<name>": [...], "has_more": true, "next_cursor": "..."}`.
"""

import asyncio
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
import msgspec

from providers.fal.addresses import Addresses
from providers.fal.findings import CatalogueError
from providers.fal.replies import read_reply
from providers.http import create_client

__all__ = ["Platform", "Query"]

MOST_ASKING = 4
WITHIN_S = 60.0
"""Seconds for a request and its whole reply."""

T = TypeVar("T")
Query = list[tuple[str, str | int | float | bool | None]]


class Platform:
    """A client of the platform API; to be used in `async with`.

    Args:
        addresses: fal's.
        key: fal's, `id:secret`; None: only what is public can be asked for.
        key_name: the variable that has it, for messages.
        scope: what the key must be allowed, for messages.
    """

    def __init__(
        self, addresses: Addresses, key: str | None, key_name: str = "FAL_KEY", scope: str = ""
    ) -> None:
        self.addresses = addresses
        self.key = key
        self.key_name = key_name
        self._scope = scope
        self._client = create_client(timeout_s=WITHIN_S, max_connections=MOST_ASKING)
        self._turns = asyncio.Semaphore(MOST_ASKING)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.aclose()

    async def pages(self, path: str, query: Query, kind: type[T], most: int) -> AsyncIterator[T | None]:
        """Every page of a list; None, once, for a 404.

        Args:
            path: below the platform's address.
            query: of the first page.
            kind: a page; has `has_more` and `next_cursor`.
            most: pages.

        Raises:
            CatalogueError: fal could not be asked, or the list does not end.
        """
        cursor: str | None = None
        for _ in range(most):
            here = query if cursor is None else [*query, ("cursor", cursor)]
            url = self.addresses.platform + path
            reply = await self.get(url, here, with_key=True, setting="FAL_PLATFORM_URL")
            if reply is None:
                yield None
                return
            page: Any = self.decoded(reply, kind)
            yield page
            if not page.has_more or page.next_cursor in (None, "", cursor):
                return
            cursor = page.next_cursor
        raise CatalogueError(f"fal's list does not end after {most} pages: try again later")

    async def get(self, url: str, query: Query, *, with_key: bool, setting: str) -> httpx.Response | None:
        """A reply of 2xx; None for 404.

        Raises:
            CatalogueError: there is no such reply.
        """
        headers = {"Authorization": f"Key {self.key}"} if with_key else {}
        host = httpx.URL(url).host
        try:
            async with self._turns, asyncio.timeout(WITHIN_S):
                reply = await self._client.get(url, params=httpx.QueryParams(query), headers=headers)
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            raise CatalogueError(
                f"fal could not be reached at {host}: see that this machine has a network, and that "
                f"{setting} is right"
            ) from error
        if reply.status_code == 404:
            return None
        if not reply.is_success:
            raise self._refused(reply, host, setting)
        return reply

    def _refused(self, reply: httpx.Response, host: str, setting: str) -> CatalogueError:
        said = read_reply(reply, self.key or "")
        if said.status in (401, 403):
            return CatalogueError(
                f"fal refused the key (HTTP {said.status}): set {self.key_name} to one that works"
                f"{self._scope} (https://fal.ai/dashboard/keys)"
            )
        if said.status == 429:
            wait = "a minute" if said.retry_after is None else f"{said.retry_after:g} seconds"
            return CatalogueError(f"fal takes no more requests at the moment: try again in {wait}")
        if said.status < 500:
            words = f": {said.text}" if said.text and said.is_json else ""
            return CatalogueError(f"{host} answered HTTP {said.status}{words}. Is {setting} right?")
        return CatalogueError(f"{host} answered HTTP {said.status}: try again later")

    def decoded(self, reply: httpx.Response, kind: type[T]) -> T:
        """A reply's JSON.

        Raises:
            CatalogueError: it is not what it should be.
        """
        try:
            return msgspec.json.decode(reply.content, type=kind)
        except (msgspec.DecodeError, RecursionError) as error:
            raise CatalogueError(
                f"an answer of {reply.url.host} cannot be read ({error}): fal's API may have changed"
            ) from error
