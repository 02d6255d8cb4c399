"""Jobs of a window run when it comes, within the limit, together where the provider takes groups."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from sqlalchemy import select, update
from support.job_checks import Gate
from support.people import premium
from support.scripted_provider import ScriptedProvider, done

from billing import ledger
from gateway.accounts import rows
from gateway.accounts.principals import Principal
from gateway.accounts.scopes import SCOPES
from gateway.db.tables import batch, job
from gateway.jobs.dispatch import Dispatcher
from gateway.problems import Problem
from gateway.schemas import GenerateRequest
from gateway.settings import load_settings
from registry.errors import InvalidInputs

ANN = Principal(account_id="ann", tier="normal", admin=False, scopes=frozenset(SCOPES))
WINDOW_S = 1800.0


def ask(model: str = "solo", schedule: Any = None, **inputs: object) -> GenerateRequest:
    return GenerateRequest(model=model, inputs={"prompt": "a cat", **inputs}, schedule=schedule)


class Windows:
    """A world whose time comes when a test says so, and what dispatches its jobs."""

    def __init__(self, world: Any) -> None:
        self.world = world
        self.dispatcher: Dispatcher
        self.new_process()

    def new_process(self, most: int = 4) -> None:
        core = self.world.core
        self.dispatcher = Dispatcher(core.db, core.ambient, core.providers, core.runner, most=most)

    async def submit(self, request: GenerateRequest, caller: Principal = ANN) -> str:
        return str(await self.world.core.admission.submit(request, caller))

    async def job(self, job_id: str) -> Any:
        return await self.world.core.job(job_id, None)

    async def statuses(self, *ids: str) -> list[str]:
        return [(await self.job(job_id)).status for job_id in ids]

    def time_comes(self) -> None:
        self.world.clock.ahead_s += WINDOW_S

    async def ended(self, *ids: str) -> list[Any]:
        for job_id in ids:
            await self.world.core.runner.wait(job_id, 20)
        assert await self.world.db.read(ledger.verify) == []
        return [await self.job(job_id) for job_id in ids]

    async def batches(self) -> list[tuple[int, str]]:
        """Jobs and model of each, in order."""
        query = select(batch.c.jobs, batch.c.model).order_by(batch.c.started_at, batch.c.id)
        rows = await self.world.db.read(lambda c: c.execute(query).all())
        return [(row.jobs, row.model) for row in rows]


@pytest.fixture
async def windows(world: Any) -> AsyncIterator[Windows]:
    def people(conn: Any) -> None:
        for name in ("ann", "bob"):
            rows.ensure_account(conn, account_id=name, name=name, postpaid=True, at=1)

    await world.db.write(people)
    made = Windows(world)
    yield made
    await made.dispatcher.aclose()


@pytest.fixture
def takes_groups(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Have the scripted providers take groups."""

    def make(limit: int) -> None:
        monkeypatch.setattr(ScriptedProvider, "group_limit", lambda *_: limit, raising=False)

    return make


async def test_a_normal_accounts_jobs_join_the_window_and_run_as_one_group(
    windows: Windows, takes_groups: Callable[[int], None]
) -> None:
    takes_groups(8)
    ids = [await windows.submit(ask(prompt=text)) for text in ("a cat", "a dog")]
    other = await windows.submit(ask(size="32x32"))
    assert await windows.statuses(*ids, other) == ["scheduled"] * 3
    assert [(await windows.job(found)).place for found in (*ids, other)] == [1, 2, 3]
    assert await windows.dispatcher.run_due() == 0

    windows.time_comes()
    script = windows.world.script()
    script.answers(submit=[done(), done(), done()])
    assert await windows.dispatcher.run_due() == 3
    jobs = await windows.ended(*ids, other)
    assert [found.status for found in jobs] == ["completed"] * 3
    assert await windows.batches() == [(2, "solo"), (1, "solo")]
    third, first, second = sorted((call.group for call in script.calls), key=lambda group: group.size)
    assert (third.size, first.size, first) == (1, 2, second)
    # The hold became a charge, of each for itself.
    assert [found.charge_micros for found in jobs] == [30_000] * 3


async def test_no_more_at_once_than_the_limit_and_the_rest_stays_scheduled(windows: Windows) -> None:
    windows.new_process(most=2)
    ids = [await windows.submit(ask(prompt=f"{n}")) for n in range(4)]
    gates = [Gate(then=done()) for _ in ids]
    windows.world.script().answers(submit=gates)
    windows.time_comes()
    running = asyncio.create_task(windows.dispatcher.run_due())
    await asyncio.gather(*(gate.reached.wait() for gate in gates[:2]))
    assert (await windows.statuses(*ids))[2:] == ["scheduled", "scheduled"]
    gates[0].open.set()
    await gates[2].reached.wait()
    assert (await windows.statuses(*ids))[3] == "scheduled"
    for gate in gates:
        gate.open.set()
    assert await running == 4
    assert [found.status for found in await windows.ended(*ids)] == ["completed"] * 4
    assert await windows.batches() == [(2, "solo"), (2, "solo")]


async def test_a_group_waits_for_room_for_all_of_it(
    windows: Windows, takes_groups: Callable[[int], None]
) -> None:
    takes_groups(8)
    windows.new_process(most=2)
    ids = [await windows.submit(ask(prompt=f"{n}")) for n in range(4)]
    gates = [Gate(then=done()) for _ in ids]
    windows.world.script().answers(submit=gates)
    windows.time_comes()
    running = asyncio.create_task(windows.dispatcher.run_due())
    await asyncio.gather(*(gate.reached.wait() for gate in gates[:2]))
    gates[0].open.set()
    async with asyncio.timeout(20):
        while "completed" not in await windows.statuses(*ids[:2]):
            await asyncio.sleep(0.01)
    for gate in gates:
        gate.open.set()
    assert await running == 4
    assert [found.status for found in await windows.ended(*ids)] == ["completed"] * 4
    # Had it not waited, the third job would have gone without the fourth.
    assert [count for count, _ in await windows.batches()] == [2, 2]


