"""From a provider's pictures to ours: fetched, verified whole, stored."""

import asyncio
import hashlib

import httpx

from gateway.jobs.records import NewImage
from gateway.storage import ImageStore, StorageError
from gateway.verify import BrokenImage, verify_image
from providers.base import ImageBytes, ImageUrl, RemoteImage, Succeeded
from providers.errors import MalformedOutput, OutputFetchFailed, ProviderFailed

__all__ = ["Collector", "image_id"]

MAX_BYTES = 64 << 20
FETCH_PAUSES_S = (0.5, 2.0, 8.0)


def image_id(job_id: str, position: int) -> str:
    """The id of a job's picture. Derived, so that a job which is finished twice (a crash between
    the store and the transaction) writes the same key again and leaves no orphan.
    """
    return "img_" + hashlib.sha256(f"{job_id}:{position}".encode()).hexdigest()[:32]


class Collector:
    """Brings pictures home.

    Args:
        store: where they are kept.
        client: fetches the ones that a provider gives as a URL; carries no credential.
    """

    def __init__(self, store: ImageStore, client: httpx.AsyncClient) -> None:
        self._store = store
        self._client = client

    async def collect(self, job_id: str, done: Succeeded, *, provider: str) -> tuple[NewImage, ...]:
        """Fetch, verify and store each picture of an ended job.

        Raises:
            OutputFetchFailed: a URL did not give its bytes.
            MalformedOutput: no pictures, or one that is broken.
            ProviderFailed: they could not be stored.
        """
        if not done.images:
            raise MalformedOutput("The provider answered without a picture.", provider=provider)
        return tuple(
            [await self._one(job_id, position, image, provider) for position, image in enumerate(done.images)]
        )

    async def _one(self, job_id: str, position: int, image: RemoteImage, provider: str) -> NewImage:
        data = image.data if isinstance(image, ImageBytes) else await self._fetch(image, provider)
        try:
            verified = await asyncio.to_thread(verify_image, data)
        except BrokenImage as error:
            raise MalformedOutput(
                f"The provider's picture is broken: {error}. Nothing was charged.", provider=provider
            ) from error
        found = image_id(job_id, position)
        key = f"images/{found}.{verified.extension}"
        try:
            await self._store.put(key, data, verified.content_type)
        except StorageError as error:
            raise ProviderFailed(
                f"The picture was made, but not kept: {error}. Nothing was charged."
            ) from error
        return NewImage(
            id=found,
            position=position,
            storage_key=key,
            content_type=verified.content_type,
            width=verified.width,
            height=verified.height,
            byte_size=len(data),
            sha256=hashlib.sha256(data).hexdigest(),
            seed=image.seed,
        )

    async def _fetch(self, image: ImageUrl, provider: str) -> bytes:
        """The bytes behind a result's URL: a few tries at the fetch, never at the job."""
        last: Exception | None = None
        for pause in (*FETCH_PAUSES_S, None):
            try:
                return await self._get(image.url)
            except httpx.HTTPError as error:
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
                if size > MAX_BYTES:
                    raise httpx.DecodingError(f"more than {MAX_BYTES} bytes")
                parts.append(part)
            return b"".join(parts)
