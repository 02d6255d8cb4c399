"""Backups beside a gateway that goes on: each is of one moment, copies only what is new, and is whole or not there."""

import asyncio
import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from support.backups import Places, Quiet, changed, found_by_doctor, made, put_back, rows, with_programs
from support.job_world import World, world_of
from support.scripted_provider import done

from gateway.accounts.principals import OPERATOR
from gateway.ambient import Ambient
from gateway.backup.folder import MANIFEST, BackupFolder
from gateway.backup.make import make_backup
from gateway.backup.records import BackupError
from gateway.jobs.expiry import remove_pictures
from gateway.storage import StorageError


def files_of(folder: Path) -> set[str]:
    return {path.name for path in (folder / "files").rglob("*") if path.is_file()}


async def one(world: World) -> str:
    """A job with a picture; its sha256."""
    world.script().answers(submit=[done()])
    return (await world.run()).images[0].sha256


class Meanwhile(Quiet):
    """Has something done once, when a step is begun or goes on."""

    def __init__(self, at: str, do: object, *, after: int = 0) -> None:
        super().__init__()
        self._at, self._do, self._after = at, do, after

    def advance(self, amount: int) -> None:
        super().advance(amount)
        if self.begun[-1] == self._at and self.done >= self._after and self._do is not None:
            do, self._do = self._do, None
            do()  # type: ignore[operator]

    def begin(self, what: str, total: int | None = None) -> None:
        super().begin(what, total)
        self.advance(0)


async def backup(world: World, folder: Path, watch: Quiet) -> object:
    return await asyncio.to_thread(make_backup, with_programs(world.core.settings), folder, Ambient(), watch)


async def test_a_second_one_copies_what_is_new_and_old_ones_go(world: World, folder: Path) -> None:
    first = await one(world)
    made_first = await made(world.core.settings, folder)
    second = await one(world)
    made_second = await made(world.core.settings, folder)
    assert (made_first.copied, made_second.copied, made_second.counts.pictures) == (1, 1, 2)
    assert files_of(folder) == {first, second}
    where = BackupFolder(folder)
    assert where.names() == [made_first.backup, made_second.backup]
    assert (where.file(first).stat().st_mode & 0o077, folder.stat().st_mode & 0o077) == (0, 0)

    # What the newest does not name goes with the older ones.
    jobs = [str(row[0]) for row in rows(world.core.settings, "select job_id from image order by created_at")]
    await world.db.write(partial(remove_pictures, job_ids=jobs[:1], days=1))
    third = await made(world.core.settings, folder, keep=2)
    assert (third.pruned, third.copied, files_of(folder)) == ((made_first.backup,), 0, {first, second})
    fourth = await made(world.core.settings, folder, keep=1)
    assert (where.names(), files_of(folder)) == ([fourth.backup], {second})


@pytest.mark.every_database
async def test_it_is_of_one_moment_whatever_is_written_meanwhile(
    world: World, places: Places, folder: Path
) -> None:
    await one(world)
    url = world.core.settings.database_url
    in_steps = not world.core.shared
    if in_steps:
        # Larger than a step of the copy.
        changed(url, "create table filler as select randomblob(8000000) as data")
    late = "insert into account (id, name, tier, created_at) values ('late', 'x', 'normal', 1)"
    # On SQLite in the middle of the copy; on PostgreSQL when pg_dump has the snapshot and has not begun.
    watch = Meanwhile("the database", partial(changed, url, late), after=int(in_steps))
    await backup(world, folder, watch)
    assert rows(world.core.settings, "select count(*) from account where id = 'late'") == [(1,)]
    with places.place() as there:
        await put_back(there, folder)
        assert rows(there, "select count(*) from account where id = 'late'") == [(0,)]
        assert await found_by_doctor(there) == []


