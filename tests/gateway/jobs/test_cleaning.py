"""The store beside the database: no file stays that nobody owns, and no row is left without its file."""

import asyncio
import os
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy import Connection, delete, select, update
from support.job_checks import Gate
from support.people import premium
from support.s3_server import S3Server, make_bucket
from support.scripted_provider import done, handle, picture

from gateway import limits
from gateway.accounts.principals import OPERATOR
from gateway.ambient import DAY_MS
from gateway.cleaning import Cleaner, Keep
from gateway.cli.doctor import Report, examine, examine_store
from gateway.db.tables import bucket, image, job, media
from gateway.housekeeping import Housekeeper
from gateway.jobs import expiry
from gateway.jobs.outputs import image_id
from gateway.media.expiry import MediaGone, hold_media, old_media, remove_media
from gateway.media.references import keys_of
from gateway.media.rows import MediaRow, insert_media
from gateway.orphans import find_orphans, missing_files
from gateway.schemas import GenerateRequest
from gateway.storage import ImageStore, StorageError, open_store
from registry.errors import InvalidInputs

DAY_S = DAY_MS / 1000
NUMBERS = count()
STRANGERS = ("start-check", "images/holiday.png", "images/sub/img_0.png", "media/notes.txt", "other/a.png")


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    with S3Server() as server:
        make_bucket(server.env, "store", {})
        yield server


@pytest.fixture(params=["file", "s3"])
async def store(request: pytest.FixtureRequest, world, s3: S3Server) -> ImageStore:
    """The store of the world's core: a folder, or a bucket."""
    if request.param == "s3":
        url = f"s3://store/igw/{next(NUMBERS)}"
        world.core.images = await asyncio.to_thread(open_store, url, s3.env)
        world.new_process()
    return world.core.images


@pytest.fixture
def cleaner(world, store) -> Callable[..., Cleaner]:
    return lambda **keep: Cleaner(world.db, store, world.core.ambient, Keep(**keep))


async def keys(store: ImageStore) -> set[str]:
    return {*await store.keys("images"), *await store.keys("media")}


async def rows(world, table=image) -> set[str]:
    return await world.db.read(lambda c: set(c.execute(select(table.c.storage_key)).scalars()))


async def check(world, store) -> Report:
    """What the doctor says; nothing is to be wrong."""
    now = world.core.ambient.now_ms()
    report = await examine_store(await world.db.read(lambda c: examine(c, now)), world.db, store, now)
    assert report.findings == ()
    return report


async def keep_media(world, store, *, prefix: str = "upl", data: bytes = b"x") -> MediaRow:
    """An upload of the operator's, in the store and in its row."""
    media_id = world.core.ambient.new_id(prefix)
    row = MediaRow(
        id=media_id,
        account_id=OPERATOR,
        kind="image",
        sha256="0" * 64,
        content_type="image/png",
        byte_size=len(data),
        width=8,
        height=8,
        storage_key=f"media/{media_id}.png",
        created_at=world.core.ambient.now_ms(),
    )
    await store.put(row.storage_key, data, row.content_type)
    await world.db.write(lambda c: insert_media(c, row))
    return row


def edit(upload: str) -> GenerateRequest:
    return GenerateRequest(model="edit", inputs={"prompt": "a cat", "image_url": upload})


async def submitted(world, request: GenerateRequest) -> str:
    """A job that its provider has, left alone by a process that has ended."""
    job_id = await world.core.admission.submit(request, premium())
    async with asyncio.timeout(20):
        while (await world.core.job(job_id, OPERATOR)).status != "running":
            await asyncio.sleep(0.001)
    await world.core.runner.aclose(0)
    return job_id


async def gone_on(world, job_id: str) -> None:
    """Another process brings it to its end."""
    world.script().answers(poll=[done()])
    world.new_process()
    await world.resume()
    assert (await world.ended(job_id)).status == "completed"


# -- pictures whose days are over -------------------------------------------------------------


async def test_pictures_go_so_many_days_after_their_job_ended_and_the_job_stays(
    world, store, cleaner
) -> None:
    world.script().answers([done(2), done()])
    old = await world.run(num_images=2)
    await cleaner(image_days=2).expire_pictures()
    assert len(await keys(store)) == 2
    world.clock.ahead_s = 1.5 * DAY_S
    new = await world.run()
    world.clock.ahead_s = 2.1 * DAY_S
    await cleaner(image_days=0).expire_pictures()
    assert len(await keys(store)) == 3
    await cleaner(image_days=2).expire_pictures()
    assert await keys(store) == await rows(world) == {new.images[0].storage_key}
    job = await world.core.job(old.id, OPERATOR)
    assert (job.status, job.charge_micros, job.images) == ("completed", 60_000, ())
    view = world.core.view(job)
    assert (view.images, view.image_url) == ((), None)
    assert view.warnings == (*old.warnings, "its pictures were removed: they are kept for 2 days")
    # A second time there is nothing to do, and it is said once.
    await cleaner(image_days=2).expire_pictures()
    assert await world.core.job(old.id, OPERATOR) == job
    await check(world, store)


