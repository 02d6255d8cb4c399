"""What goes over the wire in a job's event stream: the `data` of each event."""

from msgspec import Struct

from gateway.schemas import ImageView

__all__ = ["ImageEvent", "LogEvent", "StatusEvent"]


class StatusEvent(Struct, frozen=True, kw_only=True, rename="camel"):
    """`status`: first of all, and whenever it changes."""

    job_id: str
    status: str
    """As in the job."""
    runs_at: str | None
    """When the batch window is that a scheduled job waits for."""


class LogEvent(Struct, frozen=True, kw_only=True, rename="camel"):
    """`log`: lines of the provider's log."""

    first: int
    """How many lines came before these; a gap to the event before is lines that are not kept."""
    lines: tuple[str, ...]


class ImageEvent(Struct, frozen=True, kw_only=True, rename="camel"):
    """`image`: a picture that has come. Those of several calls may come in another order than theirs."""

    index: int
    """Its place among the job's pictures, from 0."""
    image: ImageView
