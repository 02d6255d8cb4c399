"""Requests that are sent again, on a real core: the same job, whatever became of the first."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from msgspec.structs import replace
from sqlalchemy import func, select
from support.people import premium
from support.scripted_provider import done, handle

from billing import ledger
from billing.tables import hold
from gateway.accounts import rows
from gateway.accounts.principals import Principal
from gateway.admission import PER_ACCOUNT
from gateway.db.tables import attempt, bucket, idempotency, job
from gateway.jobs.idempotency import KEEP_MS, Claim
from gateway.jobs.records import JobRow
from gateway.problems import Problem
from gateway.resends import GRACE_S, Answer, Resends, fingerprint
from gateway.schemas import GenerateRequest
from providers.errors import ProviderFailed

PATH = "/api/images/generate"
BODY = b'{"model":"solo","inputs":{"prompt":"a cat"}}'


class Sender:
    """Sends requests to a world's core, as the routes do."""

    def __init__(self, world: Any, caller: Principal) -> None:
        self.world = world
        self.caller = caller
        self.made = 0
        self.may_make = asyncio.Event()
        self.may_make.set()

    async def __call__(
        self, key: str | None = "k", *, wait_s: float = 20, body: bytes = BODY, path: str = PATH
    ) -> Answer:
        claim = self.claim(key, wait_s, body, path)

        async def make() -> JobRow:
            self.made += 1
            await self.may_make.wait()
            return await self.world.core.generate(request_of(body), self.caller, wait_s, claim=claim)

        return await self.world.core.resends.once(claim, self.caller, wait_s, make)

    def claim(
        self, key: str | None = "k", wait_s: float = 20, body: bytes = BODY, path: str = PATH
    ) -> Claim | None:
        return self.world.core.resends.claim(self.caller, key, path, body, wait_s)

    async def refusal(self, *arguments: Any, **more: Any) -> Problem:
        with pytest.raises(Problem) as caught:
            await self(*arguments, **more)
        return caught.value

    async def count(self, *tables: Any) -> list[int]:
        """Rows of each table."""

        def look(conn: Any) -> list[int]:
            return [conn.execute(select(func.count()).select_from(table)).scalar_one() for table in tables]

        return await self.world.db.read(look)


def request_of(body: bytes) -> GenerateRequest:
    return GenerateRequest(**json.loads(body))


@pytest.fixture
def send(world) -> Sender:
    return Sender(world, premium())


@pytest.fixture
def windowed(world) -> Sender:
    """Of an account with a resend window of a minute."""
    return Sender(world, replace(premium(), resend_window_s=60))


def held() -> tuple[Callable[[], Awaitable[Any]], asyncio.Event]:
    """A submit that is answered when the event is set."""
    release = asyncio.Event()

    async def step() -> Any:
        await release.wait()
        return done()

    return step, release


async def submitted(world) -> None:
    """Wait until the provider was called."""
    while not world.script().calls:
        await asyncio.sleep(0)


async def test_the_same_key_is_the_same_job(world, send) -> None:
    world.script().answers([done()])
    first = await send()
    again = await send()
    assert (first.job.status, first.replayed, first.headers) == ("completed", False, {})
    assert (again.job, again.replayed) == (first.job, True)
    assert again.headers == {"Idempotent-Replayed": "true"}
    assert (send.made, await send.count(job, hold, attempt)) == (1, [1, 1, 1])


async def test_a_failed_job_is_replayed_as_it_failed(world, send) -> None:
    world.script().answers([ProviderFailed("it broke", provider="first")])
    first = await send()
    assert first.job.status == "failed"
    assert (await send()).job == first.job


async def test_another_request_under_the_same_key_is_refused(world, send) -> None:
    world.script().answers([done()])
    first = await send()
    other = BODY.replace(b"cat", b"dog")
    for problem in (await send.refusal(body=other), await send.refusal(path="/api/templates/billboard")):
        assert (problem.document.code, problem.document.status) == ("idempotency_key_reused", 422)
        assert problem.document.job_id == first.job.id
    assert await send.count(job) == [1]


async def test_a_key_that_expired_is_new(world, send) -> None:
    world.script().answers([done(), done()])
    first = await send()
    world.clock.ahead_s += KEEP_MS / 1000 - 60
    assert (await send()).job == first.job
    world.clock.ahead_s += 60
    second = await send(body=BODY.replace(b"cat", b"dog"))
    assert (second.replayed, second.job.id != first.job.id) == (False, True)


async def test_while_the_first_is_being_answered_the_second_is_told_so(world, send) -> None:
    step, release = held()
    world.script().answers([step])
    first = asyncio.create_task(send())
    await submitted(world)
    problem = await send.refusal()
    assert (problem.document.code, problem.document.status) == ("idempotency_in_flight", 409)
    assert problem.headers == {"Retry-After": "1"}
    assert problem.document.retryable
    release.set()
    assert (await first).job.id == problem.document.job_id
    assert (await send()).job == first.result().job


