"""The filters of the lists of jobs, as they come in a query."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from litestar.datastructures import State
from litestar.di import Provide
from litestar.params import QueryParameter

from gateway.core import Core
from gateway.jobs.queries import JobFilter
from gateway.problems import Problem
from registry.errors import UnknownModel

__all__ = ["FILTERED", "STATUSES", "id_of_model", "job_filter", "read_moment", "read_statuses"]

STATUSES = ("scheduled", "queued", "running", "storing", "completed", "failed", "canceled", "unknown")

_MOMENT: dict[str, Any] = {"format": "date-time"}
_SAYS = "ISO 8601; UTC where it names no zone"

Status = Annotated[
    list[str] | None,
    QueryParameter(
        description="Of one of these alone: several times, or with commas",
        schema_extra={"items": {"type": "string", "enum": list(STATUSES)}},
    ),
]
Named = Annotated[str | None, QueryParameter(description="Of this model alone, by its id or an alias")]
User = Annotated[
    str | None, QueryParameter(name="userId", description="Of this end user of yours alone, as it was sent")
]
After = Annotated[
    str | None,
    QueryParameter(name="createdAfter", description=f"Made then or later. {_SAYS}", schema_extra=_MOMENT),
]
Before = Annotated[
    str | None,
    QueryParameter(name="createdBefore", description=f"Made before then. {_SAYS}", schema_extra=_MOMENT),
]


def job_filter(
    state: State,
    status: Status = None,
    model: Named = None,
    user_id: User = None,
    created_after: After = None,
    created_before: Before = None,
) -> JobFilter:
    """Which jobs a query asks for.

    Raises:
        Problem: `bad_request`, naming the parameter.
    """
    core: Core = state.core
    return JobFilter(
        statuses=read_statuses(status or ()),
        model=None if model is None else id_of_model(core, model),
        end_user=user_id,
        created_from=read_moment("createdAfter", created_after),
        created_before=read_moment("createdBefore", created_before),
    )


def id_of_model(core: Core, name: str) -> str:
    """The id of a model that is given by its id or an alias; one that is in no registry any more as it is."""
    try:
        return core.catalog.model(name).id
    except UnknownModel:  # the registry has it no more; its jobs are there all the same
        return name


FILTERED = {"only": Provide(job_filter, sync_to_thread=False)}
"""For a handler that asks for `only`: its query has the filters."""


def read_statuses(given: Sequence[str]) -> tuple[str, ...]:
    """Statuses, each of them once; an item may hold several, with commas.

    Raises:
        Problem: `bad_request`.
    """
    names = [name.strip() for item in given for name in item.split(",")]
    wrong = [name for name in names if name not in STATUSES]
    if wrong:
        raise Problem("bad_request", f"status: {wrong[0]!r} is none; give of {', '.join(STATUSES)}")
    return tuple(dict.fromkeys(names))


def read_moment(name: str, text: str | None) -> int | None:
    """A date, or date and time, as milliseconds UTC.

    Raises:
        Problem: `bad_request`.
    """
    if text is None:
        return None
    try:
        # A + that was not written as %2B comes as a blank.
        at = datetime.fromisoformat(text.strip().replace(" ", "+") if "T" in text else text)
    except ValueError as error:
        raise Problem(
            "bad_request",
            f"{name}: {text!r} is no time; write it like 2026-01-31T12:00:00Z, or 2026-01-31",
        ) from error
    aware = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return (aware - datetime.fromtimestamp(0, UTC)) // timedelta(milliseconds=1)
