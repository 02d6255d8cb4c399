"""The seam between the gateway and those who make images.

A provider is job-shaped: `submit` hands back a `Handle` small enough to store, and the runner
polls it until it ends. So a restart loses nothing, and cadence, deadline and cancel are
written once, in the runner. A provider that answers at once returns `Succeeded` from `submit`.

A provider never sees an HTTP request of ours, an account or money.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol, runtime_checkable

import msgspec
from msgspec import Struct

from providers.errors import ProviderError
from registry.schema import ProviderRow, Route

__all__ = [
    "Call",
    "CallsBack",
    "Failed",
    "Group",
    "Handle",
    "ImageBytes",
    "ImageUrl",
    "MediaRef",
    "MediaSource",
    "NoMedia",
    "Poll",
    "Provider",
    "ProviderContext",
    "RemoteImage",
    "Running",
    "Succeeded",
    "TakesGroups",
    "Unavailable",
    "Waiting",
    "Webhook",
    "WebhookRefused",
    "revive_media",
]


class MediaRef(Struct, frozen=True, kw_only=True, tag_field="$type", tag="media"):
    """A user's image or weights, by reference; it becomes a URL or bytes at submit, not before.

    The tag lets a payload go through JSON and come back: see `revive_media`.
    """

    url: str
    """What the caller gave: https, data or s3 URL, or an upload id; for people."""
    key: str | None = None
    """Where our copy of it is; None until it was fetched and checked."""
    content_type: str | None = None
    size: int | None = None
    """Bytes."""
    sha256: str | None = None
    width: int | None = None
    """Pixels, of a picture that was fetched."""
    height: int | None = None


class MediaSource(Protocol):
    """Gives a provider the bytes behind a `MediaRef`, at submit."""

    async def read(self, ref: MediaRef) -> bytes:
        """The bytes of our copy.

        Raises:
            OutputFetchFailed: it is gone from the store.
        """
        ...


class NoMedia:
    """The source of a call whose payload holds no media."""

    async def read(self, ref: MediaRef) -> bytes:
        """Never called: there is nothing to read."""
        raise LookupError(f"nothing is kept of {ref.url[:80]}")


def revive_media(value: Any) -> Any:
    """A payload read back from JSON, its media references made `MediaRef` again."""
    if isinstance(value, dict):
        if value.get("$type") == "media":
            return msgspec.convert(value, MediaRef)
        return {key: revive_media(item) for key, item in value.items()}
    return [revive_media(item) for item in value] if isinstance(value, list) else value


class Group(Struct, frozen=True, kw_only=True):
    """Calls that are made at about the same time, and that a provider may run as one."""

    id: str
    size: int
    """Calls that it has at most: one that is canceled never comes."""


class Call(Struct, frozen=True, kw_only=True):
    """One attempt at a route."""

    id: str
    """The attempt's id, ours. A provider whose submit is idempotent keys on it."""
    route: Route
    payload: dict[str, Any]
    """The request in the endpoint's own words, as the normalizer wrote it."""
    num_images: int
    timeout_s: float
    """Seconds left until the job's deadline."""
    media: "MediaSource" = NoMedia()
    """Reads the media in the payload."""
    webhook: str | None = None
    """An address of ours to be called when the job has ended: a secret of this attempt. A provider
    that calls nobody does without.
    """
    group: Group | None = None
    """Of calls that differ in their texts and seeds alone; for a provider that is a `TakesGroups`."""


class Handle(Struct, frozen=True, kw_only=True):
    """A provider's job, small enough to store; whoever holds it can poll, cancel or resume."""

    provider: str
    remote_id: str
    extra: dict[str, str] = {}
    """What the provider needs beside the id (its URLs). No secret: it is stored."""


class ImageBytes(Struct, frozen=True, kw_only=True):
    """A picture that came with the answer."""

    data: bytes
    content_type: str
    seed: int | None = None


class ImageUrl(Struct, frozen=True, kw_only=True):
    """A picture still to be fetched."""

    url: str
    content_type: str | None = None
    seed: int | None = None


RemoteImage = ImageBytes | ImageUrl


class Waiting(Struct, frozen=True, kw_only=True):
    """Taken, not started."""

    position: int | None = None
    """Jobs ahead of this one."""


class Running(Struct, frozen=True, kw_only=True):
    """Under way."""

    step: int | None = None
    steps: int | None = None
    phase: str | None = None
    """`load`, `denoise`, `decode` and the like; for people."""
    logs: tuple[str, ...] = ()
    """Every line of its log so far, oldest first, of a provider that has one."""