async def test_a_first_that_is_not_in_the_database_yet_is_in_flight_too(world, send) -> None:
    world.script().answers([done()])
    send.may_make.clear()
    first = asyncio.create_task(send())
    while not send.made:
        await asyncio.sleep(0)
    problem = await send.refusal(wait_s=0)
    assert (problem.document.code, problem.document.job_id) == ("idempotency_in_flight", None)
    send.may_make.set()
    assert (await first).job == (await send()).job
    assert send.made == 1


async def test_who_does_not_wait_may_send_again_at_once(world, send) -> None:
    world.script().answers([handle()])
    first = await send(wait_s=0)
    again = await send(wait_s=0)
    assert (again.replayed, again.job.id, again.job.completed_at) == (True, first.job.id, None)


async def test_a_wait_that_ran_out_was_answered(world, send) -> None:
    world.script().answers([handle()])
    first = await send(wait_s=0.01)
    assert first.job.completed_at is None
    assert (await send(wait_s=0.01)).job.id == first.job.id


async def test_a_repeat_waits_for_the_end_as_long_as_it_says(world, send) -> None:
    step, release = held()
    world.script().answers([step])
    first = await send(wait_s=0)
    again = asyncio.create_task(send(wait_s=20))
    await submitted(world)
    release.set()
    assert (first.job.status, (await again).job.status) == ("queued", "completed")
    assert again.result().job.id == first.job.id


async def test_who_hung_up_may_send_again_at_once(world, send) -> None:
    step, release = held()
    world.script().answers([step])
    first = asyncio.create_task(send())
    await submitted(world)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    await world.core.resends.aclose()
    again = await send(wait_s=0)
    assert (again.replayed, again.job.completed_at) == (True, None)
    release.set()
    assert (await send()).job.status == "completed"
    assert await send.count(job) == [1]


async def test_a_process_that_died_while_it_answered(world, send) -> None:
    world.script().answers([handle()])
    # What it leaves: a job that was let in, and nobody who waits for it.
    job_id = await world.core.admission.submit(request_of(BODY), send.caller, claim=send.claim(wait_s=30))
    problem = await send.refusal()
    assert (problem.document.code, problem.document.job_id) == ("idempotency_in_flight", job_id)
    world.clock.ahead_s += 30 + GRACE_S
    again = await send(wait_s=0)
    assert (again.replayed, again.job.id, send.made) == (True, job_id, 0)


async def test_a_refused_request_uses_no_key_up(world, send) -> None:
    await world.db.write(lambda c: rows.ensure_account(c, account_id="poor", name="P", postpaid=False, at=1))
    poor = Sender(world, premium("poor"))
    assert (await poor.refusal()).document.code == "insufficient_funds"
    assert await poor.count(idempotency, job, hold, attempt) == [0, 0, 0, 0]
    other = BODY.replace(b'"cat', b'"dog')
    assert (await poor.refusal(body=other)).document.code == "insufficient_funds"


async def test_a_repeat_needs_no_funds(world) -> None:
    def open_account(conn: Any) -> None:
        rows.ensure_account(conn, account_id="ann", name="A", postpaid=False, at=1)
        ledger.top_up(conn, account_id="ann", amount_micros=30_000, reference="pay1", at=1)

    await world.db.write(open_account)
    world.script().answers([done()])
    ann = Sender(world, premium("ann"))
    first = await ann()
    assert (await ann()).job == first.job
    assert (first.job.charge_micros, ann.made) == (30_000, 1)
    assert (await ann.refusal("other")).document.code == "insufficient_funds"


async def test_a_key_of_another_account_is_another(world, send) -> None:
    world.script().answers([done(), done()])
    await world.db.write(lambda c: rows.ensure_account(c, account_id="bob", name="B", postpaid=True, at=1))
    mine, bobs = await send(), await Sender(world, premium("bob"))()
    assert (bobs.replayed, bobs.job.id != mine.job.id) == (False, True)


async def test_a_repeat_counts_against_the_limits(world) -> None:
    await world.db.write(lambda c: rows.ensure_account(c, account_id="ann", name="A", postpaid=True, at=1))
    at = world.core.ambient.now_ms()
    world.core.ambient = type(world.core.ambient)(now_ms=lambda: at, unique=world.core.ambient.unique)
    world.script().answers([done()])
    ann = Sender(world, premium("ann"))
    await ann()
    await ann()
    await ann.refusal(body=BODY.replace(b"cat", b"dog"))
    left = await world.db.read(
        lambda c: c.execute(select(bucket.c.level).where(bucket.c.key == "account:ann")).scalar_one()
    )
    assert left == (PER_ACCOUNT.burst - 3) * 1_000_000