async def test_pictures_of_a_job_that_has_not_ended_stay(world, store, cleaner) -> None:
    gate = Gate(done())
    world.script().answers([gate, done()])
    job_id = await world.submit("single", num_images=2)
    await gate.reached.wait()
    async with asyncio.timeout(20):
        while not await rows(world):  # the other call's picture
            await asyncio.sleep(0.001)
    world.clock.ahead_s = 9 * DAY_S
    await cleaner(image_days=1).expire_pictures()
    assert len(await rows(world)) == 1
    gate.open.set()
    await world.ended(job_id)
    assert len(await keys(store)) == 2


async def test_a_batch_is_as_small_as_it_is_told_to_be(world) -> None:
    world.script().answers([done()] * 3)
    jobs = [await world.run() for _ in range(3)]
    at = world.core.ambient.now_ms() + 1
    found = await world.db.read(lambda c: expiry.expired_jobs(c, at, limit=2))
    assert len(found) == 2
    assert set(found) < {job.id for job in jobs}


async def test_of_two_that_clean_at_once_one_says_so(world, store) -> None:
    world.script().answers([done()])
    job = await world.run()

    def both(conn) -> list[list[str]]:
        return [expiry.remove_pictures(conn, [job.id], 1) for _ in range(2)]

    assert await world.db.write(both) == [[job.images[0].storage_key], []]
    found = await world.core.job(job.id, OPERATOR)
    assert found.warnings == ("its pictures were removed: they are kept for 1 day",)
    await store.delete(job.images[0].storage_key)
    await check(world, store)


# -- uploads ----------------------------------------------------------------------------------


async def test_uploads_go_unless_a_job_needs_them_that_has_not_ended(world, store, cleaner) -> None:
    used, unused = await keep_media(world, store, data=picture()), await keep_media(world, store)
    fetched = await keep_media(world, store, prefix="med")
    world.clock.ahead_s = 29 * DAY_S
    world.script().answers([handle()])
    job_id = await submitted(world, edit(used.id))
    young = await keep_media(world, store)
    every = {row.storage_key for row in (used, unused, fetched, young)}
    await cleaner(upload_days=30).expire_media()
    assert await keys(store) == every
    world.clock.ahead_s = 30.5 * DAY_S
    await cleaner(upload_days=0).expire_media()
    assert await keys(store) == every
    await cleaner(upload_days=30).expire_media()
    assert await keys(store) == await rows(world, media) == {used.storage_key, young.storage_key}
    await gone_on(world, job_id)
    await cleaner(upload_days=30).expire_media()
    assert await rows(world, media) == {young.storage_key}
    await check(world, store)


@pytest.mark.parametrize("status", ["scheduled", "queued", "running", "storing", "unknown", "completed"])
async def test_which_jobs_need_their_uploads(world, status) -> None:
    upload = await keep_media(world, world.core.images, data=picture())
    world.script().answers([handle()])
    job_id = await submitted(world, edit(upload.id))
    await world.db.write(lambda c: c.execute(update(job).where(job.c.id == job_id).values(status=status)))
    later = world.core.ambient.now_ms() + 1
    needed = status != "completed"
    assert await world.db.read(lambda c: old_media(c, later, "", 10)) == ([] if needed else [upload.id], None)
    # Asked for all the same, as if the job had come between the two questions.
    gone = await world.db.write(lambda c: remove_media(c, [upload.id], since=later - 60_000))
    assert gone == ([] if needed else [upload.storage_key])


async def test_media_are_looked_at_in_pages(world) -> None:
    ids = sorted([(await keep_media(world, world.core.images)).id for _ in range(5)])
    later, found, last = world.core.ambient.now_ms() + 1, [], ""
    while last is not None:
        page, last = await world.db.read(lambda c, after=last: old_media(c, later, after, 2))
        assert len(page) <= 2
        found += page
    assert found == ids


async def test_a_job_is_not_let_in_with_an_upload_that_was_removed_meanwhile(world) -> None:
    upload = await keep_media(world, world.core.images, data=picture())
    before = await world.money()
    bring = world.core.media.bring

    async def bring_and_lose(*arguments):
        row = await bring(*arguments)
        await world.db.write(lambda c: c.execute(delete(media)))
        return row

    world.core.media.bring = bring_and_lose
    with pytest.raises(InvalidInputs, match=f"the upload {upload.id} has run out") as caught:
        await world.core.admission.submit(edit(upload.id), premium())
    assert [(fault.pointer, fault.code) for fault in caught.value.faults] == [
        ("/inputs", "invalid_reference")
    ]
    assert await world.money() == before
    assert await world.db.read(lambda c: c.execute(select(job.c.id)).all()) == []


