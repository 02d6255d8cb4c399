"""What goes over the wire about webhook endpoints and deliveries. camelCase outside."""

from typing import Annotated
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Struct, structs

from gateway.ambient import iso
from gateway.delivery.endpoints import EndpointRow
from gateway.delivery.events import read_event
from gateway.delivery.outbox import Row
from gateway.mail.letters import Letter

__all__ = [
    "AdminDeliveryList",
    "AdminDeliveryView",
    "DeliveryList",
    "DeliveryView",
    "EmptyRequest",
    "EndpointList",
    "EndpointRequest",
    "EndpointView",
    "NewEndpointView",
    "SecretView",
    "TestedView",
    "admin_delivery_view",
    "delivery_view",
    "endpoint_view",
    "new_endpoint_view",
]


class EndpointRequest(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """The body of `POST /api/webhooks`."""

    url: Annotated[str, Meta(min_length=1, max_length=8192)]
    """https, on a public host."""


class EmptyRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body where there is nothing to say: an empty object."""


class EndpointView(Struct, frozen=True, kw_only=True, rename="camel"):
    """Where an account is called."""

    id: str
    url: str
    created_at: str
    disabled_at: str | None
    """Nothing is sent to it since."""
    disabled_because: str | None


class NewEndpointView(EndpointView, frozen=True, kw_only=True, rename="camel"):
    """An endpoint that was just made, or was there already."""

    secret: str
    """What its receiver verifies our calls with: `whsec_...`, for any library of Standard Webhooks."""


class EndpointList(Struct, frozen=True, kw_only=True, rename="camel"):
    """An account's endpoints, oldest first."""

    webhooks: tuple[EndpointView, ...]


class SecretView(Struct, frozen=True, kw_only=True, rename="camel"):
    """An endpoint's secret."""

    secret: str


class TestedView(Struct, frozen=True, kw_only=True, rename="camel"):
    """What an endpoint answered to a `webhook.test`."""

    message_id: str
    delivered: bool
    """It answered 2xx."""
    status_code: int | None
    error: str | None


class DeliveryView(Struct, frozen=True, kw_only=True, rename="camel"):
    """One mail or one call, sent or to be sent."""

    id: str
    """The Message-ID's first part; the `webhook-id`."""
    kind: str
    """email or webhook"""
    type: str
    """job.completed, job.failed, job.canceled, or letter.*: the gateway's own"""
    state: str
    """open, sent or failed"""
    recipient: str
    job_id: str | None
    webhook_id: str | None
    tries: int
    created_at: str
    due_at: str | None
    """When it is tried next; null unless it is open."""
    sent_at: str | None
    failed_at: str | None
    status_code: int | None
    """HTTP status of the last answer."""
    error: str | None
    """Of the last try."""


class DeliveryList(Struct, frozen=True, kw_only=True, rename="camel"):
    """A page of deliveries, newest first."""

    deliveries: tuple[DeliveryView, ...]
    next_cursor: str | None
    """Give it as `cursor` for the next page; null on the last."""


class AdminDeliveryView(DeliveryView, frozen=True, kw_only=True, rename="camel"):
    """A delivery as an admin sees it: of a URL its host alone, for the rest may be a secret."""

    account_id: str | None
    """Whose it is; null: a letter of the gateway's own."""


class AdminDeliveryList(Struct, frozen=True, kw_only=True, rename="camel"):
    """A page of everybody's deliveries, newest first."""

    deliveries: tuple[AdminDeliveryView, ...]
    next_cursor: str | None


def endpoint_view(row: EndpointRow) -> EndpointView:
    """An endpoint as its owner sees it."""
    return EndpointView(
        id=row.id,
        url=row.url,
        created_at=iso(row.created_at),
        disabled_at=_iso(row.disabled_at),
        disabled_because=row.disabled_why,
    )


def new_endpoint_view(row: EndpointRow, secret: str) -> NewEndpointView:
    """An endpoint with its secret."""
    return NewEndpointView(**structs.asdict(endpoint_view(row)), secret=secret)


def delivery_view(row: Row) -> DeliveryView:
    """A delivery as its owner sees it."""
    return DeliveryView(
        id=row.id,
        kind=row.kind,
        type=_type(row),
        state=row.state,
        recipient=row.recipient,
        job_id=row.job_id,
        webhook_id=row.webhook_id,
        tries=row.tries,
        created_at=iso(row.created_at),
        due_at=iso(row.due_at) if row.state == "open" else None,
        sent_at=_iso(row.sent_at),
        failed_at=_iso(row.failed_at),
        status_code=row.status_code,
        error=row.error,
    )


def admin_delivery_view(row: Row) -> AdminDeliveryView:
    """A delivery as an admin sees it."""
    plain = structs.asdict(delivery_view(row))
    if row.kind == "webhook":
        parts = urlsplit(row.recipient)
        plain["recipient"] = f"{parts.scheme}://{parts.netloc}"
    return AdminDeliveryView(**plain, account_id=row.account_id)


def _type(row: Row) -> str:
    if row.job_id is not None:
        return read_event(row.message).type
    return f"letter.{msgspec.json.decode(row.message, type=Letter).name}"


def _iso(at: int | None) -> str | None:
    return None if at is None else iso(at)
