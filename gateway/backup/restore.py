"""Puts a backup back where nothing is: checked first, the files next, the database last."""

import os
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from urllib.parse import unquote, urlsplit

from msgspec import Struct
from sqlalchemy import Connection

from gateway.ambient import Ambient
from gateway.backup import afterwards, sqlite_copy
from gateway.backup.files import put_back, wrong_files
from gateway.backup.folder import BackupFolder, digest_of
from gateway.backup.make import MARK
from gateway.backup.records import BackupError, Counts, Line, Manifest, Watch
from gateway.db.engine import backend_of
from gateway.db.migrate import MIGRATIONS, Scripts
from gateway.locks import hold_folder
from gateway.orphans import FOLDERS
from gateway.secret import NAME as SECRET
from gateway.secret import Signer
from gateway.settings import Settings
from gateway.storage import open_store

__all__ = ["Restored", "Wishes", "check_backup", "restore_backup"]

AT_ONCE = 500
SHOWN = 3


class Wishes(Struct, frozen=True, kw_only=True):
    """What is to become of what was under way in the backup."""

    resume: bool = False
    """Jobs go on as after a restart: nothing ran since the backup was made."""
    deliver: bool = False
    """What waited in the outbox is sent."""
    same_store: bool = False
    """The store is the one that the backup was made of: what it has stays, what it lacks is brought."""


class Restored(Struct, frozen=True, kw_only=True, rename="camel"):
    """What was done."""

    backup: str
    taken_at: str
    counts: Counts
    brought: int
    """Files, into the store."""
    from_revision: str
    to_revision: str
    unknown: int
    """Jobs that wait for an operator's word."""
    followed: int
    """Jobs that go on when a gateway starts."""
    held_back: int
    """Mails and calls that are not sent by themselves."""
    secret: str
    """restored, same, other, none: whether what signed links is what signs them now."""


def check_backup(folder: BackupFolder, name: str, watch: Watch) -> Manifest:
    """See that a backup is whole: each file is there and is what it was.

    Raises:
        BackupError: it is not.
    """
    manifest = folder.manifest(name)
    parts = [manifest.database, manifest.files, *([] if manifest.secret is None else [manifest.secret])]
    watch.begin("checking the backup", manifest.counts.byte_size + sum(part.byte_size for part in parts))
    wrong = []
    for part in parts:
        path = folder.path(name) / part.name
        if not path.is_file() or digest_of(path) != part.sha256:
            wrong.append(str(path))
        watch.advance(part.byte_size)
    if not wrong:
        found = wrong_files(folder, folder.lines(name), watch)
        wrong = [str(folder.file(sha256)) for sha256 in found]
    if wrong:
        more = f", and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
        raise BackupError(
            f"the backup {name} is not whole: {', '.join(wrong[:SHOWN])}{more} not there, or not as it was. "
            "Take another one (--backup)"
        )
    return manifest


def restore_backup(
    settings: Settings, folder: BackupFolder, name: str, ambient: Ambient, wishes: Wishes, watch: Watch
) -> Restored:
    """Restore a backup to where the settings say. Blocks.

    Args:
        settings: of the gateway that is to be.
        folder: of backups, held by its `reading`.
        name: of the backup.
        ambient: time.
        wishes: what is to become of what was under way.
        watch: is told.

    Raises:
        BackupError, DatabaseError, StorageError, FolderBusyError: it cannot be; until the database gets its
            name, or its revision, no gateway starts on the half of one.
    """
    scripts = Scripts(MIGRATIONS)
    manifest = folder.manifest(name)
    _check_fit(settings, manifest, scripts)
    # Before what takes long, and once more when nobody else can come.
    _check_target(settings, folder, name, manifest, wishes)
    check_backup(folder, name, watch)
    with hold_folder(settings.data_dir):
        _check_target(settings, folder, name, manifest, wishes)
        store = open_store(settings.storage_url, settings.env)
        watch.begin("the files of the store", manifest.counts.byte_size)
        brought = put_back(store, folder, folder.lines(name), watch, lacking=wishes.same_store)
        secret = _put_secret(settings, folder.path(name), manifest)
        watch.begin("the database")
        change = _Change(folder, name, scripts, wishes, ambient.now_ms())
        _put_database(settings, folder.path(name), manifest, change)
    return Restored(
        backup=name,
        taken_at=manifest.taken_at,
        counts=manifest.counts,
        brought=brought,
        from_revision=manifest.revision,
        to_revision=scripts.head,
        unknown=change.settled.unknown,
        followed=change.settled.followed,
        held_back=change.held_back,
        secret=secret,
    )


