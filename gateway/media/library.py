"""Everything that becomes media of an account comes through here: checked, stored, in a row."""

import asyncio
import hashlib
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from msgspec import Struct

from gateway.ambient import Ambient
from gateway.db.engine import Database
from gateway.media.decode import Inspector, Kind
from gateway.media.errors import MediaRefused
from gateway.media.fetch import Fetcher
from gateway.media.rows import MediaRow, find_media, insert_media
from gateway.media.sources import Buckets, read_data_url
from gateway.media.spool import Spool
from gateway.problems import Problem
from gateway.settings import Settings
from gateway.storage import ImageStore, StorageError
from providers.base import MediaRef
from providers.errors import OutputFetchFailed

__all__ = ["LIMITS", "Library", "Limit", "open_library", "sweep"]

log = logging.getLogger(__name__)

OLD_S = 86_400


class Limit(Struct, frozen=True, kw_only=True):
    """How much of one kind is taken."""

    max_bytes: int
    deadline_s: float
    """For bringing it here."""
    at_once: int
    """Fetches under way."""
    words: str
    """For people."""


LIMITS: dict[Kind, Limit] = {
    "image": Limit(
        max_bytes=25 << 20,
        deadline_s=30,
        at_once=16,
        words="a PNG, JPEG or WebP of at most 25 MiB and 50 megapixels, not animated",
    ),
    "lora": Limit(max_bytes=2 << 30, deadline_s=600, at_once=4, words="a .safetensors file of at most 2 GiB"),
}


def sweep(folder: Path) -> None:
    """Remove what a process that was killed left in the spool's folder. Blocks."""
    if folder.is_dir():
        for path in folder.glob("in-*"):
            if path.stat().st_mtime < time.time() - OLD_S:
                path.unlink(missing_ok=True)


