"""Delivers the outbox: one task, woken when there is something, and when something is due again."""

import asyncio
import logging

from gateway.ambient import Ambient
from gateway.db.engine import Database, DatabaseError
from gateway.mail import outbox
from gateway.mail.letters import Letters
from gateway.mail.outbox import Delivery
from gateway.mail.transport import Refused, Transport, Undelivered

__all__ = ["Sender"]

log = logging.getLogger(__name__)

BACKOFF_S = (5, 30, 120, 600, 1800, 3600, 7200, 14400, 28800)
"""After each failed try. The last try is a good 16 hours after the first."""
LOOK_EVERY_S = 30.0
"""For what another replica wrote and did not live to send."""


class Sender:
    """Sends what the outbox has.

    Args:
        db: has the outbox.
        ambient: time.
        letters: writes the messages.
        transport: takes them.
    """

    def __init__(self, db: Database, ambient: Ambient, letters: Letters, transport: Transport) -> None:
        self._db = db
        self._ambient = ambient
        self._letters = letters
        self._transport = transport
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to deliver."""
        self._task = asyncio.create_task(self._run(), name="mail")

    def wake(self) -> None:
        """Something was put into the outbox."""
        self._wake.set()

    async def aclose(self) -> None:
        """Stop. What was not sent is sent by the next process."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def deliver(self) -> int:
        """Send everything that is due; how many there were."""
        at = self._ambient.now_ms()
        due = await self._db.read(lambda c: outbox.due(c, at))
        for delivery in due:
            await self._deliver(delivery)
        return len(due)

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            try:
                while await self.deliver():
                    pass
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
        """Seconds until the next one is due."""
        due_at = await self._db.read(outbox.next_due)
        if due_at is None:
            return LOOK_EVERY_S
        return min(LOOK_EVERY_S, max(0.0, (due_at - self._ambient.now_ms()) / 1000))

    async def _deliver(self, delivery: Delivery) -> None:
        at = self._ambient.now_ms()
        if not await self._db.write(lambda c: outbox.claim(c, delivery, at)):
            return
        message = self._letters.write(delivery.letter, delivery.recipient, delivery.id, delivery.created_at)
        try:
            await self._transport.send(message)
        except Refused as error:
            await self._give_up(delivery, str(error))
        except Undelivered as error:
            await self._again(delivery, str(error))
        else:
            now = self._ambient.now_ms()
            await self._db.write(lambda c: outbox.sent(c, delivery.id, now))

    async def _again(self, delivery: Delivery, why: str) -> None:
        if delivery.tries >= len(BACKOFF_S):
            await self._give_up(delivery, why)
            return
        due_at = self._ambient.now_ms() + BACKOFF_S[delivery.tries] * 1000
        log.warning("mail %s was not delivered, and is tried again: %s", delivery.id, why)
        await self._db.write(lambda c: outbox.retry(c, delivery.id, due_at, why))

    async def _give_up(self, delivery: Delivery, why: str) -> None:
        at = self._ambient.now_ms()
        log.error("mail %s cannot be delivered: %s", delivery.id, why)
        await self._db.write(lambda c: outbox.fail(c, delivery.id, at, why))
