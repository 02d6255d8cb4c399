"""Delivers what the outbox has of one kind: woken when there is something, and when it is due again."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from urllib.parse import urlsplit

from msgspec import Struct
from structlog.contextvars import bind_contextvars

from gateway.ambient import Ambient
from gateway.db.engine import Database, DatabaseError
from gateway.delivery import outbox
from gateway.delivery.outbox import HELD_MS, Item, Kind
from gateway.delivery.retries import Schedule
from gateway.delivery.slots import Limits, Slots
from gateway.faults import point
from gateway.jobs.queries import Origin, origin_of
from gateway.observe import genai
from gateway.observe.metrics import Metrics
from gateway.observe.tracing import OFF, Span, Tracing

__all__ = ["Again", "Attempt", "Failed", "Outcome", "Sent", "Worker"]

log = logging.getLogger(__name__)

LOOK_EVERY_S = 30.0
"""For what another replica wrote and did not live to send."""
SHARED_LOOK_S = 1.0
"""For what another process wrote that sends nothing itself."""
ATTEMPT_S = HELD_MS / 1000 - 30
"""A try is given up before another replica may begin it anew."""
GRACE_S = 3.0
"""What a try under way has to end when the process does; else the next process makes it once more."""
CHANCES = 1 << 32


class Sent(Struct, frozen=True, kw_only=True):
    """It was taken."""

    status_code: int | None = None


class Again(Struct, frozen=True, kw_only=True):
    """Not now: the same may go through later."""

    why: str
    status_code: int | None = None
    after_s: float = 0.0
    """Not before so many seconds, as whoever it is for asks."""


class Failed(Struct, frozen=True, kw_only=True):
    """Never."""

    why: str
    status_code: int | None = None


Outcome = Sent | Again | Failed
Attempt = Callable[[Item], Awaitable[Outcome]]
"""One try at a delivery."""


class Worker:
    """Delivers one kind.

    Args:
        db: has the outbox.
        ambient: time and chance.
        kind: which.
        attempt: makes one try.
        schedule: when another is made.
        limits: how many at once.
        metrics: counts the tries.
        look_s: seconds between looks for what another process wrote.
        tracing: makes the spans of tries.
    """

    def __init__(
        self,
        db: Database,
        ambient: Ambient,
        kind: Kind,
        attempt: Attempt,
        schedule: Schedule,
        limits: Limits,
        metrics: Metrics | None = None,
        *,
        look_s: float = LOOK_EVERY_S,
        tracing: Tracing = OFF,
    ) -> None:
        self._metrics = metrics or Metrics()
        self._db = db
        self._tracing = tracing
        self._ambient = ambient
        self._kind = kind
        self._attempt = attempt
        self._schedule = schedule
        self._slots = Slots(limits)
        self._look_s = look_s
        self._wake = asyncio.Event()
        self._running: set[asyncio.Task[None]] = set()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to deliver."""
        self._task = asyncio.create_task(self._run(), name=f"outbox {self._kind}")

    def wake(self) -> None:
        """Something was put into the outbox."""
        self._wake.set()

    async def aclose(self) -> None:
        """Stop. What was not sent is sent by the next process."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._running:
            await asyncio.wait(self._running, timeout=GRACE_S)
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def deliver(self) -> int:
        """Make one try at everything that is due, and wait for its end; how many there were."""
        count = 0
        while True:
            # Before the look: what ends during it makes room for what it passed over.
            idle = not self._running
            count += await self._begin_due()
            if self._running:
                await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)
            elif idle:
                return count

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            try:
                await self._begin_due()
                pause = await self._pause()
            except DatabaseError as error:
                log.warning("the outbox cannot be read: %s", error)
                pause = LOOK_EVERY_S
            try:
                async with asyncio.timeout(pause):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _pause(self) -> float:
        """Seconds until the next one is due; what is due already begins when a slot is given back."""
        at = self._ambient.now_ms()
        due_at = await self._db.read(lambda c: outbox.next_due(c, self._kind, at))
        if due_at is None:
            return self._look_s
        return min(self._look_s, (due_at - at) / 1000)

    async def _begin_due(self) -> int:
        """Begin whatever is due and has a slot; how many were begun."""
        begun, passed_over = 0, set[str]()
        while not self._slots.full:
            at = self._ambient.now_ms()
            full = self._slots.full_accounts
            items = await self._db.read(
                lambda c, at=at, full=full: outbox.due(  # type: ignore[misc]  # bound now
                    c, self._kind, at, but_accounts=full, but_webhooks=passed_over
                )
            )
            if not items:
                break
            for item in items:
                begun += await self._begin(item, passed_over)
        return begun

    async def _begin(self, item: Item, passed_over: set[str]) -> bool:
        """Begin one, if it has a slot and nobody else has it."""
        host = urlsplit(item.recipient).netloc if item.webhook_id is not None else ""
        if item.webhook_id is not None and self._slots.is_full_host(host):
            passed_over.add(item.webhook_id)
            return False
        if self._slots.full or item.account_id in self._slots.full_accounts:
            return False
        at = self._ambient.now_ms()
        if not await self._db.write(lambda c: outbox.claim(c, item, at)):
            return False
        point("delivery.claimed")
        self._slots.take(item, host)
        task = asyncio.create_task(self._deliver(item), name=f"outbox {item.id}")
        self._running.add(task)
        task.add_done_callback(lambda done: self._ended(done, item, host))
        return True

    def _ended(self, task: asyncio.Task[None], item: Item, host: str) -> None:
        self._running.discard(task)
        self._slots.give_back(item, host)
        self._wake.set()
        if not task.cancelled() and task.exception() is not None:
            # Nobody knows how it ended, and so it is sent again when the claim has run out.
            log.error("what became of %s was not noted", item.id, exc_info=task.exception())

    async def _deliver(self, item: Item) -> None:
        bind_contextvars(delivery_id=item.id, job_id=item.job_id, account_id=item.account_id)
        with await self._span(item) as span:
            outcome = await self._try(item)
            span.set(genai.DELIVERY_OUTCOME, type(outcome).__name__.lower())
            if outcome.status_code is not None:
                span.set(genai.STATUS, outcome.status_code)
            if not isinstance(outcome, Sent):
                span.fail(str(outcome.status_code or "not_delivered"))
            await self._note(item, outcome)

    async def _span(self, item: Item) -> Span:
        """Of one try, inside the request that the job came with."""
        origin = Origin()
        if self._tracing.on and item.job_id is not None:
            job_id = item.job_id
            with suppress(DatabaseError):  # then it is a trace of its own
                origin = await self._db.read(lambda c: origin_of(c, job_id))
        attributes: genai.Attributes = {
            genai.DELIVERY: self._kind,
            genai.DELIVERY_ID: item.id,
            genai.TRY: item.tries + 1,
        }
        if item.job_id is not None:
            attributes[genai.JOB] = item.job_id
        span = self._tracing.span("deliver", attributes, kind="client", parent=origin.traceparent)
        bind_contextvars(request_id=origin.request_id, trace_id=span.trace_id)
        return span

    async def _note(self, item: Item, outcome: Outcome) -> None:
        """Write down what became of a try."""
        point("delivery.tried")
        at = self._ambient.now_ms()
        if isinstance(outcome, Again):
            chance = self._ambient.seed() / CHANCES
            pause = self._schedule.pause_s(item.tries + 1, chance)
            if pause is not None:
                due_at = at + int(max(pause, outcome.after_s) * 1000)
                log.warning("%s was not delivered, and is tried again: %s", item.id, outcome.why)
                why, code = outcome.why, outcome.status_code
                self._metrics.delivery(self._kind, "again")
                await self._db.write(lambda c: outbox.again(c, item, due_at, why, code))
                return
            outcome = Failed(why=outcome.why, status_code=outcome.status_code)
        if isinstance(outcome, Failed):
            failed = outcome
            log.warning("%s cannot be delivered: %s", item.id, failed.why)
            self._metrics.delivery(self._kind, "failed")
            await self._db.write(lambda c: outbox.fail(c, item, at, failed.why, failed.status_code))
            return
        code = outcome.status_code
        self._metrics.delivery(self._kind, "sent")
        await self._db.write(lambda c: outbox.sent(c, item, at, code))
        point("delivery.noted")

    async def _try(self, item: Item) -> Outcome:
        try:
            async with asyncio.timeout(ATTEMPT_S):
                return await self._attempt(item)
        except TimeoutError:
            return Again(why=f"it took more than {ATTEMPT_S:g} seconds")
        except DatabaseError as error:
            return Again(why=f"the database is away: {error}")
        except Exception:
            # A fault of ours with one must not keep the others from their readers.
            log.exception("%s broke", item.id)
            return Again(why="something broke here; the log has it")