class Library:
    """The accounts' media.

    Args:
        folder: for files on their way in.
        store: where media are kept.
        db: has their rows.
        ambient: time and ids.
        fetcher: reads https URLs; closed with the library.
        buckets: reads s3 URLs.
        inspector: checks what came; closed with the library.
    """

    def __init__(
        self,
        *,
        folder: Path,
        store: ImageStore,
        db: Database,
        ambient: Ambient,
        fetcher: Fetcher,
        buckets: Buckets,
        inspector: Inspector,
    ) -> None:
        self._folder = folder
        self._store = store
        self._db = db
        self._ambient = ambient
        self.fetcher = fetcher
        self._buckets = buckets
        self._inspector = inspector
        self._slots = {kind: asyncio.Semaphore(limit.at_once) for kind, limit in LIMITS.items()}

    def close(self) -> None:
        """Give the threads back. Idempotent."""
        self.fetcher.close()
        self._inspector.close()

    async def bring(self, url: str, kind: Kind, account_id: str) -> MediaRow:
        """What a reference stands for, fetched and kept; an upload is there already.

        Raises:
            MediaRefused: it cannot be used; says why.
            Problem: `storage_unavailable`.
        """
        if url.startswith("upl_"):
            return await self._uploaded(url, kind, account_id)
        async with _stored(), self._slots[kind], Spool(self._folder, LIMITS[kind].max_bytes) as spool:
            await self._fetch(url, kind, spool)
            return await self._keep(spool, kind, account_id, "med")

    async def look(self, url: str, account_id: str) -> bytes:
        """The bytes of a picture that a reference stands for, checked and written anew as `bring` does;
        nothing is kept.

        Raises:
            MediaRefused: it cannot be used; says why.
            OutputFetchFailed: an upload could not be read from the store.
            Problem: `storage_unavailable`.
        """
        if url.startswith("upl_"):
            row = await self._uploaded(url, "image", account_id)
            return await self.read(MediaRef(url=url, key=row.storage_key))
        async with self._slots["image"], Spool(self._folder, LIMITS["image"].max_bytes) as spool:
            await self._fetch(url, "image", spool)
            await spool.flush()
            if not spool.size:
                raise MediaRefused("it is empty")
            async with Spool(self._folder, 0) as result:
                await self._inspector.inspect("image", spool.path, result.path)
                return await asyncio.to_thread(result.path.read_bytes)

    async def upload(
        self, body: AsyncIterator[bytes], size: int | None, kind: Kind, account_id: str
    ) -> MediaRow:
        """Keep what a caller sends.

        Args:
            body: its bytes.
            size: how many it says they are.
            kind: what it says it is.
            account_id: whose.

        Raises:
            MediaTooLarge: more than is taken.
            MediaRefused: not to be kept.
            Problem: `storage_unavailable`.
        """
        async with _stored(), Spool(self._folder, LIMITS[kind].max_bytes) as spool:
            spool.expect(size)
            async for chunk in body:
                await spool.write(chunk)
            return await self._keep(spool, kind, account_id, "upl")

    async def read(self, ref: MediaRef) -> bytes:
        """The bytes of our copy (`providers.base.MediaSource`).

        Raises:
            OutputFetchFailed: it is gone from the store, or the store is away.
        """
        if ref.key is None:
            raise LookupError(f"nothing is kept of {ref.url[:80]}")
        try:
            data = await self._store.get(ref.key)
        except StorageError as error:
            raise OutputFetchFailed("An input could not be read from the store.", raw=str(error)) from error
        if data is None:
            raise OutputFetchFailed("An input is gone from the store.", raw=ref.key)
        return data

    async def _fetch(self, url: str, kind: Kind, spool: Spool) -> None:
        """Read what a reference stands for, which is no upload."""
        deadline_s = LIMITS[kind].deadline_s
        if url.startswith("data:"):
            await spool.write(await asyncio.to_thread(read_data_url, url))
        elif url.startswith("s3://"):
            await self._buckets.fetch(url, spool, deadline_s=deadline_s)
        else:
            await self.fetcher.fetch(url, spool, deadline_s=deadline_s)

    async def _uploaded(self, media_id: str, kind: Kind, account_id: str) -> MediaRow:
        row = await self._db.read(lambda c: find_media(c, media_id, account_id))
        if row is None:
            raise MediaRefused("no upload of yours has this id")
        if row.kind != kind:
            raise MediaRefused("the upload is of another kind")
        return row

    async def _keep(self, spool: Spool, kind: Kind, account_id: str, prefix: str) -> MediaRow:
        await spool.flush()
        if not spool.size:
            raise MediaRefused("it is empty")
        async with Spool(self._folder, 0) as result:
            checked = await self._inspector.inspect(kind, spool.path, result.path)
            kept = result.path if kind == "image" else spool.path
            digest, size = await asyncio.to_thread(_digest, kept)
            media_id = self._ambient.new_id(prefix)
            key = f"media/{media_id}.{checked.extension}"
            await self._store.put(key, kept, checked.content_type)
        row = MediaRow(
            id=media_id,
            account_id=account_id,
            kind=kind,
            sha256=digest,
            content_type=checked.content_type,
            byte_size=size,
            width=checked.width,
            height=checked.height,
            storage_key=key,
            created_at=self._ambient.now_ms(),
        )
        await self._db.write(lambda c: insert_media(c, row))
        return row


@asynccontextmanager
async def _stored() -> AsyncIterator[None]:
    try:
        yield
    except StorageError as error:
        log.error("an input could not be kept: %s", error)
        detail = "The store does not take the input. Nothing was charged; send it again later"
        raise Problem("storage_unavailable", detail, retryable=True) from error


def _digest(path: Path) -> tuple[str, int]:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest(), path.stat().st_size


def open_library(settings: Settings, store: ImageStore, db: Database, ambient: Ambient) -> Library:
    """The library that the settings ask for. No I/O."""
    return Library(
        folder=settings.data_dir / "tmp",
        store=store,
        db=db,
        ambient=ambient,
        fetcher=Fetcher(settings.fetch_allow),
        buckets=Buckets(settings.input_buckets, settings.env),
        inspector=Inspector(),
    )
