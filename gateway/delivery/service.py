"""What an account does with its webhook endpoints and with what was sent to it."""

from collections.abc import Callable

from sqlalchemy import Connection

from gateway import limits
from gateway.accounts import audit
from gateway.accounts.audit import Actor
from gateway.ambient import Ambient
from gateway.db.engine import Database
from gateway.delivery import endpoints, outbox
from gateway.delivery.calls import Calls
from gateway.delivery.endpoints import MOST, EndpointRow, TooManyEndpoints
from gateway.delivery.outbox import Row
from gateway.delivery.poster import NoAnswer, Poster
from gateway.delivery.schemas import TestedView
from gateway.delivery.signing import WebhookSigner
from gateway.limits import Limit
from gateway.media.errors import MediaRefused
from gateway.problems import Problem, too_many
from registry.errors import Fault

__all__ = ["CALLED", "DeliveryDesk"]

CALLED = "an https:// URL on a public host, at port 443, without a user"
"""What may be called, for people."""

TESTS = Limit(name="webhook-test", burst=10, per_s=1 / 6)
REDELIVERIES = Limit(name="redeliver", burst=20, per_s=1 / 6)


class DeliveryDesk:
    """Handles their requests.

    Args:
        db: keeps endpoints and the outbox.
        ambient: time and ids.
        poster: says who may be called.
        signer: has the endpoints' secrets.
        calls: makes a call now.
        wake: called when there is something to deliver.
    """

    def __init__(
        self,
        db: Database,
        ambient: Ambient,
        poster: Poster,
        signer: WebhookSigner,
        calls: Calls,
        wake: Callable[[], None],
    ) -> None:
        self._db = db
        self._ambient = ambient
        self._poster = poster
        self._signer = signer
        self._calls = calls
        self._wake = wake

    # -- endpoints ----------------------------------------------------------------------

    async def create(self, url: str, account_id: str, by: Actor) -> EndpointRow:
        """The account's endpoint of a URL, made unless it is there.

        Raises:
            Problem: `invalid_webhook`, `too_many_webhooks`.
        """
        try:
            kept = self._poster.read(url)
            await self._poster.check(kept)
        except MediaRefused as error:
            fault = Fault(pointer="/url", code="not_allowed", message=str(error), allowed=CALLED)
            raise Problem("invalid_webhook", f"/url: {error}", errors=[fault]) from error
        return await self.ensure(kept, account_id, by)

    async def ensure(self, url: str, account_id: str, by: Actor) -> EndpointRow:
        """As `create`, of a URL that was checked.

        Raises:
            Problem: `too_many_webhooks`.
        """
        at, new_id = self._ambient.now_ms(), self._ambient.new_id("whk")

        def make(conn: Connection) -> EndpointRow:
            row, made = endpoints.ensure(conn, account_id, url, new_id, at)
            if made:
                audit.record(conn, self._ambient, by, "webhook.create", account_id, at, webhook=row.id)
            return row

        try:
            return await self._db.write(make)
        except TooManyEndpoints as error:
            detail = f"An account has at most {MOST} webhook endpoints; delete one: DELETE /api/webhooks/ID"
            raise Problem("too_many_webhooks", detail) from error

    async def endpoints(self, account_id: str) -> list[EndpointRow]:
        """An account's endpoints, oldest first."""
        return await self._db.read(lambda c: endpoints.list_endpoints(c, account_id))

    async def endpoint(self, endpoint_id: str, account_id: str) -> EndpointRow:
        """An account's endpoint.

        Raises:
            Problem: `not_found`.
        """
        row = await self._db.read(lambda c: endpoints.find(c, endpoint_id, account_id))
        if row is None:
            raise _no_endpoint(endpoint_id)
        return row

    async def secret(self, endpoint_id: str, account_id: str) -> str:
        """What an endpoint verifies our calls with.

        Raises:
            Problem: `not_found`.
        """
        return self.secret_of(await self.endpoint(endpoint_id, account_id))

    def secret_of(self, row: EndpointRow) -> str:
        """What an endpoint verifies our calls with."""
        return self._signer.secret(row.id)

    async def enable(self, endpoint_id: str, account_id: str, by: Actor) -> EndpointRow:
        """Call an endpoint again, from the next job on. One that is not disabled stays as it is.

        Raises:
            Problem: `not_found`.
        """
        row, at = await self.endpoint(endpoint_id, account_id), self._ambient.now_ms()

        def write(conn: Connection) -> None:
            endpoints.enable(conn, row.id)
            audit.record(conn, self._ambient, by, "webhook.enable", account_id, at, webhook=row.id)

        if row.disabled_at is not None:
            await self._db.write(write)
        return await self.endpoint(endpoint_id, account_id)

    async def remove(self, endpoint_id: str, account_id: str, by: Actor) -> EndpointRow:
        """Forget an endpoint; what it has not been told is given up. As it was then.

        Raises:
            Problem: `not_found`.
        """
        row, at = await self.endpoint(endpoint_id, account_id), self._ambient.now_ms()

        def write(conn: Connection) -> None:
            endpoints.remove(conn, row.id, at)
            audit.record(conn, self._ambient, by, "webhook.delete", account_id, at, webhook=row.id)

        await self._db.write(write)
        return row

    async def test(self, endpoint_id: str, account_id: str) -> TestedView:
        """Call an endpoint now, with an event that means nothing; what it answered.

        Raises:
            Problem: `not_found`, `too_many_requests`.
        """
        row = await self.endpoint(endpoint_id, account_id)
        await self._take(TESTS, account_id, "tests")
        message_id = self._ambient.new_id("msg")
        try:
            answer = await self._calls.test(row, message_id)
        except NoAnswer as failure:
            return TestedView(message_id=message_id, delivered=False, status_code=None, error=str(failure))
        error = None if answer.good else answer.why
        return TestedView(
            message_id=message_id, delivered=answer.good, status_code=answer.status, error=error
        )

    # -- what was sent ------------------------------------------------------------------

    async def redeliver(self, delivery_id: str, account_id: str | None) -> Row:
        """Send something, or send it again under the same id; as it stands then.

        Args:
            delivery_id: which.
            account_id: whose; None for anybody's (an admin's word).

        Raises:
            Problem: `not_found`, `webhook_disabled`, `too_many_requests`.
        """
        if account_id is not None:
            await self._take(REDELIVERIES, account_id, "deliveries")
        at = self._ambient.now_ms()

        def write(conn: Connection) -> Row:
            row = outbox.find(conn, delivery_id, account_id)
            if row is None:
                raise Problem("not_found", f"No delivery has the id {delivery_id!r}")
            if row.webhook_id is not None:
                _check_usable(endpoints.find(conn, row.webhook_id, row.account_id))
            outbox.redeliver(conn, row.id, at)
            return outbox.find(conn, row.id, account_id) or row

        row = await self._db.write(write)
        self._wake()
        return row

    async def _take(self, limit: Limit, account_id: str, what: str) -> None:
        at = self._ambient.now_ms()
        taken = await self._db.write(lambda c: limits.take(c, limit, account_id, at))
        if not taken.allowed:
            raise too_many(taken, what)


def _check_usable(endpoint: EndpointRow | None) -> None:
    if endpoint is None:
        raise Problem("webhook_disabled", "The endpoint was deleted: nobody is called any more")
    if endpoint.disabled_at is not None:
        raise Problem(
            "webhook_disabled",
            f"The endpoint is disabled: {endpoint.disabled_why}. Enable it first: "
            f"POST /api/webhooks/{endpoint.id}/enable",
        )


def _no_endpoint(endpoint_id: str) -> Problem:
    return Problem(
        "not_found", f"No webhook endpoint has the id {endpoint_id!r}; GET /api/webhooks lists yours"
    )
