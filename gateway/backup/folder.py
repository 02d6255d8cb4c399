"""The folder that backups are in.

    image-gateway-backups              says what the folder is, and is locked
    20261128T031500123Z/               a whole backup
        database.sqlite, or database.pgdump
        files.jsonl                    the files of the store that it names
        secret                         of the data folder, where it has one
        manifest.json
    files/3f/3f7a...                   files of the store by their sha256, shared by all backups
    unfinished-20261129T.../           one that is being made, or was broken off

A backup gets its name when all of it is on disk, and a file gets its name when its bytes have that digest.
So whatever is broken off leaves nothing that looks whole, and what is there already is not copied again.
"""

import fcntl
import hashlib
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from gateway.ambient import moment
from gateway.backup.records import FORMAT, BackupError, Line, Manifest, Part

__all__ = ["BackupFolder", "digest_of", "flush", "name_at", "part_of"]

MARKER = "image-gateway-backups"
TEXT = "Backups of an image-gateway, made by `gateway backup` and read by `gateway restore`.\n"
NAME = re.compile(r"\d{8}T\d{9}Z")
UNFINISHED = "unfinished-"
MANIFEST = "manifest.json"
DIGITS = "0123456789abcdef"


def name_at(at: int) -> str:
    """A backup's name: when it was begun, in milliseconds UTC."""
    return f"{moment(at):%Y%m%dT%H%M%S}{at % 1000:03d}Z"


def flush(path: Path) -> None:
    """See that a file, or a folder's list of names, is on disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def digest_of(path: Path) -> str:
    """A file's sha256."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def part_of(path: Path) -> Part:
    """What a manifest says of a file, which is on disk then."""
    flush(path)
    return Part(name=path.name, byte_size=path.stat().st_size, sha256=digest_of(path))


class BackupFolder:
    """A folder of backups.

    Args:
        root: where it is.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Have the folder to oneself, to make backups in; it is made when it is not there.

        Raises:
            BackupError: it holds something else, cannot be written, or another backup is being made there.
        """
        marker = self.root / MARKER
        try:
            # Prompts, pictures and the signing secret: for nobody else on this machine.
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not marker.exists():
                if any(self.root.iterdir()):
                    raise BackupError(
                        f"{self.root} is not empty and holds no backups of a gateway: name another folder"
                    )
                marker.write_text(TEXT)
            with _locked(
                marker, os.O_RDWR, fcntl.LOCK_EX, "another backup is being made, or restored, there"
            ):
                self._sweep_unfinished()
                yield
        except OSError as error:
            raise BackupError(f"{self.root} cannot be written: {error}") from error

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Keep the backups as they are while they are read.

        Raises:
            BackupError: there are none, or one is being made.
        """
        marker = self.root / MARKER
        if not marker.is_file():
            raise BackupError(f"{self.root} holds no backups of a gateway")
        with _locked(marker, os.O_RDONLY, fcntl.LOCK_SH, "a backup is being made there: wait for its end"):
            yield

    def names(self) -> list[str]:
        """The whole backups, the oldest first."""
        return sorted(
            path.name for path in self.root.iterdir() if NAME.fullmatch(path.name) and path.is_dir()
        )

    def path(self, name: str) -> Path:
        """Where a backup is."""
        return self.root / name

    def file(self, sha256: str) -> Path:
        """Where a file of the store is, by its digest."""
        return self.root / "files" / sha256[:2] / sha256

    def manifest(self, name: str) -> Manifest:
        """What a backup says of itself.

        Raises:
            BackupError: it cannot be read, or is of a later version's form.
        """
        path = self.path(name) / MANIFEST
        try:
            data = path.read_bytes()
            found = msgspec.json.decode(data, type=_Form).format
            if found > FORMAT:
                raise BackupError(f"{path} was made by a later version of the gateway: install that one")
            return msgspec.json.decode(data, type=Manifest)
        except (OSError, msgspec.DecodeError) as error:
            raise BackupError(f"{path} cannot be read: {error}") from error

    def lines(self, name: str) -> Iterator[Line]:
        """The files of the store that a backup names."""
        yield from read_lines(self.path(name) / self.manifest(name).files.name)

    def begin(self, name: str) -> Path:
        """Where a backup is made that has no name yet."""
        path = self.root / f"{UNFINISHED}{name}"
        path.mkdir(mode=0o700)
        return path

    def finish(self, name: str, manifest: Manifest) -> None:
        """Give a backup its name, now that all of it is there."""
        path = self.root / f"{UNFINISHED}{name}"
        text = msgspec.json.format(msgspec.json.encode(manifest), indent=2)
        (path / MANIFEST).write_bytes(text + b"\n")
        flush(path / MANIFEST)
        flush(path)
        path.rename(self.path(name))
        flush(self.root)

    def keep_newest(self, count: int) -> list[str]:
        """Remove all but so many backups, and the files that none of those names; who is gone."""
        names = self.names()
        gone, kept = names[:-count], names[-count:]
        for name in gone:
            # Without its name at once: a backup that is half removed must not look whole.
            doomed = self.path(name).rename(self.root / f"{UNFINISHED}{name}")
            shutil.rmtree(doomed)
        if gone:
            # A sixteenth of the digests at a time: there may be millions.
            for digit in DIGITS:
                self._sweep_files(digit, kept)
        return gone

    def _sweep_files(self, digit: str, kept: Iterable[str]) -> None:
        named = {line.sha256 for name in kept for line in self.lines(name) if line.sha256.startswith(digit)}
        for folder in (self.root / "files").glob(f"{digit}?"):
            for path in folder.iterdir():
                if path.name not in named:
                    path.unlink()

    def _sweep_unfinished(self) -> None:
        """Remove what was broken off; its whole files stay, and are not copied again."""
        for path in self.root.glob(f"{UNFINISHED}*"):
            shutil.rmtree(path)


def read_lines(path: Path) -> Iterator[Line]:
    """The lines of a list of files, one after the other."""
    decoder = msgspec.json.Decoder(Line)
    with path.open("rb") as file:
        for text in file:
            yield decoder.decode(text)


class _Form(msgspec.Struct):
    format: int


@contextmanager
def _locked(marker: Path, mode: int, how: int, busy: str) -> Iterator[None]:
    descriptor = os.open(marker, mode | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, how | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BackupError(f"{marker.parent}: {busy}") from None
        yield
    finally:
        os.close(descriptor)
