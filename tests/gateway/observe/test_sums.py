"""What `/metrics` says of jobs and money is what the tables say, on both databases."""

import pytest
from sqlalchemy import Connection, func, insert, select, update
from support.job_world import World
from support.people import BY
from support.scripted_provider import done, handle

from billing.tables import ledger_entry, usage_day
from gateway.db.engine import open_database
from gateway.db.tables import account, job, outbox
from gateway.observe.sums import COUNTED, FAILED_MS, Sums, past, sums
from providers.base import Waiting
from providers.errors import ContentRejected

pytestmark = pytest.mark.every_database

DAY_MS = 86_400_000
NOW = 20_000 * DAY_MS + 1_000_000


def seen(conn: Connection, at: int) -> Sums:
    return sums(conn, at, past(conn, at))


def total(found: Sums, name: str) -> int:
    return sum(row[COUNTED.index(name)] for row in found.usage.values())


def moved(conn: Connection, kind: str | None, side: str) -> int:
    """What the ledger says was moved to one side of it."""
    query = select(func.coalesce(func.sum(ledger_entry.c.amount_micros), 0))
    query = query.where(ledger_entry.c.ledger_account.like(f"{side}%"))
    return int(conn.execute(query if kind is None else query.where(ledger_entry.c.kind == kind)).scalar_one())


async def test_money_is_what_the_ledger_says_and_outlives_the_process(world: World) -> None:
    first = world.script()
    first.answers(submit=[done(), done(), ContentRejected("No."), handle(remote_id="r9")])
    paid = await world.run()
    await world.run()
    await world.run()
    await world.core.money.refund(paid.id, None, None, None, by=BY)
    held = await world.submit()

    def compare(conn: Connection) -> None:
        found = seen(conn, world.core.ambient.now_ms())
        assert total(found, "charge_micros") == -moved(conn, "capture", "held:") == 60_000
        assert total(found, "refund_micros") == moved(conn, "refund", "available:") == 30_000
        assert total(found, "cost_micros") == moved(conn, "cost", "cost:") == 40_000
        assert found.held_micros == moved(conn, None, "held:") == 30_000
        assert found.holds == 1
        assert found.usage["solo", "first"][:4] == (2, 1, 0, 2)
        assert sum(found.jobs.values()) == 1

    await world.db.read(compare)
    # Another process, which has done nothing of all that.
    other = open_database(world.core.settings.database_url)
    try:
        await other.read(compare)
    finally:
        await other.aclose()
    world.core.runner.cancel(held)


def test_what_is_known_of_the_past_is_not_counted_twice_nor_forgotten(conn: Connection) -> None:
    conn.execute(insert(account).values(id="a", name="a", tier="normal", created_at=1))
    today = NOW // DAY_MS
    count = dict.fromkeys(usage_day.c.keys()[5:], 0)
    for day in (today - 400, today - 3, today - 2, today - 1, today):
        key = {"account_id": "a", "day": day, "model": "m", "provider": "p", "key_id": ""}
        conn.execute(insert(usage_day).values(**key, **{**count, "completed": 1, "charge_micros": 5}))
    known = past(conn, NOW)
    assert known.before == today - 2
    assert known.usage["m", "p"][0] == 2
    later = NOW + DAY_MS - 2_000_000
    for at in (NOW, later, NOW + DAY_MS):
        assert sums(conn, at, known).usage["m", "p"] == (5, 0, 0, 0, 25, 0, 0)
    # What ends now is there although the past is older.
    conn.execute(update(usage_day).where(usage_day.c.day == today).values(completed=8))
    assert sums(conn, later, known).usage["m", "p"][0] == 12
    assert seen(conn, NOW + 30 * DAY_MS).usage["m", "p"][0] == 12


def new_job(conn: Connection, id_: str, **values: object) -> None:
    row = {
        "id": id_, "account_id": "a", "status": "queued", "model": "m", "provider": "p",
        "registry_version": "v", "request": "{}", "report": "[]", "warnings": "[]", "routing": "{}",
        "quote_micros": 0, "ceiling_micros": 0, "deadline_at": NOW, "created_at": NOW,
    }  # fmt: skip
    conn.execute(insert(job).values(**{**row, **values}))


def test_the_queue_is_what_nobody_drives(conn: Connection) -> None:
    conn.execute(insert(account).values(id="a", name="a", tier="normal", created_at=1))
    assert seen(conn, NOW).depth == {"now": 0, "window": 0}
    new_job(conn, "waits", created_at=NOW - 7_000)
    new_job(conn, "driven", owner="me", lease_until=NOW + 10_000, created_at=NOW - 90_000)
    new_job(conn, "left", owner="dead", status="running", lease_until=NOW - 1, created_at=NOW - 3_000)
    new_job(conn, "unknown", status="unknown", created_at=NOW - 90_000)
    new_job(conn, "over", status="completed", created_at=NOW - 90_000)
    new_job(conn, "later", status="scheduled", runs_at=NOW + 5_000, created_at=NOW - 90_000)
    found = seen(conn, NOW)
    assert found.depth == {"now": 2, "window": 1}
    assert found.oldest_s == {"now": 7.0, "window": 0.0}
    assert found.jobs == {
        ("queued", "m", "p"): 2,
        ("running", "m", "p"): 1,
        ("unknown", "m", "p"): 1,
        ("scheduled", "m", "p"): 1,
    }
    assert seen(conn, NOW + 25_000).oldest_s == {"now": 115.0, "window": 20.0}


def test_the_outbox_is_what_waits_and_what_was_given_up(conn: Connection) -> None:
    def put(id_: str, kind: str, **values: object) -> None:
        row = {"recipient": "x", "message": "{}", "created_at": NOW, "due_at": NOW - 4_000}
        conn.execute(insert(outbox).values(id=id_, kind=kind, **{**row, **values}))

    put("1", "email")
    put("2", "email", due_at=NOW - 9_000)
    put("3", "webhook", due_at=NOW + 9_000)
    put("4", "webhook", failed_at=NOW - FAILED_MS)
    put("5", "webhook", failed_at=NOW - FAILED_MS - 1)
    put("6", "webhook", sent_at=NOW, due_at=1)
    found = seen(conn, NOW)
    assert found.waiting == {"email": 2, "webhook": 1}
    assert found.overdue_s == {"email": 9.0, "webhook": 0.0}
    assert found.given_up == {"webhook": 1}


async def test_a_job_that_was_handed_over_waits_for_a_process(world: World) -> None:
    world.script().answers(submit=[handle()], poll=[Waiting()])
    job_id = await world.submit()
    await world.core.runner.aclose(0)  # hands it over
    found = await world.db.read(lambda c: seen(c, world.core.ambient.now_ms()))
    assert found.depth == {"now": 1, "window": 0}

    def wait_for_window(conn: Connection) -> None:
        conn.execute(update(job).where(job.c.id == job_id).values(status="scheduled", runs_at=1))

    await world.db.write(wait_for_window)
    found = await world.db.read(lambda c: seen(c, world.core.ambient.now_ms()))
    assert found.depth == {"now": 0, "window": 1}
    assert found.oldest_s["window"] > 1e9