async def test_what_a_job_holds_are_the_keys_of_its_uploads(world) -> None:
    upload = await keep_media(world, world.core.images, data=picture())
    world.script().answers([handle()])
    job_id = await submitted(world, edit(upload.id))
    stored = await world.core.job(job_id, OPERATOR)
    assert keys_of(stored.admitted.candidates) == (upload.storage_key,)
    await world.db.write(lambda c: hold_media(c, [upload.storage_key, "media/med_1.png"]))
    with pytest.raises(MediaGone):
        await world.db.write(lambda c: hold_media(c, [upload.storage_key, "media/upl_1.png"]))


# -- files without a row ----------------------------------------------------------------------


async def test_an_old_file_without_a_row_goes_and_nothing_else(world, store, cleaner) -> None:
    world.script().answers([done(2), handle()])
    kept = await world.run(num_images=2)
    upload = await keep_media(world, store)
    waits = await submitted(world, GenerateRequest(model="solo", inputs={"prompt": "a cat"}))
    orphans = {
        f"images/{image_id('job_that_failed', 0)}.png",
        f"images/{kept.images[0].id}.jpg",  # a second try gave another kind of picture
        f"media/upl_{'a' * 32}.safetensors",
        f"media/med_{'b' * 32}.png",
    }
    to_come = f"images/{image_id(waits, 3)}.png"  # stored, and its row is not written yet
    owned = {*(one.storage_key for one in kept.images), upload.storage_key}
    for key in (*orphans, to_come, *STRANGERS):
        await store.put(key, b"x", "image/png")
    world.clock.ahead_s = DAY_S - 60
    assert await cleaner().remove_orphans()
    assert await keys(store) > orphans
    world.clock.ahead_s = DAY_S + 60
    found = await find_orphans(store, world.db, world.core.ambient.now_ms())
    assert set(found.keys) == orphans == set((await check(world, store)).orphans)
    assert await cleaner().remove_orphans()
    assert set(await store.keys("")) - {"start-check"} == {*owned, to_come, *STRANGERS} - {"start-check"}
    await gone_on(world, waits)
    await check(world, store)


async def test_what_is_mostly_without_rows_is_taken_for_another_gateways(
    world, store, cleaner, caplog, monkeypatch
) -> None:
    monkeypatch.setattr("gateway.orphans.FEW", 3)
    files = {f"images/{image_id(f'job{number}', 0)}.png" for number in range(4)}
    for key in files:
        await store.put(key, b"x", "image/png")
    world.clock.ahead_s = 2 * DAY_S
    assert await cleaner().remove_orphans()
    assert await keys(store) == files
    assert "4 of 4 files in the store have no row in the database" in caplog.text
    await store.delete(min(files))
    assert await cleaner().remove_orphans()
    assert await keys(store) == set()


async def test_so_many_orphans_at_once_and_the_rest_the_next_time(world, store, cleaner, monkeypatch) -> None:
    monkeypatch.setattr("gateway.orphans.MOST", 3)
    for number in range(5):
        await store.put(f"images/{image_id(f'job{number}', 0)}.png", b"x", "image/png")
    world.clock.ahead_s = 2 * DAY_S
    assert not await cleaner().remove_orphans()
    assert len(await keys(store)) == 2
    assert await cleaner().remove_orphans()
    assert await keys(store) == set()


async def test_what_a_killed_process_left_half_written_goes(world, tmp_path: Path) -> None:
    half = tmp_path / "store" / "images" / f"{image_id('job1', 0)}.png#1"
    half.parent.mkdir()
    half.write_bytes(b"half")
    cleaner = Cleaner(world.db, world.core.images, world.core.ambient, Keep())
    await cleaner.remove_orphans()
    assert half.exists()
    os.utime(half, (1000, 1000))
    await cleaner.remove_orphans()
    assert not half.exists()


async def test_a_process_that_is_alone_removes_at_once_what_the_last_one_left_half_written(
    world, tmp_path: Path
) -> None:
    half = tmp_path / "store" / "images" / f"{image_id('job1', 0)}.png#1"
    ours = half.with_name(f"{image_id('job2', 0)}.png#1")
    half.parent.mkdir()
    for path, seconds in ((half, -1), (ours, 1)):
        path.write_bytes(b"half")
        os.utime(path, (world.core.ambient.now_ms() / 1000 + seconds,) * 2)
    cleaner = Cleaner(world.db, world.core.images, world.core.ambient, Keep(), alone=True)
    await cleaner.remove_orphans()
    assert (half.exists(), ours.exists()) == (False, True)


