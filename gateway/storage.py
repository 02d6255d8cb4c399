"""Where pictures are kept: an object store by URL, through obstore."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import suppress
from itertools import count
from pathlib import Path
from types import MappingProxyType
from urllib.parse import SplitResult, unquote, urlsplit

import obstore
from msgspec import Struct
from obstore.store import LocalStore, MemoryStore, ObjectStore

from gateway.s3 import AT_START, AT_WORK, S3Login, explain, open_bucket
from gateway.settings import BUCKET

__all__ = ["ImageStore", "StorageError", "StoredFile", "open_store"]

PREFIX = re.compile(r"(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*/?")
CHECK_KEY = "start-check"
PARTS_AT_ONCE = 4
"""Of 5 MiB each: how much of a large file is in memory, and must go up before a request times out."""

CHUNK = 1 << 20
"""Bytes of a file that are in memory at once, where it is read in parts."""
PAGE = 1000
"""Files in a page of a listing: as many as an S3 server gives at once."""
UNFINISHED = re.compile(r"[^#]+#[0-9]+")
"""How obstore names a file that it is still writing."""

FAULTS = (obstore.exceptions.BaseError, OSError)


class StorageError(Exception):
    """The store cannot be opened or used; the message says why, and holds no secret."""


class StoredFile(Struct, frozen=True, kw_only=True):
    """A file in the store, as a listing shows it."""

    key: str
    byte_size: int
    written_at: int
    """By the store's own clock, in milliseconds UTC."""


class ImageStore:
    """Bytes by key. Keys are ids of ours, never names from outside.

    Args:
        store: has them.
        login: whose, where the store is S3.
    """

    def __init__(self, store: ObjectStore, login: S3Login | None = None) -> None:
        self._store = store
        self._login = login
        self._root = Path(root) if isinstance(store, LocalStore) and (root := store.prefix) else None
        self.on_fault: Callable[[], None] = lambda: None
        """Called each time that the store refuses, or is away."""

    async def put(self, key: str, data: bytes | Path, content_type: str) -> None:
        """Store bytes, or a file of them, which is never whole in memory. A second put of a key
        replaces the first whole, and what a process that was killed left of it.

        Raises:
            StorageError: the store refused, is full or is away.
        """
        attributes = {"Content-Type": content_type} if self._root is None else None
        try:
            if self._root is not None:
                await asyncio.to_thread(_forget_unfinished, self._root / key)
            await obstore.put_async(
                self._store, key, data, attributes=attributes, max_concurrency=PARTS_AT_ONCE
            )
        except FAULTS as error:
            raise self._fault(f"{key} could not be stored", error) from None

    async def get(self, key: str) -> bytes | None:
        """The bytes of a key; None when there are none.

        Raises:
            StorageError: the store refused or is away.
        """
        try:
            found = await obstore.get_async(self._store, key)
            return bytes(await found.bytes_async())
        except FAULTS as error:
            if _is_missing(error):
                return None
            raise self._fault(f"{key} could not be read", error) from None

    # Those that block are for a program that ends with its last file: obstore's threads end a process with an
    # abort when they are still handing a result to an event loop that is gone.

    def parts(self, key: str) -> Iterator[bytes] | None:
        """The bytes of a key, part after part; None when there are none. Blocks.

        Raises:
            StorageError: the store refused or is away, now or at a later part.
        """
        try:
            found = obstore.get(self._store, key)
        except FAULTS as error:
            if _is_missing(error):
                return None
            raise self._fault(f"{key} could not be read", error) from None
        return self._rest(key, found.stream(min_chunk_size=CHUNK))

    def _rest(self, key: str, stream: Iterator[bytes]) -> Iterator[bytes]:
        try:
            yield from stream
        except FAULTS as error:
            raise self._fault(f"{key} could not be read", error) from None

    def put_file(self, key: str, path: Path, content_type: str) -> None:
        """As `put`, of a file. Blocks.

        Raises:
            StorageError: the store refused, is full or is away.
        """
        attributes = {"Content-Type": content_type} if self._root is None else None
        try:
            if self._root is not None:
                _forget_unfinished(self._root / key)
            obstore.put(self._store, key, path, attributes=attributes, max_concurrency=PARTS_AT_ONCE)
        except FAULTS as error:
            raise self._fault(f"{key} could not be stored", error) from None

    def size_of(self, key: str) -> int | None:
        """How many bytes a key has; None when there is no such key. Blocks.

        Raises:
            StorageError: the store refused or is away.
        """
        try:
            return int(obstore.head(self._store, key)["size"])
        except FAULTS as error:
            if _is_missing(error):
                return None
            raise self._fault(f"{key} could not be looked for", error) from None

    def all_pages(self, prefix: str) -> Iterator[list[str]]:
        """Every key that starts with a prefix, page after page, in no order. Blocks.

        Raises:
            StorageError: the store refused or is away.
        """
        try:
            for page in obstore.list(self._store, prefix, chunk_size=PAGE):
                yield [item["path"] for item in page]
        except FAULTS as error:
            raise self._fault("the keys could not be listed", error) from None

    async def keys(self, prefix: str) -> list[str]:
        """Every key that starts with a prefix.

        Raises:
            StorageError: the store refused or is away.
        """
        return [file.key async for page in self.pages(prefix) for file in page]

    async def pages(self, prefix: str, size: int = PAGE) -> AsyncIterator[list[StoredFile]]:
        """Every file whose key starts with a prefix, page after page, in no order.

        Args:
            prefix: a folder, or a path below it.
            size: files in a page.

        Raises:
            StorageError: the store refused or is away.
        """
        try:
            async for page in obstore.list(self._store, prefix, chunk_size=size):
                yield [
                    StoredFile(
                        key=item["path"],
                        byte_size=item["size"],
                        written_at=int(item["last_modified"].timestamp() * 1000),
                    )
                    for item in page
                ]
        except FAULTS as error:
            raise self._fault("the keys could not be listed", error) from None

    async def has(self, key: str) -> bool:
        """Whether there are bytes of a key.

        Raises:
            StorageError: the store refused or is away.
        """
        try:
            await obstore.head_async(self._store, key)
        except FAULTS as error:
            if _is_missing(error):
                # A server says so of a missing bucket too, until it is asked for the bytes.
                return await self.get(key) is not None
            raise self._fault(f"{key} could not be looked for", error) from None
        return True

    async def delete(self, key: str) -> None:
        """Remove a key; one that is not there is no error.

        Raises:
            StorageError: the store refused or is away.
        """
        try:
            await obstore.delete_async(self._store, key)
        except FAULTS as error:
            if not _is_missing(error):
                raise self._fault(f"{key} could not be removed", error) from None

    async def sweep_unfinished(self, folders: tuple[str, ...], before: int) -> int:
        """Remove what a process that was killed left half written, where the store is a folder: no
        listing shows it. How many files they were.

        Args:
            folders: where to look.
            before: those written before, in milliseconds UTC.

        Raises:
            StorageError: one cannot be removed.
        """
        if self._root is None:
            return 0
        try:
            return await asyncio.to_thread(_sweep, [self._root / name for name in folders], before)
        except OSError as error:
            raise self._fault("a file that was half written could not be removed", error) from None

    def _fault(self, what: str, error: Exception) -> StorageError:
        self.on_fault()
        why = explain(error, self._login) if self._login is not None else str(error).partition("\n")[0]
        return StorageError(f"{what}: {why}")


