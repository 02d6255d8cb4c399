"""A backup is restored where nothing is lost by it, and only if it is whole; what is broken off can be begun again."""

import asyncio
import json
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace
from support.backups import Places, changed, found_by_doctor, made, put_back, rows
from support.job_world import World
from support.s3_server import S3Server, make_bucket, objects_of
from support.scripted_provider import done

from gateway.backup import postgres_copy, sqlite_copy
from gateway.backup.folder import MANIFEST, BackupFolder, part_of
from gateway.backup.records import BackupError
from gateway.db.engine import DatabaseError
from gateway.db.migrate import upgrade
from gateway.locks import FolderBusyError, hold_folder
from gateway.settings import Settings, load_settings
from gateway.storage import StorageError, open_store

OLDER = (
    "drop index ix_job_parent",
    *(f"alter table job drop column {name}" for name in ("template", "parent_id", "step", "due_micros")),
    "alter table image drop column name",
    "update alembic_version set version_num = '0007'",
)
"""What revision 0008 brought, taken away again."""


@pytest.fixture
async def backed_up(world: World, folder: Path) -> Path:
    """A backup of a job with a picture: its own folder."""
    world.script().answers(submit=[done()])
    await world.run()
    done_ = await made(world.core.settings, folder)
    return BackupFolder(folder).path(done_.backup)


def untouched(there: Settings) -> bool:
    return not there.data_dir.exists()


@pytest.mark.every_database
async def test_not_into_a_database_that_has_something(
    world: World, backed_up: Path, folder: Path, places: Places
) -> None:
    with places.place() as there:
        if there.shared_database:
            changed(there.database_url, "create table theirs (x int)")
        else:
            there.data_dir.mkdir()
            (there.data_dir / "gateway.db").write_bytes(b"something")
        with pytest.raises(BackupError, match=r"empty database|is there already"):
            await put_back(there, folder)
        assert not (there.data_dir / "store").exists()


async def test_not_into_a_store_that_has_something(backed_up: Path, folder: Path, places: Places) -> None:
    with places.place() as there:
        other = there.data_dir / "store" / "images" / "img_other.png"
        other.parent.mkdir(parents=True)
        other.write_bytes(b"x")
        with pytest.raises(
            BackupError, match=r"like images/img_other\.png: a backup is restored to an empty store"
        ):
            await put_back(there, folder)
        assert [path.name for path in there.data_dir.iterdir()] == ["store"]


async def test_into_the_very_store_that_was_backed_up(
    world: World, backed_up: Path, folder: Path, places: Places
) -> None:
    """The database is lost and the store is not: it has newer pictures, and lacks one that it had."""
    world.script().answers(submit=[done(), done()])
    lost, newer = await world.run(), None
    await made(world.core.settings, folder)
    newer = await world.run()
    keys = [job.images[0].storage_key for job in (lost, newer)]
    await world.core.images.delete(keys[0])
    with places.place(GATEWAY_STORAGE_URL=world.core.settings.storage_url) as there:
        with pytest.raises(BackupError, match="--same-store keeps what it has"):
            await put_back(there, folder)
        assert (await put_back(there, folder, same_store=True)).brought == 1
        assert await found_by_doctor(there) == []
        for key in keys:
            assert await world.core.images.get(key) is not None
        assert len(rows(there, "select id from image")) == 2


async def test_not_beside_a_gateway(backed_up: Path, folder: Path, places: Places) -> None:
    with places.place() as there, hold_folder(there.data_dir), pytest.raises(FolderBusyError):
        await put_back(there, folder)


@pytest.mark.every_database
async def test_not_of_a_later_schema_or_another_kind(backed_up: Path, folder: Path, places: Places) -> None:
    path = backed_up / MANIFEST
    manifest = json.loads(path.read_text())
    other = {"sqlite": "postgresql", "postgresql": "sqlite"}[manifest["kind"]]
    for change, said in (
        ({"revision": "9999"}, "is at revision 9999, and this version knows up to"),
        ({"kind": other}, "there is no way from one to the other"),
    ):
        path.write_text(json.dumps({**manifest, **change}))
        with places.place() as there:
            with pytest.raises(BackupError, match=said):
                await put_back(there, folder)
            assert untouched(there)


@pytest.mark.every_database
@pytest.mark.parametrize("what", ["database", "list", "picture", "picture gone"])
async def test_not_one_that_is_not_as_it_was(
    backed_up: Path, folder: Path, places: Places, what: str
) -> None:
    (picture,) = (path for path in (folder / "files").rglob("*") if path.is_file())
    (database,) = backed_up.glob("database.*")
    path = {"database": database, "list": backed_up / "files.jsonl"}.get(what, picture)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    if what == "picture gone":
        path.unlink()
    with places.place() as there:
        with pytest.raises(BackupError, match=f"is not whole: {path} not there, or not as it was"):
            await put_back(there, folder)
        assert untouched(there)


