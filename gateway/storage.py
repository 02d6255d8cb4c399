"""Where pictures are kept: an object store by URL, through obstore."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

import obstore
from obstore.store import LocalStore, MemoryStore, ObjectStore

__all__ = ["ImageStore", "StorageError", "open_store"]


class StorageError(Exception):
    """The store cannot be opened or used; the message says why."""


class ImageStore:
    """Bytes by key. Keys are ids of ours, never names from outside."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    async def put(self, key: str, data: bytes | Path, content_type: str) -> None:
        """Store bytes, or a file of them, which is never whole in memory. A second put of a key
        replaces the first whole.

        Raises:
            StorageError: the store refused, or is full.
        """
        try:
            attributes = {"Content-Type": content_type} if not isinstance(self._store, LocalStore) else None
            await obstore.put_async(self._store, key, data, attributes=attributes)
        except (obstore.exceptions.BaseError, OSError) as error:
            raise StorageError(f"the picture could not be stored: {error}") from error

    async def get(self, key: str) -> bytes | None:
        """The bytes of a key; None when there are none."""
        try:
            found = await obstore.get_async(self._store, key)
        except FileNotFoundError:
            return None
        return bytes(await found.bytes_async())

    async def keys(self, prefix: str) -> list[str]:
        """Every key that starts with a prefix."""
        listed = []
        async for page in obstore.list(self._store, prefix):
            listed += [item["path"] for item in page]
        return listed


def open_store(url: str) -> ImageStore:
    """Open the store of a URL: `file:///folder` (made when missing) or `memory://`.

    Raises:
        StorageError: another scheme, or a folder that cannot be used.
    """
    parts = urlsplit(url)
    if parts.scheme == "memory":
        return ImageStore(MemoryStore())
    if parts.scheme != "file" or parts.netloc or not parts.path.startswith("/"):
        # The URL may hold a key: only its scheme is repeated.
        raise StorageError(
            f"GATEWAY_STORAGE_URL ({parts.scheme or 'no scheme'}): this version stores in file:///folder"
        )
    folder = Path(unquote(parts.path))
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"{folder} cannot be used to store pictures: {error}") from error
    return ImageStore(LocalStore(folder))