async def test_many_at_once_that_no_memory_keeps_apart(world) -> None:
    """As on several replicas: the database alone decides."""
    world.script().answers([done()] * 20)
    core, caller, request = world.core, premium(), request_of(BODY)
    sender = Sender(world, caller)

    async def one(claim: Claim | None) -> Answer:
        return await Resends(core).once(
            claim, caller, 20, lambda: core.generate(request, caller, 20, claim=claim)
        )

    tries = (one(sender.claim()) for _ in range(20))
    answers = await asyncio.gather(*tries, return_exceptions=True)
    jobs = {answer.job.id for answer in answers if isinstance(answer, Answer)}
    codes = {answer.document.code for answer in answers if isinstance(answer, Problem)}
    assert {type(answer) for answer in answers} <= {Answer, Problem}
    assert (len(jobs), codes <= {"idempotency_in_flight"}) == (1, True)
    assert await sender.count(job, hold, attempt, idempotency) == [1, 1, 1, 1]
    assert len(world.script().calls) == 1


# -- without a key -----------------------------------------------------------------------


async def test_without_a_key_and_a_window_equal_requests_are_two(world, send) -> None:
    world.script().answers([done(), done()])
    first, second = await send(None), await send(None)
    assert first.job.id != second.job.id
    assert await send.count(idempotency) == [0]


async def test_within_the_window_an_equal_request_is_the_same(world, windowed) -> None:
    world.script().answers([done(), done(), done()])
    first = await windowed(None)
    reordered = b'{ "inputs": {"prompt": "a cat"}, "model": "solo" }'
    assert (await windowed(None, body=reordered)).job == first.job
    other = await windowed(None, body=BODY.replace(b"cat", b"dog"))
    assert (other.replayed, other.job.id != first.job.id) == (False, True)
    world.clock.ahead_s += 61
    assert not (await windowed(None)).replayed


async def test_the_settings_window_holds_where_an_account_has_none(world, send) -> None:
    world.core.settings = replace(world.core.settings, resend_window_s=60)
    world.script().answers([done(), done(), done()])
    first = await send(None)
    assert (await send(None)).job == first.job
    never = Sender(world, replace(premium(), resend_window_s=0))
    assert not (await never(None)).replayed


async def test_a_key_and_a_fingerprint_never_meet(world, windowed) -> None:
    world.script().answers([done(), done(), done()])
    first = await windowed(None)
    given = await windowed(fingerprint(PATH, BODY))
    named = await windowed(f"auto:{fingerprint(PATH, BODY)}")
    assert len({first.job.id, given.job.id, named.job.id}) == 3


async def test_without_a_key_the_second_waits_for_the_firsts_job(world, windowed) -> None:
    step, release = held()
    world.script().answers([step])
    both = asyncio.gather(windowed(None), windowed(None))
    await submitted(world)
    release.set()
    one, other = await both
    assert one.job == other.job
    assert {one.replayed, other.replayed} == {False, True}
    assert (one.job.status, windowed.made) == ("completed", 1)


async def test_without_a_key_a_job_that_runs_elsewhere_is_waited_for(world, windowed) -> None:
    step, release = held()
    world.script().answers([step, done()])
    first = await windowed(None, wait_s=0)
    await submitted(world)
    elsewhere = world.core.runner
    world.core.shared = True
    world.new_process()
    second = asyncio.create_task(windowed(None))
    release.set()
    assert (await second).job.id == first.job.id
    assert second.result().job.status == "completed"
    await elsewhere.aclose(0)


async def test_without_a_key_a_failure_is_tried_again(world, windowed) -> None:
    world.script().answers([ProviderFailed("it broke", provider="first"), done()])
    first, second = await windowed(None), await windowed(None)
    assert (first.job.status, second.job.status, second.replayed) == ("failed", "completed", False)
    assert (await windowed(None)).job == second.job


@pytest.mark.parametrize(
    ("path", "body", "same"),
    [
        (PATH, BODY, True),
        (f"{PATH}/", BODY, True),
        (PATH, b'{"inputs":{"prompt":"a cat"},\n "model":"solo"}', True),
        (PATH, b'{"inputs":{"prompt":"a  cat"},"model":"solo"}', False),
        (PATH, b'{"inputs":{"prompt":"a cat"},"model":"solo","options":{}}', False),
        ("/diffusers/generate", BODY, False),
    ],
)
def test_what_makes_two_requests_equal(path, body, same) -> None:
    assert (fingerprint(path, body) == fingerprint(PATH, BODY)) is same
