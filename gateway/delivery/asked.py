"""How a caller asks to be told of a job's end, as it goes over the wire. camelCase outside."""

from typing import Annotated

from msgspec import Meta, Struct

__all__ = ["DeliveryRequest", "DeliveryShown", "WebhookTarget"]


class WebhookTarget(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """Where to call: by URL or by id, one of them."""

    url: Annotated[str, Meta(max_length=8192)] | None = None
    """https; an endpoint is made of it at its first use."""
    id: Annotated[str, Meta(max_length=40)] | None = None
    """An endpoint of `GET /api/webhooks`."""


class DeliveryRequest(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """How the end of a job is told; without any, whoever asks for the job learns it."""

    email: bool | None = None
    """To the account's own address, with the pictures. Not said: where a normal account's job waits."""
    webhook: WebhookTarget | None = None


class DeliveryShown(Struct, frozen=True, kw_only=True, rename="camel"):
    """How the end of a job is told; `GET /api/deliveries?jobId=...` says whether it was."""

    email: bool
    webhook_id: str | None
    """The endpoint that is called."""
