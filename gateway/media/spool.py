"""Bytes on their way in, in a temporary file: capped, never whole in memory."""

import asyncio
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from gateway.media.errors import MediaTooLarge
from gateway.storage import StorageError

__all__ = ["Spool"]

BUFFER = 1 << 20


class Spool:
    """A temporary file that lives as long as the block it is opened for. StorageError when the
    disk does not take it.

    Args:
        folder: where; it must exist.
        limit: bytes; one more raises.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self.limit = limit
        self.size = 0
        self._folder = folder
        self._buffer = bytearray()
        self._file: IO[bytes] | None = None

    async def __aenter__(self) -> Self:
        self._file = await asyncio.to_thread(self._open)
        return self

    def _open(self) -> IO[bytes]:
        with _ours():
            self._folder.mkdir(parents=True, exist_ok=True)
            return tempfile.NamedTemporaryFile(dir=self._folder, prefix="in-", buffering=0)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self._opened.close)

    @property
    def _opened(self) -> IO[bytes]:
        if self._file is None:
            raise ValueError("the spool is not open")
        return self._file

    @property
    def path(self) -> Path:
        """Where it is."""
        return Path(self._opened.name)

    def expect(self, size: int | None) -> None:
        """Refuse before the first byte what says that it will be too large.

        Raises:
            MediaTooLarge: it says so.
        """
        if size is not None and size > self.limit:
            raise MediaTooLarge(f"it has {size} bytes; at most {self.limit} are taken")

    async def write(self, chunk: bytes) -> None:
        """Take more bytes.

        Raises:
            MediaTooLarge: they are more than the limit.
            StorageError: the disk does not take them.
        """
        self.size += len(chunk)
        if self.size > self.limit:
            raise MediaTooLarge(f"it has more than {self.limit} bytes")
        self._buffer += chunk
        if len(self._buffer) >= BUFFER:
            await self.flush()

    async def flush(self) -> None:
        """Bring what was taken to the file."""
        pending, self._buffer = bytes(self._buffer), bytearray()
        await asyncio.to_thread(self._write_all, pending)

    def _write_all(self, data: bytes) -> None:
        view = memoryview(data)
        with _ours():
            while view:
                view = view[self._opened.write(view) :]


@contextmanager
def _ours() -> Iterator[None]:
    """A full disk is our fault, and must not look like one of the network's."""
    try:
        yield
    except OSError as error:
        raise StorageError(f"an input could not be written to the disk: {error}") from error
