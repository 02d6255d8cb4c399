"""One signed call to a URL that a user named, through the guard that fetches users' URLs."""

import asyncio
import logging

import aiohttp
from msgspec import Struct

from gateway import __version__
from gateway.media.errors import MediaRefused
from gateway.media.guarded import Guarded, reason

__all__ = ["Answer", "NoAnswer", "Poster"]

log = logging.getLogger(__name__)

TIMEOUT_S = 20.0
"""For everything: the name, the connection, the answer."""
MOST_READ = 1 << 16
"""Bytes of an answer that are read: what it says does not matter."""
MOST_URL = 2000
"""It is unique in an account, and PostgreSQL's indexes take no more."""
READ_S = 2.0
HEADERS = {
    "Content-Type": "application/json",
    "Accept-Encoding": "identity",
    "User-Agent": f"image-gateway/{__version__}",
}


class Answer(Struct, frozen=True, kw_only=True):
    """What an endpoint answered."""

    status: int
    retry_after: str | None = None
    """Its Retry-After field."""

    @property
    def good(self) -> bool:
        """It took the call."""
        return 200 <= self.status < 300

    @property
    def why(self) -> str:
        """What is wrong with it, for people."""
        if 300 <= self.status < 400:
            return f"it answered {self.status}, and redirects are not followed"
        return f"it answered {self.status}"


class NoAnswer(Exception):
    """There was none; the message says why, and nothing of our network."""


class Poster:
    """Calls endpoints.

    Args:
        guarded: of this purpose alone; closed with it.
        timeout_s: seconds that a call may take.
    """

    def __init__(self, guarded: Guarded, timeout_s: float = TIMEOUT_S) -> None:
        self._guarded = guarded
        self._timeout_s = timeout_s

    def close(self) -> None:
        """Give the threads back. Idempotent."""
        self._guarded.close()

    def read(self, url: str) -> str:
        """A URL as it is kept, when it is one that may be called.

        Raises:
            MediaRefused: it is none; says why.
        """
        self._guarded.read(url)
        kept = url.partition("#")[0]
        if len(kept.encode()) > MOST_URL:
            raise MediaRefused(f"it is too long: an endpoint's URL has at most {MOST_URL} bytes")
        return kept

    async def check(self, url: str) -> None:
        """Look whether a URL leads to somebody who may be called.

        Raises:
            MediaRefused: it does not; says why.
        """
        target = self._guarded.read(url)
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._guarded.addresses(target)
        except TimeoutError as error:
            raise MediaRefused(
                f"nobody says within {self._timeout_s:g} seconds where {target.host} is"
            ) from error

    async def call(self, url: str, body: bytes, headers: dict[str, str]) -> Answer:
        """POST a body.

        Args:
            url: the endpoint's. It is checked anew, and so is the address that its name has now.
            body: JSON.
            headers: its signature.

        Raises:
            NoAnswer: there was none.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._post(url, body, headers)
        except TimeoutError as error:
            raise NoAnswer(f"it did not answer within {self._timeout_s:g} seconds") from error
        except MediaRefused as error:
            raise NoAnswer(str(error)) from error

    async def _post(self, url: str, body: bytes, headers: dict[str, str]) -> Answer:
        target = self._guarded.read(url)
        try:
            async with (
                self._guarded.session(target) as session,
                session.post(
                    target.url, data=body, headers=HEADERS | headers, allow_redirects=False
                ) as response,
            ):
                await _read_some(response)
                return Answer(status=response.status, retry_after=response.headers.get("Retry-After"))
        except (aiohttp.ClientError, OSError, ValueError) as error:
            log.info("a webhook at %s was not called: %r", target.host, error)
            raise NoAnswer(reason(error)) from error


async def _read_some(response: aiohttp.ClientResponse) -> None:
    """Read the rest of an answer, up to a size and for a moment.

    Its status is what counts and has come: this is for its server, which sees no reset while it writes.
    """
    left = MOST_READ
    try:
        async with asyncio.timeout(READ_S):
            while left > 0:
                chunk = await response.content.read(left)
                if not chunk:
                    return
                left -= len(chunk)
    except (aiohttp.ClientError, OSError) as error:
        log.debug("the rest of an answer did not come: %r", error)