# -- rows without a file ----------------------------------------------------------------------


async def test_a_row_without_its_file_is_told_and_kept(world, store, cleaner, caplog) -> None:
    world.script().answers([done(3)])
    job = await world.run(num_images=3)
    upload = await keep_media(world, store)
    for key in (job.images[1].storage_key, upload.storage_key):
        await store.delete(key)
    now = world.core.ambient.now_ms()
    report = await examine_store(await world.db.read(lambda c: examine(c, now)), world.db, store, now)
    assert [(f.code, f.subject) for f in report.findings] == [
        ("missing_file", job.images[1].storage_key),
        ("missing_file", upload.storage_key),
    ]
    looks = cleaner()
    for _ in range(2):  # the first look begins anywhere
        await looks.look_for_files()
    said = {record.getMessage() for record in caplog.records if record.name == "gateway.cleaning"}
    assert said == {
        f"{key} has a row in the database and no file in the store"
        for key in (job.images[1].storage_key, upload.storage_key)
    }
    assert len(await rows(world)) == 3


async def test_files_are_looked_for_in_pages(world, store) -> None:
    world.script().answers([done(3)])
    await world.run(num_images=3)
    last, pages = "", 0
    while last is not None:
        missing, last = await missing_files(store, world.db, "images", last, 2)
        assert missing == []
        pages += 1
    assert pages == 2


# -- what goes wrong --------------------------------------------------------------------------


async def test_a_crash_between_row_and_file_leaves_an_orphan_that_goes_later(world, store, cleaner) -> None:
    world.script().answers([done()])
    job = await world.run()
    world.clock.ahead_s = 2 * DAY_S
    # As far as the row, and no further.
    await world.db.write(lambda c: expiry.remove_pictures(c, [job.id], 1))
    assert await keys(store) == {job.images[0].storage_key}
    await check(world, store)
    await cleaner().remove_orphans()
    assert await keys(store) == set()


async def test_a_store_that_is_away_loses_the_row_first_and_the_file_when_it_is_back(
    world, s3: S3Server
) -> None:
    bucket = f"away-{next(NUMBERS)}"
    with S3Server() as server:
        make_bucket(server.env, bucket, {})
        store = world.core.images = await asyncio.to_thread(open_store, f"s3://{bucket}", server.env)
        world.new_process()
        world.script().answers([done()])
        await world.run()
        world.clock.ahead_s = 2 * DAY_S
        cleaner = Cleaner(world.db, store, world.core.ambient, Keep(image_days=1))
        server.go_away()
        with pytest.raises(StorageError):
            await cleaner.expire_pictures()
        assert await rows(world) == set()
        server.come_back()
        assert len(await keys(store)) == 1
        await cleaner.expire_pictures()
        await cleaner.remove_orphans()
        assert await keys(store) == set()


async def test_what_fails_keeps_nothing_else_from_being_done_and_is_tried_an_hour_later(
    world, caplog
) -> None:
    bucket_name = f"later-{next(NUMBERS)}"
    with S3Server() as server:
        make_bucket(server.env, bucket_name, {})
        store = world.core.images = await asyncio.to_thread(open_store, f"s3://{bucket_name}", server.env)
        world.new_process()
        world.script().answers([done()])
        old = await world.run()
        await world.db.write(lambda c: warn(c, "no JSON"))
        await world.db.write(lambda c: limits.take(c, limits.Limit(name="x", burst=1, per_s=1), "y", 1))
        lost = [f"images/{image_id('lost', number)}.png" for number in range(2)]
        await store.put(lost[0], b"x", "image/png")
        cleaner = Cleaner(world.db, store, world.core.ambient, Keep(image_days=1))
        keeper = Housekeeper(world.db, world.core.ambient, cleaner)

        server.go_away()
        world.clock.ahead_s = 2 * DAY_S
        await keeper.round()
        assert "housekeeping broke" in caplog.text  # a row that cannot be read
        assert "housekeeping will try again: the keys could not be listed: connection refused" in caplog.text
        assert await world.db.read(lambda c: c.execute(select(bucket)).all()) == []

        server.come_back()
        world.clock.ahead_s += 3600
        await keeper.round()
        assert await keys(store) == {old.images[0].storage_key}

        await world.db.write(lambda c: warn(c, "[]"))
        await store.put(lost[1], b"x", "image/png")
        world.clock.ahead_s += 3600
        await keeper.round()
        assert await keys(store) == {lost[1]}  # orphans are looked for once a day

        world.clock.ahead_s += DAY_S
        await keeper.round()
        assert await keys(store) == set()


def warn(conn: Connection, text: str) -> None:
    conn.execute(update(job).values(warnings=text))
