"""Any order of what callers, providers, crashes and clocks do: the promises hold after each step."""

import asyncio
import itertools
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import Connection, insert, select
from support.people import premium
from support.simulated_cloud import CLOUDS, SIMULATED_TYPES, SUBMITS, Cloud
from support.small_registry import small_catalog

from billing import ledger
from billing.tables import hold
from gateway import books, unknown
from gateway.accounts import rows
from gateway.accounts.principals import OPERATOR
from gateway.ambient import Ambient
from gateway.core import Core
from gateway.db.engine import open_database
from gateway.db.migrate import upgrade
from gateway.db.tables import attempt, image, job, outbox, webhook
from gateway.delivery.asked import DeliveryRequest, WebhookTarget
from gateway.jobs import taken
from gateway.jobs.keeper import adopt_all
from gateway.jobs.outputs import Collector
from gateway.jobs.runner import Runner
from gateway.jobs.tools import Tools
from gateway.parts import Parts
from gateway.problems import Problem
from gateway.schemas import GenerateRequest
from gateway.settings import load_settings
from gateway.storage import open_store
from providers.base import Handle
from providers.discovery import Providers
from templates.library import TemplateLibrary

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

TERMINAL = ("completed", "failed", "canceled")
PAID_IN = 400_000
ENDPOINT = "whk_1"
STEPS: list[str] = []


