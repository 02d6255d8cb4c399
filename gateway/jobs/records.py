"""What the job tables hold, typed."""

from typing import Any

import msgspec
from msgspec import Struct

from gateway.model_plan import Candidate, revived_candidates
from gateway.runs.records import RunRecord, revived
from gateway.schemas import ProgressView, RoutingView, Schedule
from providers.base import Group, Handle
from providers.normalizer import ReportRow

__all__ = [
    "TERMINAL",
    "UNDER_WAY",
    "Admitted",
    "AttemptRow",
    "Delivery",
    "ImageRow",
    "JobRow",
    "NewAttempt",
    "NewImage",
    "Progress",
    "decode_admitted",
]

TERMINAL = frozenset({"completed", "failed", "canceled"})
UNDER_WAY = frozenset({"queued", "running"})
"""Some process works at it, or should. As stored: `storing` is only shown."""


class Admitted(Struct, frozen=True, kw_only=True):
    """A request as it was let in: all that is needed to run it, also after a restart with another
    registry.
    """

    inputs: dict[str, Any]
    options: dict[str, Any]
    candidates: tuple[Candidate, ...]
    """None, of a template's run: its steps have theirs."""
    schedule: Schedule | None = None
    """As the request says."""
    cost_now_micros: int | None = None
    """Of a job that waits for a window: what it would have cost at once."""
    run: RunRecord | None = None
    """Of a template's run."""
    request_id: str | None = None
    """Of the request that it came with: for the log."""
    traceparent: str | None = None
    """Names the span of that request, as W3C has it."""
    restored: bool = False
    """It was under way in a backup that was put back: what may have been sent since is not sent again."""


def decode_admitted(text: str) -> Admitted:
    """Read a stored request back, its media references revived."""
    admitted = msgspec.json.decode(text, type=Admitted)
    run = None if admitted.run is None else revived(admitted.run)
    candidates = revived_candidates(admitted.candidates)
    return msgspec.structs.replace(admitted, candidates=candidates, run=run)


class Delivery(Struct, frozen=True, kw_only=True):
    """How a job's end is told, beside the job's own page."""

    email: bool = False
    """To the account's address."""
    webhook: str | None = None
    """The id of the endpoint that is called."""


class NewAttempt(Struct, frozen=True, kw_only=True):
    """An attempt about to be made."""

    id: str
    number: int
    candidate: int
    """Index among the job's candidates."""
    call: int
    """Index among the candidate's calls."""
    provider: str
    endpoint: str


class AttemptRow(Struct, frozen=True, kw_only=True):
    """A row of `attempt`."""

    id: str
    number: int
    route_index: int
    """Of the job's candidate."""
    call_index: int
    """Of the candidate's call."""
    provider: str
    endpoint: str
    status: str
    handle: Handle | None
    error_code: str | None
    error_message: str | None
    run_seconds: str | None
    revised_prompt: str | None
    """What the provider says that it drew, where that is not what it was sent."""
    started_at: int
    ended_at: int | None
    load_seconds: str | None = None
    provider_cost_micros: int | None = None
    """What its provider bills."""
    listed_cost_micros: int | None = None
    """What that should be by our list of its prices; None: the same."""
    billable_units: str | None = None
    """What the provider counted, in its own unit."""

    @classmethod
    def opened(cls, new: NewAttempt, at: int) -> "AttemptRow":
        """As it is stored when it was just opened, at milliseconds UTC."""
        return cls(
            id=new.id,
            number=new.number,
            route_index=new.candidate,
            call_index=new.call,
            provider=new.provider,
            endpoint=new.endpoint,
            status="not_sent",
            handle=None,
            error_code=None,
            error_message=None,
            run_seconds=None,
            revised_prompt=None,
            started_at=at,
            ended_at=None,
        )


class ImageRow(Struct, frozen=True, kw_only=True):
    """A row of `image`."""

    id: str
    position: int
    """Among the job's pictures, from 0."""
    storage_key: str
    content_type: str
    width: int
    height: int
    byte_size: int
    sha256: str
    seed: int | None
    name: str | None = None
    """Of a template's output."""


class NewImage(Struct, frozen=True, kw_only=True):
    """A picture that is in the store and about to get its row."""

    id: str
    position: int
    storage_key: str
    content_type: str
    width: int
    height: int
    byte_size: int
    sha256: str
    seed: int | None
    name: str | None = None
    """Of a template's output."""


class Progress(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the process that runs a job tells of it: the body of a row of `progress`."""

    status: str | None = None
    """Finer than the job's own: `storing`."""
    shown: ProgressView | None = None
    lines: tuple[str, ...] = ()
    """The end of its log."""
    logged: int = 0
    """Lines of its log in all."""
    read: dict[str, int] = {}
    """Of those, how many are of each attempt."""


class JobRow(Struct, frozen=True, kw_only=True):
    """A row of `job` with its attempts and images."""

    id: str
    account_id: str
    end_user: str | None
    status: str
    model: str
    provider: str
    registry_version: str
    admitted: Admitted
    report: tuple[ReportRow, ...]
    warnings: tuple[str, ...]
    routing: RoutingView
    quote_micros: int
    ceiling_micros: int
    charge_micros: int | None
    error_code: str | None
    error_message: str | None
    error_status: int | None
    cancel_requested: bool
    deadline_at: int
    created_at: int
    completed_at: int | None
    attempts: tuple[AttemptRow, ...]
    images: tuple[ImageRow, ...]
    progress: Progress | None = None
    """As the process that runs it stored it last."""
    runs_at: int | None = None
    """The batch window that it waits for, or ran in."""
    place: int | None = None
    """In that window, from 1, while it waits."""
    group: Group | None = None
    """With which others it was taken out of its window."""
    delivery: Delivery | None = None
    refunded_micros: int = 0
    """What was given back of its charge."""
    key_id: str | None = None
    """The API key that it came with."""
    template: str | None = None
    """Of a template's run."""
    parent_id: str | None = None
    """The run that it is a step of."""
    step: str | None = None
    """Its name there."""
    due_micros: int | None = None
    """Of a step that has ended: what its pictures cost its run."""
    steps: tuple["JobRow", ...] = ()
    """Of a run: the jobs of its steps, in the order in which they were let in."""

    @property
    def all_attempts(self) -> tuple[AttemptRow, ...]:
        """Its own, or those of its steps."""
        return self.attempts + tuple(one for step in self.steps for one in step.attempts)
