"""Starts the worker that looks at hostile bytes, and reads its verdict."""

import asyncio
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from gateway.media.errors import DISK_FULL, MediaRefused
from gateway.storage import StorageError

__all__ = ["Checked", "Inspector", "Kind", "worker_command"]

Kind = Literal["image", "lora"]

WALL_S = 10.0
AT_ONCE = 2
"""Workers: each may take a GiB."""


class Checked(Struct, frozen=True, kw_only=True):
    """What the worker says of a file that may be kept."""

    content_type: str
    extension: str
    width: int | None = None
    height: int | None = None


class _Verdict(Struct, frozen=True, kw_only=True):
    ok: Checked | None = None
    refused: str | None = None


def worker_command(kind: Kind, source: Path, result: Path) -> list[str]:
    """What looks at a file, in a process of its own."""
    return [sys.executable, "-I", "-m", "gateway.media.worker", kind, str(source), str(result)]


class Inspector:
    """Has files looked at, a few at a time; the others wait.

    Args:
        wall_s: seconds that a worker may take.
        at_once: workers.
    """

    def __init__(self, *, wall_s: float = WALL_S, at_once: int = AT_ONCE) -> None:
        self._wall_s = wall_s
        self._threads = ThreadPoolExecutor(at_once, thread_name_prefix="inspect")

    def close(self) -> None:
        """Give the threads back."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def inspect(self, kind: Kind, source: Path, result: Path) -> Checked:
        """Have a file checked; a picture is written anew to `result`.

        Raises:
            MediaRefused: it is not to be kept; says why.
            StorageError: the disk has no room for it.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._run, kind, source, result)

    def _run(self, kind: Kind, source: Path, result: Path) -> Checked:
        try:
            # Without our environment: it holds every key of the gateway.
            ended = subprocess.run(
                worker_command(kind, source, result),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=self._wall_s,
                env={},
                cwd=tempfile.gettempdir(),
            )
        except subprocess.TimeoutExpired as error:
            raise MediaRefused("it takes too long to read") from error
        if ended.returncode < 0:
            raise MediaRefused("it takes too much time or memory to read")
        if ended.returncode == DISK_FULL:
            raise StorageError("an input could not be written to the disk: no space is left")
        if ended.returncode:
            # Not the file's fault, or a fault that we have to learn of.
            raise RuntimeError(f"the media worker broke: {ended.stderr[-2000:].decode(errors='replace')}")
        verdict = msgspec.json.decode(ended.stdout, type=_Verdict)
        if verdict.ok is None:
            raise MediaRefused(verdict.refused or "it cannot be read")
        return verdict.ok
