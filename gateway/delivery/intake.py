"""How a request says that its job's end is to be told: checked before anything is spent."""

from msgspec import Struct

from gateway.accounts.logins import find_login_of
from gateway.accounts.principals import Principal
from gateway.db.engine import Database
from gateway.delivery import endpoints
from gateway.delivery.asked import DeliveryRequest, WebhookTarget
from gateway.delivery.poster import Poster
from gateway.delivery.service import CALLED, DeliveryDesk
from gateway.jobs.records import Delivery
from gateway.media.errors import MediaRefused
from registry.errors import Fault, InvalidInputs, pointer

__all__ = ["Intake", "mailed_by_default"]


def mailed_by_default(tier: str, *, waits: bool) -> bool:
    """Whether a job's result goes to its account's address although nobody said so.

    A normal account's job that waits for its turn does: nobody sits there until it has run.
    """
    return waits and tier == "normal"


class _Webhook(Struct, frozen=True, kw_only=True):
    """A webhook that was asked for, and checked."""

    id: str | None
    """None: there is none yet of the URL."""
    url: str


class Intake:
    """Reads what requests say.

    Args:
        db: has logins and endpoints.
        poster: says who may be called.
        desk: makes endpoints.
        verified: addresses of logins are those of who reads mail there; else none is mailed to.
    """

    def __init__(self, db: Database, poster: Poster, desk: DeliveryDesk, *, verified: bool) -> None:
        self._db = db
        self._poster = poster
        self._desk = desk
        self._verified = verified

    async def accept(
        self, asked: DeliveryRequest | None, caller: Principal, *, waits: bool
    ) -> Delivery | None:
        """How a job's end is told; None: nobody is told. Makes an endpoint of a URL that is new.

        Args:
            asked: as the request says it.
            caller: whose job it is.
            waits: it does not run at once.

        Raises:
            InvalidInputs: every fault, by JSON pointer.
            Problem: `too_many_webhooks`.
        """
        wanted = asked or DeliveryRequest()
        faults: list[Fault] = []
        email = await self._email(wanted.email, caller, waits, faults)
        webhook = None
        if wanted.webhook is not None:
            webhook = await self._webhook(wanted.webhook, caller.account_id, faults)
        if faults:
            raise InvalidInputs(faults)
        if webhook is None:
            return Delivery(email=True) if email else None
        endpoint_id = webhook.id
        if endpoint_id is None:
            made = await self._desk.ensure(webhook.url, caller.account_id, caller.actor)
            endpoint_id = made.id
        return Delivery(email=email, webhook=endpoint_id)

    async def _email(self, asked: bool | None, caller: Principal, waits: bool, faults: list[Fault]) -> bool:
        wanted = mailed_by_default(caller.tier, waits=waits) if asked is None else asked
        if not wanted:
            return False
        why = "addresses are not verified on this gateway (GATEWAY_SIGNUP=open), so nothing is mailed to them"
        if self._verified:
            login = await self._db.read(lambda c: find_login_of(c, caller.account_id))
            if login is not None:
                return True
            why = "the account has no address of mail: nobody signs in to it"
        if asked:
            allowed = "false: look at the job, or give a webhook"
            faults.append(_fault("email", why, allowed))
        return False

    async def _webhook(self, target: WebhookTarget, account_id: str, faults: list[Fault]) -> _Webhook | None:
        if target.url is not None and target.id is not None:
            faults.append(
                _fault("webhook", "url and id are two endpoints", "one of them", "conflicting_values")
            )
        elif target.id is not None:
            return await self._by_id(target.id, account_id, faults)
        elif target.url is not None:
            return await self._by_url(target.url, account_id, faults)
        else:
            faults.append(_fault("webhook", "it says nobody who is called", "url or id", "missing"))
        return None

    async def _by_id(self, endpoint_id: str, account_id: str, faults: list[Fault]) -> _Webhook | None:
        row = await self._db.read(lambda c: endpoints.find(c, endpoint_id, account_id))
        if row is None:
            faults.append(
                _fault("webhook/id", "no webhook endpoint of yours has this id", "an id of GET /api/webhooks")
            )
            return None
        if row.disabled_at is not None:
            faults.append(_disabled("webhook/id", row))
        return _Webhook(id=row.id, url=row.url)

    async def _by_url(self, url: str, account_id: str, faults: list[Fault]) -> _Webhook | None:
        try:
            kept = self._poster.read(url)
            row = await self._db.read(lambda c: endpoints.find_by_url(c, account_id, kept))
            if row is None:
                await self._poster.check(kept)
        except MediaRefused as error:
            faults.append(_fault("webhook/url", str(error), CALLED))
            return None
        if row is not None and row.disabled_at is not None:
            faults.append(_disabled("webhook/url", row))
        return _Webhook(id=None if row is None else row.id, url=kept)


def _disabled(at: str, row: endpoints.EndpointRow) -> Fault:
    return _fault(
        at, f"the endpoint is disabled: {row.disabled_why}", f"POST /api/webhooks/{row.id}/enable, then again"
    )


def _fault(at: str, message: str, allowed: str, code: str = "not_allowed") -> Fault:
    return Fault(pointer=pointer("delivery", *at.split("/")), code=code, message=message, allowed=allowed)
