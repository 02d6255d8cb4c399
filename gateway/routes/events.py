"""`GET /api/jobs/{id}/events`: a job, live."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated, Any

from litestar import Response, get
from litestar.di import NamedDependency
from litestar.params import FromPath, HeaderParameter, QueryParameter
from litestar.response.sse import ServerSentEventMessage
from litestar.response.streaming import ASGIStreamingResponse, Stream
from litestar.types import Receive, Send

from gateway.accounts.principals import Principal
from gateway.answers import may
from gateway.core import Core
from gateway.jobs.events import Event, Events, Seen
from gateway.schemas import as_json

__all__ = ["EventStream", "job_events", "message"]

MEDIA_TYPE = "text/event-stream"
LONGEST_S = 3600
RETRY_MS = 2000
"""How long a client waits before it comes back."""


class _Sending(ASGIStreamingResponse):
    """Gives back what the stream holds as soon as its client is gone, wherever it was then."""

    __slots__ = ("chunks",)

    def __init__(self, chunks: AsyncGenerator[bytes, None], headers: dict[str, Any]) -> None:
        super().__init__(iterator=chunks, headers=headers, media_type=MEDIA_TYPE)
        self.chunks = chunks

    async def send_body(self, send: Send, receive: Receive) -> None:
        async with aclosing(self.chunks):
            await super().send_body(send, receive)


class EventStream(Stream):
    """Server-sent events."""

    def __init__(self, chunks: AsyncGenerator[bytes, None]) -> None:
        super().__init__(chunks, headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        self.chunks = chunks

    def to_asgi_response(self, *args: Any, **kwargs: Any) -> _Sending:
        """Of all that Litestar hands over, the headers matter here."""
        return _Sending(self.chunks, {**(kwargs.get("headers") or {}), **self.headers})


@get(
    "/api/jobs/{job_id:str}/events",
    summary="A job, live",
    tags=["Jobs"],
    media_type=MEDIA_TYPE,
    opt=may("too_many_streams"),
)
async def job_events(
    job_id: FromPath[str],
    core: NamedDependency[Core],
    principal: NamedDependency[Principal],
    wait: Annotated[
        int,
        QueryParameter(
            ge=0, le=LONGEST_S, description="Seconds after which the stream ends; 0: how it stands now"
        ),
    ] = LONGEST_S,
    last_event_id: Annotated[
        str | None,
        HeaderParameter(name="Last-Event-ID", description="`id` of the last event that was seen"),
    ] = None,
) -> Response[Any]:
    """A job's server-sent events: `status`, `progress`, `log` and `image` as they come, and `done` with the
    job at its end, whichever replica runs it.

    The stream may end before `done`: come back with the last event's id then, as an EventSource does by
    itself. How the job stands is told again, lines and pictures are not. Who has seen `done` is answered
    204, which ends an EventSource.
    """
    await core.job(job_id, principal.account_id)
    core.events.check(principal.account_id)
    seen = Seen.read(last_event_id)
    if seen.done:
        return Response(None, status_code=204)
    return EventStream(_chunks(core.events, job_id, principal.account_id, seen, wait))


async def _chunks(
    events: Events, job_id: str, account_id: str, seen: Seen, seconds: float
) -> AsyncGenerator[bytes, None]:
    """The stream as it goes over the wire."""
    yield f"retry: {RETRY_MS}\n\n".encode()
    async with aclosing(events.follow(job_id, account_id, seen, seconds)) as found:
        async for event in found:
            yield b":\n\n" if event is None else message(event)


def message(event: Event) -> bytes:
    """An event as it goes over the wire."""
    return ServerSentEventMessage(data=as_json(event.data), event=event.name, id=event.id, sep="\n").encode()
