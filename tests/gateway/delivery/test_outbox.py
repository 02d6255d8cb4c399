"""One event for each way that was asked for, in the transaction that ends the job; claimed by one at a time."""

import asyncio

import pytest
from sqlalchemy import func, select

from gateway.db.tables import outbox as table
from gateway.delivery import endpoints, outbox
from gateway.delivery.endpoints import MOST, TooManyEndpoints
from gateway.delivery.events import event_id
from gateway.jobs import queries, store
from gateway.jobs.records import Delivery
from providers.errors import JobCanceled, ProviderFailed

ANN, BOB = "acc_ann", "acc_bob"
BROKE = ProviderFailed("it broke", provider="first")

pytestmark = pytest.mark.every_database


@pytest.mark.parametrize("status", ["completed", "failed", "canceled"])
async def test_each_end_is_told_once_each_way(world, status) -> None:
    hook = await world.endpoint()
    job_id = await world.ended(Delivery(email=True, webhook=hook), status)
    found = await world.rows()
    assert {(row.kind, row.recipient, row.webhook_id) for row in found} == {
        ("email", "ann@example.org", None),
        ("webhook", world.hooks.url(), hook),
    }
    for row in found:
        assert (row.id, row.job_id, row.account_id) == (event_id(job_id, row.kind), job_id, ANN)
        assert (row.state, row.tries, row.due_at) == ("open", 0, world.now)
        assert f'"job.{status}"' in row.message
    # Whoever comes second changes nothing.
    at = world.now
    assert not await world.db.write(lambda c: store.complete(c, job_id, [], 0, at))
    assert not await world.db.write(lambda c: store.end_without_images(c, job_id, [], BROKE, at))
    assert await world.rows() == found


async def test_nothing_is_told_before_the_end_or_unasked(world) -> None:
    hook = await world.endpoint()
    await world.ended(None)
    job = await world.admitted(Delivery(email=True, webhook=hook))
    await world.db.write(lambda c: store.mark_unknown(c, job.id, [(job.attempt.id, BROKE)], world.now))
    assert await world.rows() == []
    found = await world.db.read(lambda c: queries.find_job(c, job.id))
    assert found.delivery == Delivery(email=True, webhook=hook)


async def test_a_transaction_that_fails_tells_nothing(world) -> None:
    job = await world.admitted(Delivery(email=True))

    def breaks(conn) -> None:
        assert store.end_without_images(conn, job.id, [], BROKE, world.now)
        raise RuntimeError("the disk is full")

    with pytest.raises(RuntimeError):
        await world.db.write(breaks)
    assert await world.rows() == []


async def test_a_job_that_waited_and_is_canceled_is_told(world) -> None:
    job = await world.admitted(Delivery(email=True))
    await world.db.write(lambda c: store.end_without_images(c, job.id, [], JobCanceled("stop"), world.now))
    assert '"job.canceled"' in (await world.row()).message


async def test_who_has_no_address_or_no_endpoint_any_more(world) -> None:
    hook = await world.endpoint(account=BOB)
    await world.db.write(lambda c: endpoints.remove(c, hook, world.now))
    await world.ended(Delivery(email=True, webhook=hook), account=BOB)
    assert await world.rows() == []


async def test_nobody_is_called_for_anothers_job(world) -> None:
    hook = await world.endpoint(account=BOB)
    await world.ended(Delivery(webhook=hook), account=ANN)
    assert await world.rows() == []


async def test_a_disabled_endpoint_is_told_nothing_and_it_shows(world) -> None:
    hook = await world.endpoint()
    await world.db.write(lambda c: endpoints.disable(c, hook, world.now, "it answered 410 Gone"))
    await world.ended(Delivery(webhook=hook))
    row = await world.row()
    assert (row.state, row.error) == ("failed", "the endpoint is disabled")
    assert await world.caller().deliver() == 0


async def test_one_claims_it(world) -> None:
    await world.ended(Delivery(email=True))
    (item,) = await world.db.read(lambda c: outbox.due(c, "email", world.now))
    claims = [world.db.write(lambda c: outbox.claim(c, item, world.now)) for _ in range(8)]
    assert sorted(await asyncio.gather(*claims)) == [False] * 7 + [True]
    assert await world.db.read(lambda c: outbox.due(c, "email", world.now)) == []
    assert (await world.row()).due_at == world.now + outbox.HELD_MS
    assert await world.db.read(lambda c: outbox.next_due(c, "email", world.now)) == world.now + outbox.HELD_MS


