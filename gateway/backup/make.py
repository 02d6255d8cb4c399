"""Makes a backup, beside a gateway that serves: the database first, then the files of the store that the copy
names.

In that order no picture can be in the copy and not in the store, unless it is removed while the backup is
made: its line says so then.
"""

import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO, get_args

import msgspec
from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy import Connection, Table, func, select

from gateway import __version__
from gateway.ambient import Ambient, iso
from gateway.backup import sqlite_copy
from gateway.backup.files import Copier, in_order
from gateway.backup.folder import BackupFolder, name_at, part_of, read_lines
from gateway.backup.records import FORMAT, BackupError, Counts, LeftOut, Line, Manifest, Watch
from gateway.db.engine import backend_of
from gateway.db.migrate import MIGRATIONS, Scripts
from gateway.db.sqlite_file import sqlite_path
from gateway.db.tables import image, job, media
from gateway.secret import NAME as SECRET
from gateway.secret import Signer
from gateway.settings import Settings
from gateway.storage import open_store

__all__ = ["MARK", "Made", "make_backup", "mark_of"]

FILES, WANTED = "files.jsonl", "wanted.jsonl"
TABLES = (image, media)
ROWS = 1000
MARK = "backup"
"""What secrets are marked for."""


class Made(Struct, frozen=True, kw_only=True, rename="camel"):
    """What was done."""

    backup: str
    """Its name in the folder."""
    taken_at: str
    database: int
    """Bytes."""
    counts: Counts
    copied: int
    """Files of the store that were not in the folder yet."""
    copied_bytes: int
    pruned: tuple[str, ...]
    """Older backups that were removed."""


def make_backup(
    settings: Settings, root: Path, ambient: Ambient, watch: Watch, *, keep: int | None = None
) -> Made:
    """Make a backup of the gateway that the settings name. Blocks.

    Args:
        settings: its settings.
        root: the folder of backups.
        ambient: time.
        watch: is told.
        keep: then keep the newest so many; None: all.

    Raises:
        BackupError, DatabaseError, StorageError: it cannot be made; nothing in the folder looks like one.
    """
    scripts = Scripts(MIGRATIONS)
    at = ambient.now_ms()
    name = name_at(at)
    folder = BackupFolder(root.absolute())
    with folder.writing():
        work = folder.begin(name)
        try:
            taken = _copy_database(settings, work, scripts, watch, at)
            store = open_store(settings.storage_url, settings.env, to_write=False)
            watch.begin("the files of the store", taken.counts.byte_size)
            with (work / FILES).open("xb") as listing:
                new = _copy_files(settings.database_url, Copier(store, folder, work, watch), work, listing)
            (work / WANTED).unlink()
            made = replace(taken, files=part_of(work / FILES), counts=_counted(taken.counts, new))
            folder.finish(name, made)
        except BaseException:
            # What was copied of the store stays: the next try goes on from it.
            shutil.rmtree(work, ignore_errors=True)
            raise
        pruned = [] if keep is None else folder.keep_newest(keep)
    return Made(
        backup=name,
        taken_at=made.taken_at,
        database=made.database.byte_size,
        counts=made.counts,
        copied=new.copied,
        copied_bytes=new.copied_bytes,
        pruned=tuple(pruned),
    )


class _Files:
    """What became of the files of the store."""

    def __init__(self) -> None:
        self.copied = self.copied_bytes = 0
        self.left_out: Counter[LeftOut] = Counter()
        self.bytes_left_out = 0


def mark_of(secrets: tuple[bytes, ...]) -> str:
    """By which a secret is known again."""
    return Signer(secrets, MARK).sign(MARK)