async def test_one_that_was_broken_off_is_begun_again(
    world: World, backed_up: Path, folder: Path, places: Places
) -> None:
    world.script().answers(submit=[done()])
    await world.run()
    await made(world.core.settings, folder)
    with S3Server() as server:
        make_bucket(server.env, "restored", {})
        with places.place(**server.env, GATEWAY_STORAGE_URL="s3://restored/igw") as there:
            # As far as one file had come.
            first = next(BackupFolder(folder).lines(BackupFolder(folder).names()[-1]))
            store = open_store(there.storage_url, there.env)
            store.put_file(first.key, BackupFolder(folder).file(first.sha256), first.content_type)
            server.go_away()
            with pytest.raises(StorageError):
                await put_back(there, folder)
            assert not (there.data_dir / "gateway.db").exists()
            server.come_back()
            await put_back(there, folder)
            assert await found_by_doctor(there) == []
            kept = {key: one.content_type for key, one in objects_of(server.env, "restored").items()}
    assert {kind for key, kind in kept.items() if "/images/" in key} == {"image/png"}
    assert len([key for key in kept if "/images/" in key]) == 2


async def test_from_a_bucket_to_a_folder(world: World, folder: Path, places: Places) -> None:
    world.script().answers(submit=[done()])
    job = await world.run()
    with S3Server() as server:
        make_bucket(server.env, "served", {})
        env = {**world.core.settings.env, **server.env, "GATEWAY_STORAGE_URL": "s3://served"}
        key, data = job.images[0].storage_key, await world.core.images.get(job.images[0].storage_key)
        with places.place("source", **env) as source:
            assert data is not None
            await open_store_in_thread(source, key, data)
            done_ = await made(source_of(world, source), folder)
            assert done_.copied == 1
    with places.place() as there:
        await put_back(there, folder)
        assert (there.data_dir / "store" / key).read_bytes() == data
        assert await found_by_doctor(there) == []


async def open_store_in_thread(settings: Settings, key: str, data: bytes) -> None:
    store = await asyncio.to_thread(open_store, settings.storage_url, settings.env)
    await store.put(key, data, "image/png")


def source_of(world: World, bucket: Settings) -> Settings:
    """The world's database with another store."""
    return load_settings({**bucket.env, "GATEWAY_DATABASE_URL": world.core.settings.database_url})


@pytest.mark.every_database
async def test_no_gateway_starts_on_a_database_that_is_half_restored(
    backed_up: Path, folder: Path, places: Places
) -> None:
    where = BackupFolder(folder)
    manifest = where.manifest(backed_up.name)

    def broken_off(_connection: object) -> None:
        raise KeyboardInterrupt

    with places.place() as there:
        if manifest.server is None:
            with pytest.raises(KeyboardInterrupt):
                sqlite_copy.put_in_place(backed_up / "database.sqlite", there.database_url, broken_off)
            assert not (there.data_dir / "gateway.db").exists()
            await put_back(there, folder)  # what was left is no hindrance
        else:
            with pytest.raises(KeyboardInterrupt):
                postgres_copy.put_in_place(
                    backed_up / "database.pgdump",
                    there.database_url,
                    manifest.server,
                    manifest.revision,
                    there.env,
                    broken_off,
                )
            with pytest.raises(DatabaseError, match="has tables but no revision"):
                upgrade(there.database_url, at=1)


async def test_the_secret_of_the_data_folder_comes_along(world: World, folder: Path, places: Places) -> None:
    own = load_settings({**world.core.settings.env, "GATEWAY_SECRET": ""})
    (own.data_dir / "secret").write_bytes(b"s" * 32)
    done_ = await made(own, folder)
    kept = BackupFolder(folder).path(done_.backup) / "secret"
    assert kept.stat().st_mode & 0o777 == 0o600
    with places.place(GATEWAY_SECRET="") as there:
        assert (await put_back(there, folder)).secret == "restored"
        made_there = there.data_dir / "secret"
        assert (made_there.read_bytes(), made_there.stat().st_mode & 0o777) == (b"s" * 32, 0o600)
    with places.place("with another", GATEWAY_SECRET="y" * 32) as there:
        assert (await put_back(there, folder)).secret == "other"
    with places.place("with its own", GATEWAY_SECRET="") as there:
        there.data_dir.mkdir()
        (there.data_dir / "secret").write_bytes(b"o" * 32)
        with pytest.raises(BackupError, match="is another secret than the backup's"):
            await put_back(there, folder)


async def test_the_secret_of_the_environment_is_known_again(
    world: World, folder: Path, places: Places
) -> None:
    await made(world.core.settings, folder)
    assert not list(folder.rglob("secret"))
    assert b"xxxxxxxx" not in b"".join(path.read_bytes() for path in folder.rglob(MANIFEST))
    for name, secret, said in (("a", f"{'n' * 32},{'x' * 32}", "same"), ("b", "n" * 32, "other")):
        with places.place(name, GATEWAY_SECRET=secret) as there:
            assert (await put_back(there, folder)).secret == said


async def test_an_older_schema_is_brought_up_to_date(world: World, folder: Path, places: Places) -> None:
    """As a backup of an earlier version is, after a later one was installed."""
    done_ = await made(world.core.settings, folder)
    where = BackupFolder(folder)
    copy = where.path(done_.backup) / "database.sqlite"
    changed(f"sqlite:///{copy}", *OLDER)
    older = replace(where.manifest(done_.backup), revision="0007", database=part_of(copy))
    (where.path(done_.backup) / MANIFEST).write_bytes(msgspec.json.encode(older))
    with places.place() as there:
        restored = await put_back(there, folder)
        assert (restored.from_revision, restored.to_revision) == ("0007", "0008")
        assert rows(there, "select version_num from alembic_version") == [("0008",)]
        assert await found_by_doctor(there) == []
