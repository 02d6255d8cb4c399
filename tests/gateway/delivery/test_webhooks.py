"""Webhooks over real sockets to a real receiver: what it gets, and what each of its answers means."""

import asyncio
import base64
import json
from datetime import UTC, datetime
from ipaddress import ip_address

import pytest
from standardwebhooks import Webhook
from support.gateway_process import free_port, until
from support.hook_server import HANG, HUGE, HUGE_BYTES, HookServer, redirect, status

from gateway.delivery import endpoints, outbox
from gateway.delivery.outbox import HELD_MS
from gateway.delivery.poster import NoAnswer
from gateway.delivery.retries import WEBHOOK
from gateway.delivery.slots import Limits
from gateway.jobs.records import Delivery

JITTER = 1 + WEBHOOK.jitter / 2  # the clock's chance is a half


@pytest.fixture
async def hook(world) -> str:
    return await world.endpoint()


async def end(world, hook: str, **more) -> str:
    return await world.ended(Delivery(webhook=hook), **more)


async def test_it_is_what_the_library_verifies(world, hook) -> None:
    job_id = await end(world, hook)
    assert await world.caller().deliver() == 1
    (call,) = world.hooks.calls
    told = call.verified(world.signer.secret(hook))
    assert told["type"] == "job.completed"
    job = told["data"]
    assert (job["jobId"], job["status"], job["cost"], job["userId"]) == (job_id, "completed", 0.03, "u1")
    link = job["images"][0]["url"]
    expires = int(link.partition("expires=")[2].partition("&")[0])
    assert expires == world.now // 1000 + 3600
    world.links.check(job["images"][0]["id"], str(expires), link.rpartition("signature=")[2])
    row = await world.row()
    assert (row.state, row.sent_at, row.status_code, row.id) == ("sent", world.now, 204, call.id)
    assert call.headers["content-type"] == "application/json"
    assert call.headers["user-agent"].startswith("image-gateway/")
    assert "authorization" not in call.headers
    assert "cookie" not in call.headers
    assert await world.caller().deliver() == 0


@pytest.mark.parametrize(("status_", "code"), [("failed", "provider_failed"), ("canceled", "canceled")])
async def test_the_other_ends(world, hook, status_, code) -> None:
    await end(world, hook, status=status_)
    await world.caller().deliver()
    told = json.loads(world.hooks.calls[0].body)
    assert told["type"] == f"job.{status_}"
    assert (told["data"]["error"]["code"], told["data"]["cost"], told["data"]["images"]) == (code, 0, [])


async def test_it_is_tried_again_under_the_same_id(world, hook) -> None:
    world.hooks.answers["/hook"] += [status(500), status(500), status(200)]
    await end(world, hook)
    told_at = world.now
    for tries, pause in enumerate(WEBHOOK.pauses_s[:2], start=1):
        assert await world.caller().deliver() == 1
        row = await world.row()
        due_at = world.now + int(pause * JITTER * 1000)
        assert (row.state, row.tries, row.due_at, row.status_code) == ("open", tries, due_at, 500)
        assert row.error == "it answered 500"
        world.ahead_ms = due_at - world.began - 1
        assert await world.caller().deliver() == 0
        world.ahead_ms += 1
    assert await world.caller().deliver() == 1
    row = await world.row()
    assert (row.state, row.tries, row.status_code, row.error) == ("sent", 3, 200, None)
    first, second, third = world.hooks.calls
    assert first.id == second.id == third.id == row.id
    # Each is signed anew, of its own time, and tells of the same moment.
    library = Webhook(world.signer.secret(hook))
    for call in world.hooks.calls:
        at = datetime.fromtimestamp(int(call.headers["webhook-timestamp"]), UTC)
        assert library.sign(call.id, at, call.body.decode()) == call.headers["webhook-signature"]
        assert json.loads(call.body)["timestamp"] == json.loads(first.body)["timestamp"]
    assert len({call.headers["webhook-timestamp"] for call in world.hooks.calls}) == 3
    assert int(first.headers["webhook-timestamp"]) == told_at // 1000


async def test_ten_tries_and_no_more(world, hook) -> None:
    world.hooks.answers["/hook"] += [status(503)] * 20
    await end(world, hook)
    while await world.caller().deliver():
        world.ahead_ms += 2 * 86_400_000
    row = await world.row()
    assert (row.state, row.tries, len(world.hooks.calls)) == ("failed", 10, 10)
    assert row.error == "it answered 503"