class Jobs(RuleBasedStateMachine):
    """One gateway after the other on one database, and the cloud that it pays."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory()
        self.ahead_s = 0.0
        self.numbers = itertools.count()
        self.former: list[Runner] = []
        self.cloud = CLOUDS[self.folder.name] = Cloud()
        self.told: list[str] = []
        self.waits: list[asyncio.Future[Any]] = []
        self.requests: list[GenerateRequest] = []
        self.answered: dict[int, str] = {}
        """The job of each request that was let in."""
        self.config = load_settings({"GATEWAY_DATA_DIR": self.folder.name})
        upgrade(self.config.database_url, at=1)
        self.images = open_store(Path(self.folder.name, "store").as_uri())
        self.loop.run(self.open())

    # -- the world ----------------------------------------------------------------------

    async def open(self) -> None:
        real = Ambient()
        ambient = Ambient(
            now_ms=lambda: real.now_ms() + int(self.ahead_s * 1000),
            monotonic=lambda: real.monotonic() + self.ahead_s,
            unique=lambda: f"{next(self.numbers):032x}",
            seed=lambda: 11,
        )
        catalog = small_catalog()
        parts = Parts(
            catalog=catalog,
            templates=TemplateLibrary({}),
            providers=Providers(catalog.data.providers, {}, self.folder.name, SIMULATED_TYPES),
            images=self.images,
            secrets=(b"x" * 32,),
        )
        db = open_database(self.config.database_url)
        self.core = Core(settings=self.config, parts=parts, db=db, ambient=ambient)
        self.client = httpx.AsyncClient(trust_env=False)
        await self.core.db.write(self.pay_in)
        self.new_process()

    @staticmethod
    def pay_in(conn: Connection) -> None:
        """The operator is prepaid here, so that money can run out; and is called when a job ends."""
        rows.ensure_account(conn, account_id=OPERATOR, name="op", postpaid=False, at=1)
        ledger.top_up(conn, account_id=OPERATOR, amount_micros=PAID_IN, reference="first", at=1)
        endpoint = {"id": ENDPOINT, "account_id": OPERATOR, "url": "https://example.org/", "created_at": 1}
        conn.execute(insert(webhook).values(**endpoint))

    def new_process(self) -> None:
        core = self.core
        core.runner = Runner(
            Tools(
                db=core.db,
                providers=core.providers,
                collector=Collector(core.images, self.client, pauses_s=(0.0,)),
                ambient=core.ambient,
                resend_pauses_s=(0.0,),
                store_pauses_s=(0.01,),
                outliers=core.outliers,
            )
        )

    def do(self, step: Any) -> Any:
        """One step, and a little time for what it sets going."""

        async def run() -> Any:
            found = await step
            await asyncio.sleep(0.004)
            return found

        STEPS.append("step")
        return self.loop.run(run())

    def read(self, query: Any) -> list[Any]:
        return list(self.loop.run(self.core.db.read(lambda c: c.execute(query).all())))

    def status(self) -> dict[str, str]:
        return {row.id: row.status for row in self.read(select(job.c.id, job.c.status))}

    def nudge_all(self) -> None:
        for found in self.read(select(attempt.c.job_id, attempt.c.id)):
            for runner in (self.core.runner, *self.former):
                runner.nudge(found.job_id, found.id)

    # -- what may happen ------------------------------------------------------------------

    @rule(
        model=st.sampled_from(["solo", "two", "single"]),
        submits=st.lists(st.sampled_from(SUBMITS), max_size=3),
    )
    def submit(self, model: str, submits: list[str]) -> None:
        self.cloud.submits.extend(submits)
        inputs = {"prompt": "a cat", **({"n": 2} if model == "single" else {})}
        delivery = DeliveryRequest(webhook=WebhookTarget(id=ENDPOINT))
        self.requests.append(GenerateRequest(model=model, inputs=inputs, delivery=delivery))
        self.send(len(self.requests) - 1)

    @rule(which=st.integers(0))
    def resend(self, which: int) -> None:
        """A client sends a request again, under its key: the same job, or the first time when it was refused."""
        if not self.requests:
            return
        number = which % len(self.requests)
        known, found = self.answered.get(number), self.send(number)
        assert known is None or found == known

    def send(self, number: int) -> str | None:
        """Send a request; its job, or None when there is no money for one."""
        caller, body = premium(), self.requests[number]

        async def ask() -> str:
            core = self.core
            claim = core.resends.claim(caller, f"k{number}", "/api/images/generate", b"{}", 0)
            answer = await core.resends.once(
                claim, caller, 0, lambda: core.generate(body, caller, 0, claim=claim)
            )
            return answer.job.id

        try:
            found = self.answered[number] = self.do(ask())
        except Problem as problem:
            if problem.document.code != "insufficient_funds":
                raise
            return None
        if found not in self.told:
            self.told.append(found)
        return str(found)

    @rule(which=st.integers(0), how=st.sampled_from(["running", "done", "done", "failed"]))
    def cloud_moves(self, which: int, how: str) -> None:
        # Not a precondition: how far things are depends on the time, and the choice of steps must not.
        names = list(self.cloud.jobs)
        if names:
            self.cloud.end(names[which % len(names)], how)
        self.nudge_all()
        self.do(asyncio.sleep(0))

    @rule(count=st.integers(1, 3))
    def cloud_is_deaf(self, count: int) -> None:
        self.cloud.deaf += count

    @rule(which=st.integers(0))
    def cancel(self, which: int) -> None:
        if not self.told:
            return

        async def ask() -> None:
            found = self.told[which % len(self.told)]
            with_wait = asyncio.ensure_future(self.core.cancel(found, OPERATOR))
            await asyncio.wait([with_wait], timeout=0.01)
            self.waits.append(with_wait)

        self.do(ask())

    @rule()
    def crash(self) -> None:
        """The process dies in the middle of things, and another starts."""
        former = self.core.runner
        tasks = list(former._tasks.values())
        for task in tasks:
            task.cancel()
        self.loop.run(asyncio.wait(tasks)) if tasks else None
        self.new_process()
        self.do(adopt_all(self.core.db, self.core.runner))

    @rule()
    def pause(self) -> None:
        """The process is held up for longer than its leases: another adopts its jobs, and then it goes on."""
        self.former.append(self.core.runner)
        self.new_process()
        self.do(adopt_all(self.core.db, self.core.runner))

    @rule()
    def restart_adopts(self) -> None:
        self.do(adopt_all(self.core.db, self.core.runner))

    @rule()
    def deadlines_pass(self) -> None:
        self.ahead_s += 2000
        self.nudge_all()
        self.do(asyncio.sleep(0))

    @rule(which=st.integers(0))
    def webhook(self, which: int) -> None:
        """The provider says that it took a submit, whether that has an answer or not."""
        if not self.cloud.calls:
            return
        calls = list(self.cloud.calls.items())
        attempt_id, remote_id = calls[which % len(calls)]

        async def called() -> None:
            found = await self.core.db.read(lambda c: taken.job_of_attempt(c, attempt_id))
            if found is None:
                return
            handle = Handle(provider=found.attempts[-1].provider, remote_id=remote_id)
            until = self.core.ambient.now_ms() + 1_800_000
            if await self.core.db.write(lambda c: taken.note_taken(c, found.id, attempt_id, handle, until)):
                self.core.runner.start(found.id)
            self.core.runner.nudge(found.id, attempt_id)

        self.do(called())

    @rule()
    def operator_settles(self) -> None:
        for job_id, status in self.status().items():
            if status == "unknown":
                self.do(self.settle(job_id))

    async def settle(self, job_id: str) -> None:
        """As the cloud's own list of jobs says."""
        found = await self.core.job(job_id, None)
        lost = [one.id for one in found.attempts if one.status == "unknown" and one.id in self.cloud.calls]
        try:
            if lost:
                await unknown.adopt(self.core, job_id, self.cloud.calls[lost[0]])
            else:
                await unknown.fail(self.core, job_id)
        except Problem as problem:
            if problem.document.code != "job_not_unknown":
                raise

    # -- what must hold ---------------------------------------------------------------------

    @invariant()
    def the_books_are_right(self) -> None:
        at = self.core.ambient.now_ms()
        assert self.loop.run(self.core.db.read(lambda c: books.verify(c, at))) == []
        found = self.loop.run(self.core.db.read(lambda c: ledger.balance(c, OPERATOR)))
        assert found.available_micros >= 0

    @invariant()
    def holds_end_with_their_jobs(self) -> None:
        # One look, here and below: a job may end between two.
        pictures = select(image.c.id).where(image.c.job_id == job.c.id).exists().label("pictures")
        columns = (job.c.id, job.c.status, hold.c.status.label("hold"), hold.c.captured_micros, pictures)
        found = self.read(select(*columns).join_from(job, hold, hold.c.job_id == job.c.id))
        assert {row.id for row in found} >= set(self.told)
        for row in found:
            wanted = {"completed": "captured", "failed": "released", "canceled": "released"}
            assert row.hold == wanted.get(row.status, "open"), row
            if row.status in TERMINAL:
                done = row.status == "completed"
                assert (bool(row.captured_micros), row.pictures) == (done, done), row

    @invariant()
    def each_end_is_told_once(self) -> None:
        query = select(job.c.id, job.c.status, outbox.c.id.label("event")).outerjoin_from(
            job, outbox, outbox.c.job_id == job.c.id
        )
        for row in (found := self.read(query)):
            assert (row.status in TERMINAL) == (row.event is not None), row
        assert len(found) == len({row.id for row in found})

    @invariant()
    def nothing_is_sent_twice(self) -> None:
        assert self.cloud.twice == []

    @invariant()
    def every_picture_has_its_file(self) -> None:
        keys = [row.storage_key for row in self.read(select(image.c.storage_key))]
        # After the rows: what is stored meanwhile has no row yet.
        files = {path.name for path in Path(self.folder.name, "store", "images").glob("*")}
        assert {key.removeprefix("images/") for key in keys} <= files

    # -- the end ------------------------------------------------------------------------------

    def teardown(self) -> None:
        try:
            self.everything_ends()
        finally:
            self.loop.run(self.close())
            self.loop.close()
            del CLOUDS[self.folder.name]
            self.folder.cleanup()

    def everything_ends(self) -> None:
        """Given time and an operator, each job comes to its end, and each of the cloud's is accounted for."""
        self.cloud.deaf = 0
        for _ in range(400):
            for name in self.cloud.jobs:
                self.cloud.end(name, "done")
            self.operator_settles()
            self.do(adopt_all(self.core.db, self.core.runner))
            self.nudge_all()
            if set(self.status().values()) <= set(TERMINAL):
                break
            self.loop.run(asyncio.sleep(0.02))
        assert set(self.status().values()) <= set(TERMINAL), self.status()
        self.the_books_are_right()
        self.holds_end_with_their_jobs()
        query = select(attempt.c.id, attempt.c.handle).where(attempt.c.handle.is_not(None))
        known = {row.id for row in self.read(query)}
        unknown = {row.id for row in self.read(select(attempt.c.id).where(attempt.c.status == "unknown"))}
        # Of a job that has other pictures, a call without an answer stays as it is: told, and not charged.
        assert set(self.cloud.calls) <= known | unknown

    async def close(self) -> None:
        for wait in self.waits:
            wait.cancel()
        await asyncio.gather(*self.waits, return_exceptions=True)
        for runner in self.former:
            await runner.aclose(0)
        await self.client.aclose()
        await self.core.aclose()


def test_the_promises_hold_in_any_order(figures: Callable[[str], None]) -> None:
    STEPS.clear()
    # The same orders each time; how far things are when a step comes is another each time.
    run_state_machine_as_test(
        Jobs,
        settings=settings(
            max_examples=80, stateful_step_count=50, deadline=None, derandomize=True, database=None
        ),
    )
    figures(f"{len(STEPS)} steps")
    assert len(STEPS) > 2000
