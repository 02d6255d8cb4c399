"""From a provider's pictures to ours: fetched, verified whole, stored."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable

import httpx
import msgspec

from gateway.faults import point
from gateway.jobs.records import NewImage
from gateway.runs.records import PROVIDER
from gateway.storage import ImageStore, StorageError
from gateway.verify import BrokenImage, Verified, verify_image
from gateway.verify_svg import verify_svg
from providers.base import ImageBytes, ImageUrl, RemoteImage, Succeeded
from providers.errors import MalformedOutput, OutputFetchFailed, ProviderError

__all__ = ["Collector", "OutputNotStored", "Wait", "image_id"]

MAX_BYTES = 64 << 20
FETCH_PAUSES_S = (0.5, 2.0, 8.0)


class OutputNotStored(ProviderError):
    """The picture was made but could not be kept: our store is full or away. Never run again for it."""

    code = "output_not_stored"
    http_status = 503


Wait = Callable[[OutputNotStored], Awaitable[None]]
"""Awaited each time that the store did not take a picture; returns for another try, or raises."""


async def _give_up(error: OutputNotStored) -> None:
    raise error


class _TooLarge(Exception):
    """A picture of more bytes than we keep."""


def image_id(job_id: str, position: int) -> str:
    """The id of a job's picture. Derived, so that a job which is finished twice (a crash between
    the store and the transaction) writes the same key again and leaves no orphan.
    """
    return "img_" + hashlib.sha256(f"{job_id}:{position}".encode()).hexdigest()[:32]


def _inspect(data: bytes, vector: bool) -> tuple[Verified, str]:
    is_text = data[:64].lstrip().startswith((b"<", b"\xef\xbb\xbf<"))
    verify = verify_svg if vector and is_text else verify_image
    return verify(data), hashlib.sha256(data).hexdigest()


class Collector:
    """Brings pictures home.

    Args:
        store: where they are kept.
        client: fetches the ones that a provider gives as a URL; carries no credential.
        pauses_s: seconds before each further try of a fetch.
        max_bytes: the largest picture.
    """

    def __init__(
        self,
        store: ImageStore,
        client: httpx.AsyncClient,
        *,
        pauses_s: tuple[float, ...] = FETCH_PAUSES_S,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self._store = store
        self._client = client
        self._pauses_s = pauses_s
        self._max_bytes = max_bytes

    async def collect(
        self,
        job_id: str,
        done: Succeeded,
        *,
        provider: str,
        wait: Wait = _give_up,
        first: int = 0,
        vector: bool = False,
    ) -> tuple[NewImage, ...]:
        """Fetch, verify and store each picture of an ended job.

        Args:
            job_id: whose they are; their ids follow from it.
            done: what the provider gave.
            provider: the registry's name of it.
            wait: between the tries at a store that is away; without it there is one try.
            first: place of the first of them among the job's pictures.
            vector: they may be SVG.

        Raises:
            OutputFetchFailed: a URL did not give its bytes.
            MalformedOutput: no pictures, or one that is broken.
            OutputNotStored: our store did not take them.
        """
        if not done.images:
            raise MalformedOutput("The provider answered without a picture.", provider=provider)
        # All of them are here and whole before the first is stored.
        checked = [await self._bring(image, provider, vector) for image in done.images]
        return tuple(
            [
                await self._keep(job_id, position, *one, provider, wait)
                for position, one in enumerate(checked, start=first)
            ]
        )

    async def keep(
        self, job_id: str, position: int, data: bytes, verified: Verified, *, name: str, wait: Wait = _give_up
    ) -> NewImage:
        """Store a finished output of a template's run.

        Raises:
            OutputNotStored: our store did not take it.
        """
        digest = await asyncio.to_thread(lambda: hashlib.sha256(data).hexdigest())
        kept = await self._keep(job_id, position, data, verified, digest, None, PROVIDER, wait)
        return msgspec.structs.replace(kept, name=name)

    async def _bring(
        self, image: RemoteImage, provider: str, vector: bool
    ) -> tuple[bytes, Verified, str, int | None]:
        """A picture's bytes, what its container says, its sha256 and its seed."""
        data = image.data if isinstance(image, ImageBytes) else await self._fetch(image, provider)
        try:
            verified, digest = await asyncio.to_thread(_inspect, data, vector)
        except BrokenImage as error:
            raise MalformedOutput(
                f"The provider's picture is broken: {error}. Nothing was charged.", provider=provider
            ) from error
        point("picture.fetched")
        return data, verified, digest, image.seed

    async def _keep(
        self,
        job_id: str,
        position: int,
        data: bytes,
        verified: Verified,
        digest: str,
        seed: int | None,
        provider: str,
        wait: Wait,
    ) -> NewImage:
        found = image_id(job_id, position)
        key = f"images/{found}.{verified.extension}"
        while (refused := await self._put(key, data, verified.content_type, provider)) is not None:
            await wait(refused)
        point("picture.stored")
        return NewImage(
            id=found,
            position=position,
            storage_key=key,
            content_type=verified.content_type,
            width=verified.width,
            height=verified.height,
            byte_size=len(data),
            sha256=digest,
            seed=seed,
        )

    async def _put(self, key: str, data: bytes, content_type: str, provider: str) -> OutputNotStored | None:
        try:
            await self._store.put(key, data, content_type)
        except StorageError as error:
            return OutputNotStored(
                "The picture was made, but could not be kept. Nothing was charged.",
                provider=provider,
                raw=str(error),
            )
        return None

    async def _fetch(self, image: ImageUrl, provider: str) -> bytes:
        """The bytes behind a result's URL: a few tries at the fetch, never at the job."""
        last: Exception | None = None
        for pause in (*self._pauses_s, None):
            try:
                return await self._get(image.url)
            except _TooLarge as error:
                raise MalformedOutput(
                    f"The provider's picture is broken: {error}. Nothing was charged.", provider=provider
                ) from error
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                last = error
            if pause is not None:
                await asyncio.sleep(pause)
        raise OutputFetchFailed(
            "The picture was made, but could not be fetched. Nothing was charged.",
            provider=provider,
            raw=repr(last),
        ) from last

    async def _get(self, url: str) -> bytes:
        async with self._client.stream("GET", url) as response:
            response.raise_for_status()
            parts: list[bytes] = []
            size = 0
            async for part in response.aiter_bytes():
                size += len(part)
                if size > self._max_bytes:
                    raise _TooLarge(f"more than {self._max_bytes} bytes")
                parts.append(part)
            return b"".join(parts)