class Succeeded(Struct, frozen=True, kw_only=True):
    """Done: the pictures and what the provider says it took."""

    images: tuple[RemoteImage, ...]
    run_seconds: float | None = None
    load_seconds: float | None = None
    billable_units: str | None = None
    """A decimal in the provider's own unit, as text: it is money."""
    revised_prompt: str | None = None
    """The prompt that was drawn, as the provider says."""
    logs: tuple[str, ...] = ()
    """Every line of its log, oldest first, of a provider that has one."""


class Failed(Struct, frozen=True, kw_only=True):
    """Ended without a picture."""

    error: ProviderError


Poll = Waiting | Running | Succeeded | Failed


class Unavailable(Struct, frozen=True, kw_only=True):
    """Why a provider cannot be used, and what to set so that it can."""

    reason: str
    setting: str | None = None
    """The environment variable to set."""


class ProviderContext(Struct, frozen=True, kw_only=True):
    """What a provider is built from."""

    name: str
    """The registry's name of the instance."""
    row: ProviderRow
    env: Mapping[str, str]
    """The process's environment; a provider reads its own names from it and no others."""
    data_dir: str
    """The gateway's data folder, absolute."""

    def __repr__(self) -> str:
        # The environment holds every key of the gateway.
        return f"ProviderContext(name={self.name!r})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("name", self.name)]


@runtime_checkable
class Provider(Protocol):
    """One host of models. Held to `providers.conformance.ProviderContract`."""

    type: ClassVar[str]
    """The `type` that the registry's `providers` rows name."""

    @classmethod
    def unavailable(cls, context: ProviderContext, route: Route) -> Unavailable | None:
        """Why this route cannot be used as the environment stands; None when it can. No I/O
        but reading local files, and no import of a heavy library.
        """
        ...

    @classmethod
    def create(cls, context: ProviderContext) -> "Provider":
        """Build the provider. Called once, only when a route of it is about to be used."""
        ...

    def idempotent_submit(self, route: Route) -> bool:
        """Whether a second submit with the same `Call.id` returns the first one's job, on this
        route: then, and only then, may a submit that got no answer be sent again.
        """
        ...

    async def submit(self, call: Call) -> Handle | Succeeded:
        """One attempt; never repeated inside.

        Raises:
            SubmitUnknown: the request may have been taken, but no answer came.
            ProviderError: any other class: it was provably not taken.
        """
        ...

    def handle_for(self, route: Route, remote_id: str) -> Handle:
        """The handle of a job that the provider has under this id, for an operator who looked it
        up after a submit that got no answer. No I/O.

        Raises:
            RequestRejected: that is no id of this provider.
        """
        ...

    async def poll(self, handle: Handle) -> Poll:
        """One look at the job; returns within seconds. A fresh instance can poll an old handle.

        Raises:
            ProviderUnavailable: the provider could not be asked; the job may well go on.
        """
        ...

    async def cancel(self, handle: Handle) -> None:
        """Ask for the job's end. Best effort, idempotent; unknown and ended jobs are no error."""
        ...

    async def aclose(self) -> None:
        """Close connections. Idempotent."""
        ...


@runtime_checkable
class TakesGroups(Provider, Protocol):
    """A provider that runs calls of one `Group` as one. Each keeps its own submit, handle and end."""

    def group_limit(self, route: Route, payload: Mapping[str, Any], num_images: int) -> int:
        """How many calls like this one may make up a group; 1: each runs by itself. No I/O."""
        ...


class Webhook(Struct, frozen=True, kw_only=True):
    """What a provider's call to us is about. It says "look now": the result is what a poll finds."""

    request_ids: tuple[str, ...]
    """The ids that it gives the job; the one to poll by is the first."""
    ours: bool
    """Whether it is proven to be of our account at the provider, not of just anybody's."""


class WebhookRefused(Exception):
    """A call to us is not the provider's, not of our account, not whole, or too old."""


@runtime_checkable
class CallsBack(Provider, Protocol):
    """A provider that calls `Call.webhook` when a job has ended."""

    async def read_webhook(self, headers: Mapping[str, str], body: bytes, now_s: float) -> Webhook:
        """What such a call is about, once it is proven to be this provider's.

        Args:
            headers: the call's, their names in small letters.
            body: as it came, byte for byte.
            now_s: seconds since 1970 UTC.

        Raises:
            WebhookRefused: it is not the provider's, not for us, or too old.
            ProviderUnavailable: what proves it cannot be had now; the call is worth repeating.
        """
        ...
