"""What a backup says of itself: its manifest, and a line for each file of the store."""

from typing import Literal, Protocol

from msgspec import Struct

__all__ = [
    "FORMAT",
    "BackupError",
    "Counts",
    "Kind",
    "LeftOut",
    "Line",
    "Manifest",
    "Part",
    "Server",
    "Watch",
]

FORMAT = 1
"""Of the folder. A later version of the gateway that changes it counts on."""

Kind = Literal["sqlite", "postgresql"]
LeftOut = Literal["removed", "missing", "broken"]


class BackupError(Exception):
    """A backup cannot be made or restored; the message says why, and what to do next."""


class Watch(Protocol):
    """Is told how far it is."""

    def begin(self, what: str, total: int | None = None) -> None:
        """Something is begun, of so many bytes where that is known."""
        ...

    def advance(self, amount: int) -> None:
        """So many more are done."""
        ...


class Part(Struct, frozen=True, kw_only=True, rename="camel"):
    """A file of a backup's own."""

    name: str
    byte_size: int
    sha256: str


class Line(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A file of the store that the copied database names."""

    key: str
    byte_size: int
    sha256: str
    content_type: str
    left_out: LeftOut | None = None
    """Why it is not in the backup. removed: the gateway removed its row after the database was copied.
    missing: it has its row, and was not in the store. broken: it is not what its row says."""


class Counts(Struct, frozen=True, kw_only=True, rename="camel"):
    """What the copied database has, and what became of the files that it names."""

    jobs: int
    pictures: int
    inputs: int
    """Uploads, and what was fetched."""
    byte_size: int
    """Of the files that are in the backup."""
    removed: int = 0
    missing: int = 0
    broken: int = 0


class Server(Struct, frozen=True, kw_only=True, rename="camel"):
    """Of PostgreSQL, the major versions."""

    major: int
    """Of the server that was copied."""
    dump_major: int
    """Of the program that copied it."""


class Manifest(Struct, frozen=True, kw_only=True, rename="camel"):
    """A whole backup: written last, when all that it names is there."""

    format: int
    gateway: str
    """The version that made it."""
    taken_at: str
    """When the database was copied."""
    kind: Kind
    revision: str
    """Of the database's schema."""
    server: Server | None
    database: Part
    files: Part
    """A `Line` for each file of the store, in JSON."""
    secret: Part | None
    """The one of the data folder; none where GATEWAY_SECRET is set."""
    secret_mark: str
    """By which the secret is known again, and not learned."""
    counts: Counts