def _copy_database(settings: Settings, work: Path, scripts: Scripts, watch: Watch, at: int) -> Manifest:
    """The copy, and the list of files that it wants; the manifest as far as it is known."""
    url, server = settings.database_url, None
    with ExitStack() as stack:
        if backend_of(url) == "postgresql":
            # Here and not above: its driver need not be installed.
            from gateway.backup import postgres_copy

            copied = postgres_copy.copied(url, work, settings.env, watch)
            connection, server = stack.enter_context(copied)
            database = work / postgres_copy.NAME
        else:
            connection = stack.enter_context(sqlite_copy.copied(url, work, watch))
            database = work / sqlite_copy.NAME
        revision = scripts.current(connection, "the database")
        if revision is None:
            raise BackupError("the database is empty: there is nothing to back up")
        counts = _list_files(connection, work / WANTED)
    secret = _copy_secret(settings, work)
    secrets = tuple(text.encode() for text in settings.secrets)
    if secret is not None:
        secrets = (secret.read_bytes(),)
    return Manifest(
        format=FORMAT,
        gateway=__version__,
        taken_at=iso(at),
        kind="sqlite" if server is None else "postgresql",
        revision=revision,
        server=server,
        database=part_of(database),
        files=part_of(work / WANTED),
        secret=None if secret is None else part_of(secret),
        secret_mark=mark_of(secrets) if secrets else "",
        counts=counts,
    )


def _list_files(connection: Connection, to: Path) -> Counts:
    """Write down which files the copy names."""
    encoder = msgspec.json.Encoder()
    numbers, size = [], 0
    with to.open("xb") as file:
        for rows in TABLES:
            number = 0
            for line in _lines(connection, rows):
                file.write(encoder.encode(line) + b"\n")
                number, size = number + 1, size + line.byte_size
            numbers.append(number)
    jobs = connection.execute(select(func.count()).select_from(job)).scalar_one()
    return Counts(jobs=jobs, pictures=numbers[0], inputs=numbers[1], byte_size=size)


def _lines(connection: Connection, rows: Table) -> Iterator[Line]:
    columns = (rows.c.storage_key, rows.c.byte_size, rows.c.sha256, rows.c.content_type)
    found = connection.execution_options(yield_per=ROWS).execute(select(*columns).order_by(rows.c.id))
    for row in found:
        yield Line(
            key=row.storage_key, byte_size=row.byte_size, sha256=row.sha256, content_type=row.content_type
        )


def _copy_secret(settings: Settings, work: Path) -> Path | None:
    """The data folder's secret; None where the settings have it, or none was made yet."""
    source = settings.data_dir / SECRET
    if settings.secrets or not source.is_file():
        return None
    to = work / SECRET
    to.touch(mode=0o600)
    to.write_bytes(source.read_bytes())
    return to


def _copy_files(url: str, copier: Copier, work: Path, listing: BinaryIO) -> _Files:
    """Bring the files that the database's copy names, and list what became of each."""
    encoder, done, absent = msgspec.json.Encoder(), _Files(), list[Line]()

    def note(*lines: Line) -> None:
        for line in lines:
            listing.write(encoder.encode(line) + b"\n")
            if line.left_out is not None:
                done.left_out[line.left_out] += 1
                done.bytes_left_out += line.byte_size

    for copy in in_order(copier.copy, read_lines(work / WANTED)):
        if copy.new:
            done.copied += 1
            done.copied_bytes += copy.line.byte_size
        if copy.line.left_out is None:
            note(copy.line)
        else:
            absent.append(copy.line)
        if len(absent) == ROWS:
            note(*_looked_up(url, absent))
            absent = []
    note(*_looked_up(url, absent))
    return done


def _looked_up(url: str, lines: Sequence[Line]) -> list[Line]:
    """Files that are not as they should be: the gateway removes a row before its file, so those without one
    are gone by its will.
    """
    if not lines:
        return []
    keys = [line.key for line in lines]
    with _reading(url) as connection:
        there = {
            key
            for rows in TABLES
            for key in connection.execute(
                select(rows.c.storage_key).where(rows.c.storage_key.in_(keys))
            ).scalars()
        }
    return [line if line.key in there else replace(line, left_out="removed") for line in lines]


@contextmanager
def _reading(url: str) -> Iterator[Connection]:
    """The database as it is now."""
    if backend_of(url) == "postgresql":
        from gateway.backup.postgres_copy import connected
        from gateway.db.postgres_server import postgres_url

        with connected(postgres_url(url)) as connection:
            yield connection
    else:
        with sqlite_copy.reading(sqlite_path(url)) as connection:
            yield connection


def _counted(counts: Counts, files: _Files) -> Counts:
    gone = {name: files.left_out[name] for name in get_args(LeftOut)}
    return replace(counts, byte_size=counts.byte_size - files.bytes_left_out, **gone)