async def test_whoever_is_late_changes_nothing(world) -> None:
    await world.ended(Delivery(email=True))
    (late,) = await world.db.read(lambda c: outbox.due(c, "email", world.now))
    assert await world.db.write(lambda c: outbox.claim(c, late, world.now))
    world.ahead_ms += outbox.HELD_MS
    (item,) = await world.db.read(lambda c: outbox.due(c, "email", world.now))
    assert await world.db.write(lambda c: outbox.claim(c, item, world.now))
    await world.db.write(lambda c: outbox.sent(c, item, world.now))
    before = await world.row()
    await world.db.write(lambda c: outbox.fail(c, late, world.now, "late"))
    await world.db.write(lambda c: outbox.again(c, late, world.now, "late"))
    assert await world.row() == before
    assert before.state == "sent"


async def test_what_is_due_without_whom_is_full(world) -> None:
    hooks = [await world.endpoint(f"/{n}", account) for n, account in enumerate((ANN, ANN, BOB))]
    for hook, account in zip(hooks, (ANN, ANN, BOB), strict=True):
        await world.ended(Delivery(webhook=hook), account=account)

    async def due(**but) -> list[str]:
        found = await world.db.read(lambda c: outbox.due(c, "webhook", world.now, **but))
        return sorted(item.webhook_id for item in found)

    assert await due() == sorted(hooks)
    assert await due(but_accounts={ANN}) == [hooks[2]]
    assert await due(but_webhooks={hooks[1]}) == sorted([hooks[0], hooks[2]])
    assert await due(but_accounts={ANN}, but_webhooks={hooks[2]}) == []


async def test_a_letter_of_nobodys_is_held_up_by_nobody(world) -> None:
    await world.db.write(
        lambda c: outbox.put(c, id_="out_1", kind="email", recipient="x@y.org", message="{}", at=world.now)
    )
    found = await world.db.read(lambda c: outbox.due(c, "email", world.now, but_accounts={ANN}))
    assert [item.id for item in found] == ["out_1"]


async def test_a_page_after_another(world) -> None:
    hook = await world.endpoint()
    jobs = []
    for number in range(5):
        world.ahead_ms += number % 2  # some at the same millisecond
        jobs.append(await world.ended(Delivery(email=True, webhook=hook)))
    seen, before = [], None
    while True:
        page = await world.db.read(lambda c, b=before: outbox.list_rows(c, ANN, limit=3, before=b))
        if not page:
            break
        seen += [row.id for row in page]
        before = (page[-1].created_at, page[-1].id)
    assert len(seen) == len(set(seen)) == 10
    mine = await world.db.read(
        lambda c: outbox.list_rows(c, ANN, limit=9, job_id=jobs[0], kind="webhook", state="open")
    )
    assert [row.id for row in mine] == [event_id(jobs[0], "webhook")]
    assert await world.db.read(lambda c: outbox.list_rows(c, BOB, limit=9)) == []
    assert await world.db.read(lambda c: outbox.find(c, seen[0], BOB)) is None


async def test_what_was_delivered_is_forgotten_after_a_while(world) -> None:
    for _ in range(3):
        await world.ended(Delivery(email=True))
    gone, kept, open_ = await world.db.read(lambda c: outbox.due(c, "email", world.now))
    at = world.now
    for item, when in ((gone, at - outbox.SENT_KEPT_MS - 1), (kept, at - outbox.SENT_KEPT_MS)):
        await world.db.write(lambda c, i=item, w=when: (outbox.claim(c, i, at), outbox.sent(c, i, w)))
    await world.db.write(lambda c: outbox.forget_old(c, at))
    assert {row.id for row in await world.rows()} == {kept.id, open_.id}


async def test_an_endpoint_of_a_url_is_one(world) -> None:
    first = await world.endpoint("/a")
    assert await asyncio.gather(*(world.endpoint("/a") for _ in range(5))) == [first] * 5
    assert await world.endpoint("/a", BOB) != first
    for number in range(MOST - 1):
        await world.endpoint(f"/more{number}")
    with pytest.raises(TooManyEndpoints):
        await world.endpoint("/one-too-many")
    assert await world.endpoint("/a") == first


async def test_the_ids_of_events_are_stable_and_apart() -> None:
    ids = {event_id(f"job_{n}", kind) for n in range(100) for kind in ("email", "webhook")}
    assert len(ids) == 200
    # For ever: a row of today must be found by the id that a later version makes.
    assert event_id("job_1", "email") == "msg_2548f1b77c98c16aad598c07a5fc534b"
    assert {len(found) for found in ids} == {36}


async def test_every_terminal_job_has_its_events(world) -> None:
    """Invariant I7, as a query over the tables."""
    hook = await world.endpoint()
    for status in ("completed", "failed", "canceled"):
        for delivery in (
            None,
            Delivery(email=True),
            Delivery(webhook=hook),
            Delivery(email=True, webhook=hook),
        ):
            await world.ended(delivery, status)
    counts = await world.db.read(
        lambda c: dict(c.execute(select(table.c.kind, func.count()).group_by(table.c.kind)).all())
    )
    assert counts == {"email": 6, "webhook": 6}
