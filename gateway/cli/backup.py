"""`gateway backup` and `gateway restore`: the database and the store in a folder, and back from there."""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import rich_click as click
from msgspec import Struct
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from gateway.ambient import Ambient
from gateway.backup.folder import BackupFolder
from gateway.backup.make import Made, make_backup
from gateway.backup.records import BackupError, Counts
from gateway.backup.restore import Restored, Wishes, check_backup, restore_backup
from gateway.cli.connect import MESSAGES
from gateway.cli.console import console
from gateway.cli.doctor import Report, examine, examine_store
from gateway.cli.findings import reading, show_findings, verdict
from gateway.settings import Settings, load_settings
from gateway.storage import open_store

__all__ = ["backup", "restore"]

FOLDER = click.Path(path_type=Path, file_okay=False)
SECRETS = {
    "restored": "the secret that signs links is that of the backup",
    "same": "GATEWAY_SECRET is that of the backup",
    "other": "[yellow]links that were sent before do not work, and webhooks' secrets are others[/]: the "
    "secret is not that of the backup",
    "none": "the backup has no secret",
}


@click.command()
@click.argument("folder", type=FOLDER)
@click.option("--keep", type=click.IntRange(1), help="Remove all but the newest so many backups afterwards.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def backup(folder: Path, keep: int | None, as_json: bool) -> None:
    """Back the database and the store up into FOLDER, beside a gateway that runs.

    Each run is a backup of its own, and copies only those files of the store that the folder does not have
    yet. One that is broken off leaves no backup; run it again, and it goes on.

    Exits with 0 when all is in the backup, and with 1 when something is not: nothing was made, or files that
    the database names are not in the store as they should be.
    """
    settings = load_settings()
    with _bar() as bar:
        made = make_backup(settings, folder, Ambient(), bar, keep=keep)
    if as_json:
        _print(made)
    else:
        click.echo("\n".join(_told(made)))
    lost = made.counts.missing + made.counts.broken
    if lost:
        click.echo(
            f"error: {lost} files that the database names are not in the store, or not as they were; the "
            f"rest is in the backup. See `gateway doctor`, and {folder / made.backup / 'files.jsonl'}",
            err=True,
        )
        sys.exit(1)


@click.command()
@click.argument("folder", type=FOLDER)
@click.option("--backup", "name", help="Which one, by its name in FOLDER; the newest.")
@click.option(
    "--check", is_flag=True, help="Only see that it is whole: every file is read, nothing is written."
)
@click.option(
    "--resume", is_flag=True, help="Jobs go on as after a restart: nothing ran since the backup was made."
)
@click.option(
    "--deliver", is_flag=True, help="Mails and calls that waited are sent, though they may have been."
)
@click.option(
    "--same-store",
    is_flag=True,
    help="The store is the one that was backed up: what it has stays, what it lacks is brought.",
)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def restore(
    folder: Path, name: str | None, check: bool, resume: bool, deliver: bool, same_store: bool, as_json: bool
) -> None:
    """Restore a backup from FOLDER to where the settings say, and look it over as `gateway doctor` does.

    The database and the store there must be empty, and no gateway may run. Nothing is paid twice: jobs that
    may have been sent since the backup was made are `unknown` afterwards, for you to settle (`gateway jobs
    adopt`, `gateway jobs fail`), and what waited to be mailed or called is held back (`gateway outbox --state
    failed`).

    Exits with 0 when all is well, with 1 when it is not.
    """
    settings = load_settings()
    where = BackupFolder(folder.absolute())
    with where.reading():
        chosen = _chosen(where, name)
        with _bar() as bar:
            if check:
                counts = check_backup(where, chosen, bar).counts
            else:
                wishes = Wishes(resume=resume, deliver=deliver, same_store=same_store)
                done = restore_backup(settings, where, chosen, Ambient(), wishes, bar)
    if check:
        if as_json:
            _print(_Checked(backup=chosen, counts=counts))
        else:
            click.echo(f"{chosen} is whole: {_files(counts)}")
        return
    report = asyncio.run(_look_over(settings))
    if as_json:
        _print(_Looked(restored=done, doctor=report))
    else:
        out = console()
        show_findings(out, report.findings)
        for line in (*_done(done), verdict(report.findings)):
            out.print(line, highlight=False, soft_wrap=True)
    sys.exit(1 if report.findings else 0)


class _Checked(Struct, frozen=True, kw_only=True):
    backup: str
    counts: Counts


class _Looked(Struct, frozen=True, kw_only=True):
    restored: Restored
    doctor: Report


def _chosen(folder: BackupFolder, name: str | None) -> str:
    names = folder.names()
    if not names:
        raise BackupError(f"{folder.root} has no whole backup")
    if name is None:
        return names[-1]
    if name not in names:
        raise BackupError(f"{folder.root} has no backup {name}; there are {', '.join(names)}")
    return name


async def _look_over(settings: Settings) -> Report:
    async with reading(settings) as database:
        now = Ambient().now_ms()
        report = await database.read(lambda c: examine(c, now))
        store = await asyncio.to_thread(open_store, settings.storage_url, settings.env, to_write=False)
        return await examine_store(report, database, store, now)


def _told(made: Made) -> Iterator[str]:
    counts = made.counts
    yield f"backup {made.backup}: {counts.jobs} jobs, a database of {_size(made.database)}"
    yield f"{_files(counts)}; {made.copied} of them new ({_size(made.copied_bytes)})"
    if counts.removed:
        yield f"{counts.removed} files were removed by the gateway meanwhile: the restored jobs say so"
    if made.pruned:
        yield f"removed: {', '.join(made.pruned)}"


def _done(done: Restored) -> Iterator[str]:
    yield f"restored {done.backup}, taken at {done.taken_at}: {done.counts.jobs} jobs, {_files(done.counts)}"
    yield f"{done.brought} files were brought into the store"
    if done.from_revision != done.to_revision:
        yield f"the database was brought from revision {done.from_revision} to {done.to_revision}"
    gone = done.counts.removed + done.counts.missing + done.counts.broken
    if gone:
        yield f"{gone} files are not in the backup: their jobs say that the pictures were removed"
    if done.unknown:
        yield (
            f"{done.unknown} jobs are unknown: whether they were sent since is not known; their holds are "
            "kept. `gateway jobs --status unknown` lists them, `gateway jobs adopt` and `fail` settle them"
        )
    if done.followed:
        yield f"{done.followed} jobs go on when a gateway starts"
    if done.held_back:
        yield (
            f"{done.held_back} mails and calls are held back: `gateway outbox --state failed` lists them, "
            "`gateway outbox redeliver` sends one"
        )
    yield SECRETS[done.secret]


def _files(counts: Counts) -> str:
    gone = counts.removed + counts.missing + counts.broken
    return f"{counts.pictures + counts.inputs - gone} files of the store, {_size(counts.byte_size)}"


def _size(count: int) -> str:
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 1000)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} bytes"


def _print(what: Struct) -> None:
    click.echo(msgspec.json.format(msgspec.json.encode(what)).decode())


class _Bar:
    """Shows how far it is, where somebody looks."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task: TaskID | None = None

    def begin(self, what: str, total: int | None = None) -> None:
        """As `Watch.begin`."""
        if self._task is not None:
            self._progress.update(self._task, total=1, completed=1, visible=False)
        self._task = self._progress.add_task(what, total=total)

    def advance(self, amount: int) -> None:
        """As `Watch.advance`."""
        if self._task is not None:
            self._progress.advance(self._task, amount)


@contextmanager
def _bar() -> Iterator[_Bar]:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeElapsedColumn())
    with Progress(*columns, console=MESSAGES, transient=True, disable=not MESSAGES.is_terminal) as progress:
        yield _Bar(progress)