def _is_missing(error: Exception) -> bool:
    """Whether a fault says that there is no such key, rather than no such bucket."""
    return isinstance(error, FileNotFoundError) and "NoSuchBucket" not in str(error)


def _forget_unfinished(path: Path) -> None:
    """Remove files that obstore began and did not finish for a key. It numbers them without a gap."""
    with suppress(FileNotFoundError):
        for number in count(1):
            Path(f"{path}#{number}").unlink()


def _sweep(folders: list[Path], before: int) -> int:
    swept = 0
    for folder in folders:
        for path in folder.iterdir() if folder.is_dir() else ():
            if not UNFINISHED.fullmatch(path.name):
                continue
            with suppress(FileNotFoundError):  # it was finished meanwhile
                if path.stat().st_mtime * 1000 < before:
                    path.unlink()
                    swept += 1
    return swept


def open_store(
    url: str, env: Mapping[str, str] = MappingProxyType({}), *, to_write: bool = True
) -> ImageStore:
    """Open the store of a URL, and try it. Blocks: with S3 for some 10 seconds at most.

    Args:
        url: `file:///folder` (made when missing), `s3://bucket/prefix` or `memory://`.
        env: has the variables for S3 (`gateway.s3.S3Login`).
        to_write: else nothing is made or tried, and the first read says what is wrong.

    Raises:
        StorageError: another scheme, or a folder or bucket that cannot be used.
    """
    parts = urlsplit(url)
    if parts.scheme == "memory":
        return ImageStore(MemoryStore())
    if parts.scheme == "s3":
        return _open_s3(parts, env, to_write=to_write)
    if parts.scheme != "file" or parts.netloc or not parts.path.startswith("/"):
        # The URL may hold a key: only its scheme is repeated.
        raise StorageError(
            f"GATEWAY_STORAGE_URL ({parts.scheme or 'no scheme'}): set file:///folder or s3://bucket/prefix"
        )
    folder = Path(unquote(parts.path))
    try:
        if to_write:
            folder.mkdir(parents=True, exist_ok=True)
        elif not folder.is_dir():
            raise StorageError(f"{folder}, where pictures are kept, is not there")
    except OSError as error:
        raise StorageError(f"{folder} cannot be used to store pictures: {error}") from error
    return ImageStore(LocalStore(folder))


def _open_s3(parts: SplitResult, env: Mapping[str, str], *, to_write: bool) -> ImageStore:
    bucket, prefix = parts.netloc, parts.path
    if not (BUCKET.fullmatch(bucket) and PREFIX.fullmatch(prefix)) or parts.query or parts.fragment:
        raise StorageError(
            "GATEWAY_STORAGE_URL (s3) must be like s3://bucket/prefix, of letters, digits, dots, - and _; "
            "the key goes into AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    try:
        login = S3Login.of(env, machine_role=True)
    except ValueError as error:
        raise StorageError(f"GATEWAY_STORAGE_URL is in S3, but {error}") from error
    below = prefix.strip("/") or None
    if to_write:
        _check(bucket, login, below)
    return ImageStore(open_bucket(bucket, login, AT_WORK, below), login)


def _check(bucket: str, login: S3Login, prefix: str | None) -> None:
    """Write an object and read it: the same one at every start, so that no right to delete is needed.

    It ends by obstore's own time limits alone: a call of it that is given up while the process ends
    makes it print a panic.
    """
    store = open_bucket(bucket, login, AT_START, prefix)
    attributes = {"Content-Type": "text/plain"}
    try:
        obstore.put(store, CHECK_KEY, b"image-gateway writes this at its start.\n", attributes=attributes)
        obstore.get(store, CHECK_KEY).bytes()
    except FAULTS as error:
        host = urlsplit(login.endpoint).netloc
        raise StorageError(
            f"GATEWAY_STORAGE_URL: the bucket {bucket} at {host} cannot be used: {explain(error, login)}"
        ) from None
