"""One gateway a data folder: SQLite has one writer, and so has the folder."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["FolderBusyError", "hold_folder"]

NAME = "gateway.lock"


class FolderBusyError(Exception):
    """Another process runs a gateway on this folder."""


@contextmanager
def hold_folder(data_dir: Path) -> Iterator[None]:
    """Hold the folder for as long as the block runs; the system frees it when the process dies.

    Raises:
        FolderBusyError: another process holds it.
    """
    # Prompts, pictures and the operator's key: for nobody else on this machine.
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(data_dir / NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(descriptor, 20, 0).decode() or "?"
            raise FolderBusyError(
                f"another gateway (pid {holder}) runs on {data_dir}; stop it, or set GATEWAY_DATA_DIR"
            ) from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(descriptor)
