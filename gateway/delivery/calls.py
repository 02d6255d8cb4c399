"""Delivers a webhook: what is said, to whom, and what its answer means."""

from collections.abc import Callable

import msgspec
from msgspec import Struct
from sqlalchemy import Connection

from gateway.ambient import Ambient, iso
from gateway.db.engine import Database
from gateway.delivery import endpoints, outbox
from gateway.delivery.endpoints import EndpointRow
from gateway.delivery.events import read_event
from gateway.delivery.outbox import Item
from gateway.delivery.poster import Answer, NoAnswer, Poster
from gateway.delivery.retries import retry_after_s
from gateway.delivery.signing import WebhookSigner
from gateway.delivery.worker import Again, Failed, Outcome, Sent
from gateway.jobs import queries
from gateway.jobs.records import JobRow
from gateway.schemas import JobView

__all__ = ["Calls", "Told"]

GONE = 410

_encoder = msgspec.json.Encoder(decimal_format="number")


class Told(Struct, frozen=True, kw_only=True):
    """The body of a call, as Standard Webhooks has it."""

    type: str
    timestamp: str
    """When it happened, however often and late it is told."""
    data: JobView | dict[str, str]


class Calls:
    """Calls endpoints when jobs end.

    Args:
        db: has the jobs and the endpoints.
        ambient: time.
        poster: makes the calls.
        signer: signs them.
        view: a job as its owner sees it, with fresh links.
    """

    def __init__(
        self,
        db: Database,
        ambient: Ambient,
        poster: Poster,
        signer: WebhookSigner,
        view: Callable[[JobRow], JobView],
    ) -> None:
        self._db = db
        self._ambient = ambient
        self._poster = poster
        self._signer = signer
        self._view = view

    async def deliver(self, item: Item) -> Outcome:
        """One try at a row of the outbox."""
        endpoint_id, job_id = item.webhook_id or "", item.job_id or ""
        endpoint = await self._db.read(lambda c: endpoints.find(c, endpoint_id, item.account_id))
        if endpoint is None:
            return Failed(why="the endpoint was deleted")
        if endpoint.disabled_at is not None:
            return Failed(why=f"the endpoint was disabled: {endpoint.disabled_why}")
        job = await self._db.read(lambda c: queries.find_job(c, job_id))
        if job is None:
            return Failed(why="the job is no more")
        event = read_event(item.message)
        told = Told(type=event.type, timestamp=event.timestamp, data=self._view(job))
        try:
            answer = await self._call(endpoint, item.id, told)
        except NoAnswer as error:
            return Again(why=str(error))
        if answer.status == GONE:
            return await self._give_up(item, endpoint)
        if answer.good:
            return Sent(status_code=answer.status)
        after_s = retry_after_s(answer.retry_after, self._ambient.now_ms())
        return Again(why=answer.why, status_code=answer.status, after_s=after_s)

    async def _give_up(self, item: Item, endpoint: EndpointRow) -> Failed:
        """Call an endpoint no more that says that it is gone; this call and the end in one."""
        why, at = "it answered 410 Gone, and is called no more", self._ambient.now_ms()

        def write(conn: Connection) -> None:
            outbox.fail(conn, item, at, why, GONE)
            endpoints.disable(conn, endpoint.id, at, "it answered 410 Gone")

        await self._db.write(write)
        return Failed(why=why, status_code=GONE)

    async def test(self, endpoint: EndpointRow, message_id: str) -> Answer:
        """Call an endpoint now, with a `webhook.test`.

        Raises:
            NoAnswer: it did not answer.
        """
        data = {"webhookId": endpoint.id}
        told = Told(type="webhook.test", timestamp=iso(self._ambient.now_ms()), data=data)
        return await self._call(endpoint, message_id, told)

    async def _call(self, endpoint: EndpointRow, message_id: str, told: Told) -> Answer:
        body = _encoder.encode(told)
        at_s = self._ambient.now_ms() // 1000
        headers = self._signer.headers(endpoint.id, message_id, at_s, body)
        return await self._poster.call(endpoint.url, body, headers)
