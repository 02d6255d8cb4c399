"""What is in a backup comes back as it was: rows, pictures, money, and what was under way in a safe state."""

import asyncio
from pathlib import Path

import pytest
from support.backups import Places, found_by_doctor, made, put_back, rows
from support.job_world import World, world_of
from support.people import premium
from support.scripted_provider import done, handle, script_of

from gateway import unknown
from gateway.accounts.principals import OPERATOR
from gateway.backup.afterwards import HELD_BACK
from gateway.delivery import outbox
from gateway.schemas import GenerateRequest
from gateway.served import served_picture
from providers.base import Failed, Running
from providers.errors import ProviderFailed

pytestmark = pytest.mark.every_database

BALANCES = "select account_id, available_micros, held_micros from wallet order by account_id"
BROKEN = Failed(error=ProviderFailed("broken", provider="first"))
ENTRIES = "select id, amount_micros from ledger_entry order by id"


async def started(world: World, *, model: str = "solo", **answers: object) -> str:
    """A job whose provider has taken it."""
    world.script().answers(submit=[handle()])
    job_id = await world.submit(model)
    await until(lambda: world.script().polled)
    return job_id


async def until(condition: object) -> None:
    async with asyncio.timeout(20):
        while not condition():  # type: ignore[operator]
            await asyncio.sleep(0.01)


async def test_rows_pictures_and_money_come_back(world: World, places: Places, folder: Path) -> None:
    world.script().answers(submit=[done(2), done()])
    jobs = [await world.run(n=2), await world.run()]
    backup = await made(world.core.settings, folder)
    # Two of them are the same.
    assert (backup.counts.jobs, backup.counts.pictures, backup.copied) == (2, 3, 2)
    before = [rows(world.core.settings, sql) for sql in (BALANCES, ENTRIES)]
    with places.place() as there:
        done_ = await put_back(there, folder)
        assert (done_.unknown, done_.followed, done_.held_back, done_.secret) == (0, 0, 0, "same")
        assert [rows(there, sql) for sql in (BALANCES, ENTRIES)] == before
        assert await found_by_doctor(there) == []
        async with world_of(there) as again:
            for job in jobs:
                assert await again.core.job(job.id, OPERATOR) == job
                for image in job.images:
                    _, data = await served_picture(again.core, image.id, OPERATOR)
                    assert data == await world.core.images.get(image.storage_key)


async def test_what_may_have_been_sent_since_is_not_sent_again(
    world: World, places: Places, folder: Path
) -> None:
    taken = await started(world)
    gate = asyncio.Event()
    world.script("second").answers(submit=[gate.wait])
    sending = await world.submit("dear")
    await until(lambda: world.script("second").calls)
    await made(world.core.settings, folder)
    with places.place() as there:
        done_ = await put_back(there, folder)
        assert (done_.unknown, done_.followed) == (1, 1)
        assert await found_by_doctor(there) == []
        async with world_of(there) as again:
            again.script().answers(poll=[done()])
            await again.resume()
            assert (await again.ended(taken)).status == "completed"
            unsure = await again.core.job(sending, OPERATOR)
            assert (unsure.status, unsure.attempts[-1].error_code) == ("unknown", "provider_submit_unknown")
            # Neither was sent: the scripts have no submit, and were asked for none.
            assert [again.script(name).calls for name in ("first", "second")] == [[], []]
            assert (await again.money())[1] == unsure.ceiling_micros
    gate.set()


async def test_a_job_that_goes_on_is_sent_to_nobody_else(world: World, places: Places, folder: Path) -> None:
    job_id = await started(world, model="two")
    await made(world.core.settings, folder)
    with places.place() as there:
        await put_back(there, folder)
        async with world_of(there) as again:
            # Its provider failed, which would let another try: who may have had its turn before.
            again.script().answers(poll=[BROKEN])
            again.script("second").answers(submit=[done()])
            await again.resume()
            job = await again.ended(job_id)
            assert (job.status, job.error_code, job.charge_micros) == ("failed", "restored", 0)
            assert again.script("second").calls == []
            assert (await again.money()) == (0, 0)
    # Where nothing ran since, it goes on as after a restart.
    with places.place("moved") as there:
        await put_back(there, folder, resume=True)
        async with world_of(there) as again:
            again.script().answers(poll=[BROKEN])
            again.script("second").answers(submit=[done()])
            await again.resume()
            assert (await again.ended(job_id)).status == "completed"


async def test_an_operator_settles_what_is_unknown_then(world: World, places: Places, folder: Path) -> None:
    waits = [await _scheduled(world) for _ in range(2)]
    await made(world.core.settings, folder)
    with places.place() as there:
        assert (await put_back(there, folder)).unknown == 2
        async with world_of(there) as again:
            await unknown.fail(again.core, waits[0])
            failed = await again.ended(waits[0])
            assert (failed.status, failed.error_code) == ("failed", "provider_not_taken")
            again.script().answers(poll=[Running(), done()])
            await unknown.adopt(again.core, waits[1], "r1")
            assert (await again.ended(waits[1])).status == "completed"
            assert (await again.money())[1] == 0


async def _scheduled(world: World) -> str:
    """A job that waits for a window."""
    asked = GenerateRequest(model="solo", inputs={"prompt": "x"}, schedule="window")
    return await world.core.admission.submit(asked, premium())


async def test_what_waited_in_the_outbox_is_held_back_unless_asked_for(
    world: World, places: Places, folder: Path
) -> None:
    for number in range(2):
        await world.db.write(
            lambda c, number=number: outbox.put(  # type: ignore[misc]  # bound now
                c, id_=f"msg{number}", kind="email", recipient="a@b.test", message="{}", at=1
            )
        )
    item = (await world.db.read(lambda c: outbox.due(c, "email", 1)))[0]
    await world.db.write(lambda c: outbox.claim(c, item, 1))
    await world.db.write(lambda c: outbox.sent(c, item, 2))
    await made(world.core.settings, folder)
    query = "select id, sent_at, failed_at is not null, error from outbox order by id"
    with places.place() as there:
        assert (await put_back(there, folder)).held_back == 1
        assert [(*row[:2], bool(row[2]), row[3]) for row in rows(there, query)] == [
            ("msg0", 2, False, None),
            ("msg1", None, True, HELD_BACK),
        ]
    with places.place("moved") as there:
        assert (await put_back(there, folder, deliver=True)).held_back == 0
        assert [bool(row[2]) for row in rows(there, query)] == [False, False]


async def test_no_process_is_waited_for(world: World, places: Places, folder: Path) -> None:
    job_id = await started(world)
    await made(world.core.settings, folder)
    for name, wishes in (("elsewhere", {}), ("moved", {"resume": True})):
        with places.place(name) as there:
            await put_back(there, folder, **wishes)
            assert rows(there, "select id, owner, lease_until from job") == [(job_id, None, None)]
            assert script_of(str(there.data_dir), "first").calls == []