@pytest.mark.every_database
async def test_a_picture_that_is_removed_meanwhile_is_told_by_its_job(
    world: World, places: Places, folder: Path
) -> None:
    world.script().answers(submit=[done(2), done()])
    gone, stays = await world.run(n=2), await world.run()

    async def clean() -> None:
        keys = await world.db.write(partial(remove_pictures, job_ids=[gone.id], days=7))
        for key in keys:
            await world.core.images.delete(key)

    loop = asyncio.get_running_loop()
    watch = Meanwhile(
        "the files of the store", lambda: asyncio.run_coroutine_threadsafe(clean(), loop).result(20)
    )
    done_ = await backup(world, folder, watch)
    assert (done_.counts.pictures, done_.counts.removed, done_.counts.missing) == (3, 2, 0)  # type: ignore[attr-defined]
    with places.place() as there:
        await put_back(there, folder)
        assert await found_by_doctor(there) == []
        async with world_of(there) as again:
            job = await again.core.job(gone.id, OPERATOR)
            assert (job.status, job.images, job.charge_micros) == ("completed", (), gone.charge_micros)
            assert job.warnings == (
                "its pictures were removed: they were not in the store any more when the backup was made that the "
                "gateway was restored from",
            )
            assert await again.core.job(stays.id, OPERATOR) == stays


async def test_files_that_are_lost_or_broken_are_told_and_the_rest_is_kept(
    world: World, places: Places, folder: Path
) -> None:
    world.script().answers(submit=[done(), done(), done()])
    lost, broken, whole = [await world.run() for _ in range(3)]
    await world.core.images.delete(lost.images[0].storage_key)
    await world.core.images.put(broken.images[0].storage_key, b"not it", "image/png")
    done_ = await made(world.core.settings, folder)
    assert (done_.copied, done_.counts.missing, done_.counts.broken) == (1, 1, 1)
    with places.place() as there:
        await put_back(there, folder)
        assert await found_by_doctor(there) == []
        assert rows(there, "select job_id from image") == [(whole.id,)]


async def test_one_that_is_broken_off_is_none_and_the_next_goes_on_from_it(
    world: World, folder: Path
) -> None:
    shas = {await one(world) for _ in range(3)}
    store = Path(world.core.settings.data_dir) / "store" / "images"
    key = rows(world.core.settings, "select storage_key from image order by id desc")[0][0]
    path = store / Path(str(key)).name
    kept = path.read_bytes()
    path.unlink()
    path.symlink_to(path.name)  # it leads to itself, and cannot be read
    with pytest.raises(StorageError, match="could not be read"):
        await made(world.core.settings, folder)
    where = BackupFolder(folder)
    assert (where.names(), list(folder.glob("unfinished-*"))) == ([], [])
    there = files_of(folder)
    assert len(there) == 2
    path.unlink()
    path.write_bytes(kept)
    # As a process leaves it that was killed.
    left = where.begin("20261128T000000000Z")
    (left / "database.sqlite").write_bytes(b"half")
    done_ = await made(world.core.settings, folder)
    assert (done_.copied, files_of(folder), left.exists()) == (1, shas, False)


async def test_a_folder_that_cannot_take_it(world: World, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter.txt").write_text("x")
    with pytest.raises(BackupError, match="holds no backups of a gateway: name another folder"):
        await made(world.core.settings, tmp_path / "other")
    (tmp_path / "file").write_text("x")
    with pytest.raises(BackupError, match="cannot be written"):
        await made(world.core.settings, tmp_path / "file")
    with BackupFolder(folder).writing(), pytest.raises(BackupError, match="another backup is being made"):
        await made(world.core.settings, folder)


async def test_an_empty_database_is_not_backed_up(places: Places, folder: Path) -> None:
    with places.place() as there:
        there.data_dir.mkdir()
        with closing(sqlite3.connect(there.data_dir / "gateway.db")) as db:
            db.execute("pragma journal_mode=wal")
        with pytest.raises(BackupError, match="is empty: there is nothing to back up"):
            await made(there, folder)
    assert BackupFolder(folder).names() == []


async def test_a_manifest_of_a_later_version_is_not_guessed_at(world: World, folder: Path) -> None:
    done_ = await made(world.core.settings, folder)
    where = BackupFolder(folder)
    path = where.path(done_.backup) / MANIFEST
    path.write_text(path.read_text().replace('"format": 1', '"format": 2'))
    with pytest.raises(BackupError, match="made by a later version"):
        where.manifest(done_.backup)


def test_several_may_read_while_nobody_writes(folder: Path) -> None:
    with BackupFolder(folder).writing():
        pass
    busy = pytest.raises(BackupError, match="another backup is being made, or restored, there")
    with BackupFolder(folder).reading(), BackupFolder(folder).reading(), busy, BackupFolder(folder).writing():
        raise AssertionError("two had it")
