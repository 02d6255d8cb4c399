"""The doctor's questions to the job tables: nothing is wrong with what jobs leave, and each break is told."""

import pytest
from msgspec.structs import replace
from sqlalchemy import insert, text, update
from support.job_checks import AWAY, LOST_REPLY, charged
from support.people import premium
from support.scripted_provider import done, handle

from gateway.accounts.principals import OPERATOR
from gateway.db.tables import job, outbox
from gateway.jobs import audit, store
from gateway.schemas import GenerateRequest

NEVER = "job_00000000000000000000000000000000"


async def codes(world) -> list[tuple[str, str]]:
    return [(found.code, found.subject) for found in await world.db.read(audit.verify)]


async def test_jobs_of_every_kind_leave_nothing_wrong(world) -> None:
    assert await codes(world) == []
    world.script().answers([done()])
    await charged(world, await world.run())
    world.script().answers([done()])
    assert (await world.run("free")).charge_micros == 0
    world.script().answers([AWAY] * 3)
    world.script("second").answers([AWAY] * 3)
    assert (await world.run("two")).status == "failed"
    world.script().answers([LOST_REPLY])
    assert (await world.run()).status == "unknown"
    world.script().answers([handle()])
    await world.submit()
    normal = replace(premium(), tier="normal")
    waits = await world.core.admission.submit(GenerateRequest(model="solo", inputs={"prompt": "x"}), normal)
    assert await codes(world) == []
    await world.db.write(lambda c: store.request_cancel(c, waits, OPERATOR, 9))
    assert (await world.core.job(waits, OPERATOR)).status == "canceled"
    assert await codes(world) == []


@pytest.mark.parametrize(
    ("harm", "code"),
    [
        ("update hold set status = 'open', ended_at = null, captured_micros = null", "job_hold"),
        ("update hold set status = 'released', captured_micros = null", "job_hold"),
        ("update hold set captured_micros = 1", "job_hold"),
        ("update hold set amount_micros = amount_micros + 1", "job_hold"),
        ("update hold set account_id = 'acc_other'", "job_hold"),
        ("update job set charge_micros = null", "job_hold"),
        ("update job set completed_at = null", "job_hold"),
        ("update job set status = 'running', completed_at = null, charge_micros = null", "job_hold"),
        ("delete from attempt", "job_without_attempt"),
        ("delete from image", "completed_without_picture"),
        ("update job set delivery = '{}'", "end_not_told"),
    ],
)
async def test_a_completed_job_that_is_harmed(world, harm, code) -> None:
    world.script().answers([done()])
    ended = await world.run()
    await world.db.write(lambda c: c.execute(text(harm)))
    assert await codes(world) == [(code, ended.id)]


@pytest.mark.parametrize(
    ("harm", "found"),
    [
        ("update job set status = 'failed', completed_at = 1, charge_micros = 0", "job_hold"),
        ("update job set charge_micros = 5", "job_hold"),
        ("update hold set status = 'released', ended_at = 1", "job_hold"),
        ("update job set completed_at = 5", "job_hold"),
        ("delete from hold", "job_hold"),
        ("delete from attempt", "job_without_attempt"),
    ],
)
async def test_a_job_under_way_that_is_harmed(world, harm, found) -> None:
    world.script().answers([handle()])
    job_id = await world.submit()
    await world.core.runner.aclose(0)
    await world.db.write(lambda c: c.execute(text(harm)))
    assert await codes(world) == [(found, job_id)]


async def test_a_hold_without_a_job(world) -> None:
    values = f"('{NEVER}', '{OPERATOR}', 5, 'open', null, 1, null)"
    await world.db.write(lambda c: c.execute(text(f"insert into hold values {values}")))
    assert await codes(world) == [("hold_without_job", NEVER)]


async def test_a_failed_job_with_pictures(world) -> None:
    world.script().answers([done()])
    good = await world.run()
    world.script().answers([AWAY] * 3)
    bad = await world.run()
    assert bad.status == "failed"
    move = f"update image set job_id = '{bad.id}', position = 0"
    await world.db.write(lambda c: c.execute(text(move)))
    assert await codes(world) == [
        ("completed_without_picture", good.id),
        ("picture_not_charged", bad.id),
    ]


async def test_an_end_that_was_told(world) -> None:
    world.script().answers([done()])
    ended = await world.run()
    row = {"kind": "email", "recipient": "a@b.org", "message": "{}", "created_at": 1, "due_at": 1}
    await world.db.write(lambda c: c.execute(update(job).values(delivery="{}")))
    await world.db.write(lambda c: c.execute(insert(outbox).values(id="out_1", job_id=ended.id, **row)))
    assert await codes(world) == []