class _Change:
    """What is changed in the database, in one transaction, which may be run again."""

    def __init__(self, folder: BackupFolder, name: str, scripts: Scripts, wishes: Wishes, at: int) -> None:
        self._lines = partial(folder.lines, name)
        self._scripts = scripts
        self._wishes = wishes
        self._at = at
        self.settled = afterwards.Settled(unknown=0, followed=0)
        self.held_back = 0

    def __call__(self, connection: Connection) -> None:
        self._scripts.run(connection)
        for lines in _in_parts(line for line in self._lines() if line.left_out is not None):
            afterwards.forget_files(connection, lines)
        afterwards.let_go(connection)
        if not self._wishes.resume:
            afterwards.settle_jobs(connection)
        self.settled = afterwards.standing(connection)
        if not self._wishes.deliver:
            self.held_back = afterwards.hold_back(connection, self._at)


def _in_parts(lines: Iterator[Line]) -> Iterator[list[Line]]:
    part: list[Line] = []
    for line in lines:
        part.append(line)
        if len(part) == AT_ONCE:
            yield part
            part = []
    if part:
        yield part


def _check_fit(settings: Settings, manifest: Manifest, scripts: Scripts) -> None:
    """See that this version, on such a database, can take a backup."""
    kind = backend_of(settings.database_url)
    if kind != manifest.kind:
        raise BackupError(
            f"the backup is of a {manifest.kind} database, and GATEWAY_DATABASE_URL names a {kind} one: "
            "there is no way from one to the other"
        )
    if not scripts.knows(manifest.revision):
        raise BackupError(
            f"the backup's database is at revision {manifest.revision}, and this version knows up to "
            f"{scripts.head}: install the version that made it ({manifest.gateway}), or a later one"
        )


def _check_target(
    settings: Settings, folder: BackupFolder, name: str, manifest: Manifest, wishes: Wishes
) -> None:
    """See that nothing is lost by what is to be written. Changes nothing."""
    if manifest.server is None:
        sqlite_copy.check_empty(settings.database_url)
    else:
        from gateway.backup import postgres_copy

        postgres_copy.check_empty(settings.database_url, manifest.server, settings.env)
    named = manifest.counts.pictures + manifest.counts.inputs
    found = set[str]() if wishes.same_store else set(islice(_found_in_store(settings), named + 1))
    if found:
        # What an earlier try has brought is of this very backup, and is brought again.
        found.difference_update(line.key for line in folder.lines(name))
    if found:
        raise BackupError(
            f"the store has files that are not of this backup, like {min(found)}: a backup is restored to an "
            "empty store. Set GATEWAY_STORAGE_URL to another place; if it is the very store that the backup "
            "was made of, --same-store keeps what it has"
        )
    path = settings.data_dir / SECRET
    other = path.exists() and manifest.secret is not None and digest_of(path) != manifest.secret.sha256
    if other and not settings.secrets:
        raise BackupError(
            f"{path} is another secret than the backup's: move it away, or links that were sent are dead"
        )


def _found_in_store(settings: Settings) -> Iterator[str]:
    """The keys of files of ours that are in the store."""
    parts = urlsplit(settings.storage_url)
    if parts.scheme == "file" and not Path(unquote(parts.path)).exists():
        return
    store = open_store(settings.storage_url, settings.env, to_write=False)
    for prefix in FOLDERS:
        for page in store.all_pages(prefix):
            yield from page


def _put_secret(settings: Settings, backup: Path, manifest: Manifest) -> str:
    """Have links signed as they were, where that is ours to do; how it stands."""
    if not manifest.secret_mark:
        return "none"
    if manifest.secret is not None and not settings.secrets:
        path = settings.data_dir / SECRET
        if not path.exists():
            with os.fdopen(
                os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb"
            ) as file:
                file.write((backup / manifest.secret.name).read_bytes())
                file.flush()
                os.fsync(file.fileno())
        return "restored"
    signer = Signer(tuple(text.encode() for text in settings.secrets), MARK)
    return "same" if settings.secrets and signer.verify(MARK, manifest.secret_mark) else "other"


def _put_database(settings: Settings, backup: Path, manifest: Manifest, change: _Change) -> None:
    copy = backup / manifest.database.name
    if manifest.server is None:
        sqlite_copy.put_in_place(copy, settings.database_url, change)
        return
    from gateway.backup import postgres_copy

    postgres_copy.put_in_place(
        copy, settings.database_url, manifest.server, manifest.revision, settings.env, change
    )
