"""The files of the store on their way into a backup, and out of it, a few at once."""

import hashlib
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from msgspec import Struct
from msgspec.structs import replace

from gateway.backup.folder import BackupFolder, digest_of, flush
from gateway.backup.records import BackupError, Line, Watch
from gateway.storage import ImageStore

__all__ = ["Copier", "in_order", "put_back", "wrong_files"]

T = TypeVar("T")
R = TypeVar("R")

AT_ONCE = 8
WAITING = 64
"""Files that are begun, or done and not yet noted."""


class Copy(Struct, frozen=True):
    """What became of one file."""

    line: Line
    new: bool
    """It was not in the folder yet."""


class Copier:
    """Brings files of a store into a folder of backups.

    Args:
        store: has them.
        folder: takes them.
        work: a folder on the same disk, for those that are not whole yet.
        watch: is told.
    """

    def __init__(self, store: ImageStore, folder: BackupFolder, work: Path, watch: Watch) -> None:
        self._store = store
        self._folder = folder
        self._work = work
        self._watch = watch
        self._one = threading.Lock()

    def copy(self, line: Line) -> Copy:
        """Bring one file, unless it is there; one that is `missing` or `broken` says so.

        Raises:
            StorageError: the store is away.
            OSError: the folder does not take it.
        """
        to = self._folder.file(line.sha256)
        if to.is_file() and to.stat().st_size == line.byte_size:
            self._watch.advance(line.byte_size)
            return Copy(line, new=False)
        parts = self._store.parts(line.key)
        if parts is None:
            return Copy(replace(line, left_out="missing"), new=False)
        made = self._work / f"{line.sha256}.{threading.get_ident()}"
        digest, size = hashlib.sha256(), 0
        with made.open("xb") as file:
            for part in parts:
                digest.update(part)
                size += file.write(part)
                self._watch.advance(len(part))
        if (digest.hexdigest(), size) != (line.sha256, line.byte_size):
            made.unlink()
            return Copy(replace(line, left_out="broken"), new=False)
        made.chmod(0o600)
        flush(made)
        to.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._one:  # two pictures may be the same, and come at once
            new = not to.exists()
            made.rename(to)
        return Copy(line, new=new)


def put_back(
    store: ImageStore, folder: BackupFolder, lines: Iterable[Line], watch: Watch, *, lacking: bool
) -> int:
    """Bring the files of a backup into a store; how many were brought.

    Args:
        store: takes them.
        folder: has them.
        lines: of the backup.
        watch: is told.
        lacking: only those that the store does not have.

    Raises:
        StorageError: the store refused, is full or is away.
    """

    def put(line: Line) -> int:
        there = lacking and store.size_of(line.key) == line.byte_size
        if not there:
            store.put_file(line.key, folder.file(line.sha256), line.content_type)
        watch.advance(line.byte_size)
        return int(not there)

    return sum(in_order(put, (line for line in lines if line.left_out is None)))


def wrong_files(folder: BackupFolder, lines: Iterable[Line], watch: Watch) -> list[str]:
    """The files of a backup that are not there, or are not what they were, by their digests.

    Raises:
        BackupError: one cannot be read.
    """

    def look(line: Line) -> str | None:
        path = folder.file(line.sha256)
        try:
            found = digest_of(path)
        except FileNotFoundError:
            return line.sha256
        except OSError as error:
            raise BackupError(f"{path} cannot be read: {error}") from error
        watch.advance(line.byte_size)
        return None if found == line.sha256 else line.sha256

    there = (line for line in lines if line.left_out is None)
    return [found for found in in_order(look, there) if found is not None]


def in_order(fn: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """What a function gives for each item, in their order, a few of them at once.

    Raises:
        Exception: what the first that failed raised; those that were not begun are not.
    """
    pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="backup")
    waiting: deque[Future[R]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(fn, item))
            if len(waiting) >= WAITING:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
