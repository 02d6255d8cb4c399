"""The one guarded fetch of a user's URL: each hop of it is a connection of `Guarded`."""

import asyncio
import logging
import ssl
from collections.abc import Callable, Collection

import aiohttp
from yarl import URL

from gateway.media.addresses import PORTS, Target, is_public
from gateway.media.errors import MediaRefused
from gateway.media.guarded import Address, Guarded, Lookup, reason, system_lookup
from gateway.media.spool import Spool

__all__ = ["Fetcher"]

log = logging.getLogger(__name__)

MAX_REDIRECTS = 5
REDIRECTS = frozenset({301, 302, 303, 307, 308})
CHUNK = 1 << 16
HEADERS = {"Accept": "*/*", "Accept-Encoding": "identity", "User-Agent": "image-gateway"}


class Fetcher:
    """Fetches users' URLs.

    Args:
        allow: as in `Guarded`, and so are the others.
        lookup: resolves names.
        public: which addresses are of the open internet.
        ports: which ports are.
        ssl_context: what is trusted.
    """

    def __init__(
        self,
        allow: Collection[tuple[str, int]] = (),
        *,
        lookup: Lookup = system_lookup,
        public: Callable[[Address], bool] = is_public,
        ports: Collection[int] = PORTS,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._guarded = Guarded(allow, lookup=lookup, public=public, ports=ports, ssl_context=ssl_context)

    def close(self) -> None:
        """Give the threads back."""
        self._guarded.close()

    async def fetch(self, url: str, spool: Spool, *, deadline_s: float) -> None:
        """Bring what is behind a URL into a spool.

        Args:
            url: as the user gave it.
            spool: takes the bytes, and caps them.
            deadline_s: seconds for everything: names, redirects, body.

        Raises:
            MediaRefused: not fetched; says why.
            MediaTooLarge: more than the spool takes.
        """
        try:
            async with asyncio.timeout(deadline_s):
                await self._follow(url, spool)
        except TimeoutError as error:
            raise MediaRefused(f"it did not arrive within {deadline_s:g} seconds") from error

    async def _follow(self, url: str, spool: Spool) -> None:
        for _ in range(MAX_REDIRECTS + 1):
            target = self._guarded.read(url)
            location = await self._hop(target, spool)
            if location is None:
                return
            url = _joined(target, location)
        raise MediaRefused(f"more than {MAX_REDIRECTS} redirects")

    async def _hop(self, target: Target, spool: Spool) -> str | None:
        """One request: the body into the spool, or where it redirects to."""
        try:
            async with (
                self._guarded.session(target) as session,
                session.get(target.url, headers=HEADERS, allow_redirects=False) as response,
            ):
                return await _take(response, spool)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            log.info("a reference at %s was not fetched: %r", target.host, error)
            raise MediaRefused(f"{target.host} did not give it: {reason(error)}") from error


async def _take(response: aiohttp.ClientResponse, spool: Spool) -> str | None:
    """The body into the spool, or where the answer redirects to."""
    if response.status in REDIRECTS and "Location" in response.headers:
        return response.headers["Location"]
    if response.status != 200:
        raise MediaRefused(f"its host answered {response.status}")
    if response.headers.get("Content-Encoding", "identity").strip().lower() not in ("", "identity"):
        raise MediaRefused("its host sent it compressed, although that was not asked for")
    spool.expect(response.content_length)
    async for chunk in response.content.iter_chunked(CHUNK):
        await spool.write(chunk)
    await spool.flush()
    return None


def _joined(target: Target, location: str) -> str:
    """Where a redirect leads, absolute; it is read anew by `read_target`."""
    if "\\" in location or not location.isprintable():
        raise MediaRefused("its host redirects to what is no URL")
    try:
        return str(target.url.join(URL(location, encoded=location.isascii())))
    except ValueError as error:
        raise MediaRefused("its host redirects to what is no URL") from error