async def test_a_stop_in_mid_window_loses_nothing(windows: Windows) -> None:
    windows.new_process(most=1)
    ids = [await windows.submit(ask(prompt=f"{n}")) for n in range(3)]
    gate = Gate(then=done())
    windows.world.script("first").answers(submit=[done(), gate])
    windows.time_comes()
    running = asyncio.create_task(windows.dispatcher.run_due())
    await gate.reached.wait()
    running.cancel()
    await windows.dispatcher.aclose()
    await windows.world.restart()
    assert await windows.statuses(*ids) == ["completed", "queued", "scheduled"]

    # The next start: what was sent to a provider without an answer is the operator's, what waits runs.
    windows.new_process()
    windows.world.script("first").answers(submit=[done()])
    await windows.world.resume()
    assert await windows.dispatcher.run_due() == 1
    await windows.ended(*ids)
    assert await windows.statuses(*ids) == ["completed", "unknown", "completed"]


async def test_two_processes_take_each_job_once(windows: Windows) -> None:
    ids = [await windows.submit(ask(prompt=f"{n}")) for n in range(6)]
    windows.world.script().answers(submit=[done()] * 6)
    windows.time_comes()
    core = windows.world.core
    other = Dispatcher(core.db, core.ambient, core.providers, core.runner, most=3)
    counts = await asyncio.gather(windows.dispatcher.run_due(), other.run_due())
    assert sum(counts) == 6
    await windows.ended(*ids)
    assert await windows.statuses(*ids) == ["completed"] * 6
    assert len(windows.world.script().calls) == 6
    await other.aclose()


async def test_a_job_that_cannot_be_read_keeps_nobody_waiting(windows: Windows) -> None:
    broken = await windows.submit(ask())
    fine = await windows.submit(ask(size="32x32"))
    await windows.world.db.write(
        lambda c: c.execute(update(job).where(job.c.id == broken).values(report="nonsense"))
    )
    windows.world.script().answers(submit=[done()])
    windows.time_comes()
    assert await windows.dispatcher.run_due() == 2
    await windows.world.core.runner.wait(fine, 20)
    status = await windows.world.db.read(
        lambda c: c.execute(select(job.c.status).where(job.c.id == fine)).scalar_one()
    )
    assert status == "completed"


async def test_it_wakes_by_itself_when_a_job_is_let_in_whose_window_is_now(windows: Windows) -> None:
    core = windows.world.core
    core.settings = load_settings(
        {"GATEWAY_DATA_DIR": str(core.settings.data_dir), "GATEWAY_BATCH_WINDOW_S": "0"}
    )
    core.dispatcher = windows.dispatcher
    core.dispatcher.start()
    windows.world.script().answers(submit=[done()])
    job_id = await windows.submit(ask())
    async with asyncio.timeout(20):
        while (await windows.job(job_id)).status != "completed":
            await asyncio.sleep(0.01)


# -- who waits -----------------------------------------------------------------------


async def test_a_premium_account_runs_at_once_or_waits_if_it_likes(windows: Windows) -> None:
    windows.world.script().answers(submit=[done(), done()])
    at_once = await windows.submit(ask(), premium("bob"))
    said = await windows.submit(ask(schedule="now"), premium("bob"))
    likes = await windows.submit(ask(schedule="window"), premium("bob"))
    await windows.ended(at_once, said)
    assert await windows.statuses(at_once, said, likes) == ["completed", "completed", "scheduled"]
    # A start lets an account's jobs go that became premium: not one that was asked to wait.
    await windows.world.core.release("bob")
    assert await windows.statuses(likes) == ["scheduled"]


async def test_a_normal_account_cannot_have_it_now(windows: Windows) -> None:
    with pytest.raises(Problem) as caught:
        await windows.submit(ask(schedule="now"))
    assert (caught.value.document.code, caught.value.document.status) == ("premium_required", 403)
    assert "it runs at 20" in str(caught.value.document.detail)


async def test_waiting_is_cheaper_where_the_operator_says_so(windows: Windows) -> None:
    core = windows.world.core
    core.settings = load_settings(
        {"GATEWAY_DATA_DIR": str(core.settings.data_dir), "GATEWAY_BATCH_DISCOUNT": "20"}
    )
    waiting = await windows.submit(ask(), ANN)
    windows.world.script().answers(submit=[done(), done()])
    at_once = await windows.submit(ask(), premium("bob"))
    view = core.view(await windows.job(waiting))
    assert view.schedule is not None
    assert (str(view.schedule.cost_now), str(view.schedule.cost_then)) == ("0.03", "0.024")
    assert view.runs_at is not None
    assert core.view(await windows.job(at_once)).schedule is None

    estimate = await core.estimate(ask(), ANN)
    assert (str(estimate.cost), estimate.runs_at) == ("0.024", view.runs_at)
    assert str((await core.estimate(ask(), premium("bob"))).cost) == "0.03"
    # What the job may cost is held against what it would cost then.
    assert (await core.estimate(ask(max_cost=0.024), ANN)).cost_micros == 24_000
    with pytest.raises(InvalidInputs):
        await core.estimate(ask(max_cost=0.0239), ANN)

    windows.time_comes()
    assert await windows.dispatcher.run_due() == 1
    jobs = await windows.ended(waiting, at_once)
    assert [found.charge_micros for found in jobs] == [24_000, 30_000]