@pytest.mark.parametrize(
    ("answer", "wait_s"),
    [(status(429, Retry_After="100"), 100), (status(503, Retry_After="1"), 5 * JITTER),
     (status(429, Retry_After="999999999"), 86_400), (status(429, Retry_After="soon"), 5 * JITTER)],
)  # fmt: skip
async def test_who_asks_to_be_left_alone_is(world, hook, answer, wait_s) -> None:
    world.hooks.answers["/hook"].append(answer)
    await end(world, hook)
    await world.caller().deliver()
    assert (await world.row()).due_at == world.now + int(wait_s * 1000)


async def test_gone_is_gone(world, hook) -> None:
    world.hooks.answers["/hook"] += [status(500), status(410)]
    other = await world.endpoint("/other")
    await end(world, hook)
    await world.caller().deliver()
    later = await end(world, other)
    await end(world, hook)
    assert await world.caller().deliver() == 2
    found = {row.job_id: row for row in await world.rows()}
    assert found[later].state == "sent"
    closed = [row for row in found.values() if row.webhook_id == hook]
    assert [row.state for row in closed] == ["failed", "failed"]
    assert {row.status_code for row in closed} == {500, 410}
    endpoint = await world.db.read(lambda c: endpoints.find(c, hook, None))
    assert (endpoint.disabled_at, endpoint.disabled_why) == (world.now, "it answered 410 Gone")
    world.ahead_ms += 86_400_000
    assert await world.caller().deliver() == 0


async def test_a_redirect_is_not_followed(world, hook) -> None:
    world.hooks.answers["/hook"].append(redirect(world.hooks.url("/elsewhere")))
    await end(world, hook)
    await world.caller().deliver()
    assert [call.path for call in world.hooks.calls] == ["/hook"]
    row = await world.row()
    assert (row.state, row.status_code) == ("open", 307)
    assert "not followed" in row.error


async def test_a_huge_answer_is_cut(world, hook) -> None:
    world.hooks.answers["/hook"].append(HUGE)
    await end(world, hook)
    await world.caller().deliver()
    assert (await world.row()).state == "sent"  # its status is what counts
    assert world.hooks.written < HUGE_BYTES // 2


async def test_who_does_not_answer(world, hook) -> None:
    world.hooks.answers["/hook"].append(HANG)
    await end(world, hook)
    await world.caller(timeout_s=0.2).deliver()
    row = await world.row()
    assert (row.state, row.tries, row.status_code) == ("open", 1, None)
    assert row.error == "it did not answer within 0.2 seconds"


async def test_nobody_is_there(world) -> None:
    port = free_port()
    hook = await world.endpoint(url=f"http://127.0.0.1:{port}/token-of-theirs")
    await end(world, hook)
    await world.caller(allow={("127.0.0.1", port)}).deliver()
    row = await world.row()
    assert (row.state, row.error) == ("open", "no connection")


async def test_a_name_that_became_private_is_not_called(world) -> None:
    """It was public when the endpoint was made; the check is made again at each call."""
    port = world.hooks.port
    hook = await world.endpoint(url=f"https://rebound.test:{port}/hook")
    await end(world, hook)
    guard = {"allow": (), "ports": {443, port}, "lookup": lambda host, port: ["127.0.0.1"]}
    await world.caller(**guard).deliver()
    row = await world.row()
    assert (row.state, row.error) == ("open", "rebound.test is not on the open internet")
    assert world.hooks.calls == []
    # Without the check it would have been: the receiver speaks no TLS.
    with pytest.raises(NoAnswer, match="certificate or TLS"):
        await world.calls(**guard, public=lambda address: address == ip_address("127.0.0.1")).test(
            await world.db.read(lambda c: endpoints.find(c, hook, None)), "msg_1"
        )


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1/", "http://169.254.169.254/", "https://10.0.0.1/", "file:///x"]
)
async def test_what_is_not_allowed_any_more_is_not_called(world, url) -> None:
    hook = await world.endpoint(url=url)
    await end(world, hook)
    await world.caller().deliver()
    row = await world.row()
    assert (row.state, row.status_code) == ("open", None)
    assert row.error


async def test_one_that_died_between_the_call_and_the_note(world, hook) -> None:
    """At least once: it is called again, under the same id."""
    await end(world, hook)
    (item,) = await world.db.read(lambda c: outbox.due(c, "webhook", world.now))
    assert await world.db.write(lambda c: outbox.claim(c, item, world.now))
    await world.calls().deliver(item)  # and here the process is killed
    assert await world.caller().deliver() == 0
    world.ahead_ms += HELD_MS
    assert await world.caller().deliver() == 1
    first, second = world.hooks.calls
    assert first.id == second.id
    assert json.loads(first.body)["data"]["jobId"] == json.loads(second.body)["data"]["jobId"]
    assert (await world.row()).tries == 2


async def test_many_replicas_call_once(world) -> None:
    for number in range(12):
        await end(world, await world.endpoint(f"/{number}"))
    await asyncio.gather(*(world.caller().deliver() for _ in range(4)))
    assert sorted(call.path for call in world.hooks.calls) == sorted(f"/{n}" for n in range(12))


async def test_a_slow_endpoint_holds_up_nobody(world) -> None:
    """Ann's endpoint hangs; all her calls are due first. Bob's go out meanwhile."""
    slow = await world.endpoint("/slow")
    quick = await world.endpoint("/quick", "acc_bob")
    world.hooks.answers["/slow"] += [HANG] * 30
    for _ in range(30):
        await end(world, slow)
    world.ahead_ms += 1
    await end(world, quick, account="acc_bob")
    worker = world.caller(Limits(at_once=4, an_account=3, a_host=4))
    worker.start()
    try:
        await asyncio.to_thread(world.hooks.to, "/quick")
        assert sum(call.path == "/slow" for call in world.hooks.calls) <= 3
        # One that comes later does not wait either.
        await end(world, quick, account="acc_bob")
        worker.wake()
        await asyncio.to_thread(world.hooks.to, "/quick", 2)
        assert sum(call.path == "/slow" for call in world.hooks.calls) <= 3
    finally:
        world.hooks.release()
        await worker.aclose()


async def test_no_more_than_so_many_to_one_host(world) -> None:
    """By host and not by endpoint: an account may have many endpoints on one."""
    for number in range(6):
        world.hooks.answers[f"/{number}"].append(HANG)
        await end(world, await world.endpoint(f"/{number}"))
    world.ahead_ms += 1
    with HookServer() as other:
        await end(world, await world.endpoint(url=other.url()))
        allow = {("127.0.0.1", server.port) for server in (world.hooks, other)}
        worker = world.caller(Limits(at_once=8, an_account=8, a_host=2), allow=allow)
        delivering = asyncio.create_task(worker.deliver())
        await asyncio.to_thread(other.to, "/hook")
        await asyncio.to_thread(until, "two calls", lambda: len(world.hooks.calls) == 2)
        world.hooks.release()
        assert await delivering == 7
    assert len(world.hooks.calls) == 6
    assert len({row.status_code for row in await world.rows()}) == 2


async def test_it_is_called_as_soon_as_there_is_something(world, hook) -> None:
    worker = world.caller()
    worker.start()
    try:
        await end(world, hook)
        worker.wake()
        await asyncio.to_thread(world.hooks.to, "/hook")
    finally:
        await worker.aclose()
    assert (await world.row()).state == "sent"


async def test_a_fault_of_ours_keeps_nobody_from_the_rest(world, hook, caplog) -> None:
    await end(world, hook)
    await world.db.write(lambda c: c.execute(outbox.outbox.update().values(message="no json at all")))
    world.ahead_ms += 1
    await end(world, await world.endpoint("/fine"))
    await world.caller().deliver()
    broken, fine = await world.rows()
    assert (fine.state, broken.state, broken.tries) == ("sent", "open", 1)
    assert broken.error == "something broke here; the log has it"
    assert "Traceback" in caplog.text


async def test_no_secret_and_no_url_in_the_database_or_the_log(world, caplog) -> None:
    hook = await world.endpoint("/T0KEN-of-theirs")
    world.hooks.answers["/T0KEN-of-theirs"] += [status(500), status(410)]
    await end(world, hook)
    await world.caller(timeout_s=0.5).deliver()
    world.ahead_ms += 86_400_000
    await world.caller().deliver()
    assert "T0KEN" not in caplog.text
    assert "T0KEN" not in str((await world.row()).error)
    secret = base64.b64decode(world.signer.secret(hook).removeprefix("whsec_"))
    dump = await world.db.read(lambda c: str(c.exec_driver_sql("select * from webhook").all()))
    assert hook in dump
    assert secret not in dump.encode()
    assert world.signer.secret(hook) not in dump
