"""What the reports are asked, as it comes in a query: every fault at once, by its parameter."""

import re
from collections.abc import Callable, Sequence
from datetime import date
from typing import Annotated, Any, TypeVar

from litestar import Request
from litestar.datastructures import State
from litestar.params import QueryParameter
from msgspec import Struct

from billing.movements import KINDS, MovementFilter
from billing.reports import DIMENSIONS, Dimension, UsageFilter, day_number
from billing.usage import DAY_MS
from gateway.accounts.keys import PREFIX
from gateway.core import Core
from gateway.csv_table import MEDIA_TYPE as CSV
from gateway.problems import Problem
from gateway.routes.job_filter import id_of_model
from registry.errors import Fault, pointer

__all__ = [
    "FORMATS",
    "LedgerQuery",
    "Span",
    "UsageQuery",
    "admin_usage_query",
    "ledger_query",
    "usage_query",
    "wanted",
]

T = TypeVar("T")

USER = "userId"
NO_KEY = "none"
FORMATS = ("json", "csv")
DATES = "A date (UTC) like 2026-01-31"

_DATE: dict[str, Any] = {"format": "date", "examples": ["2026-01-31"]}
OWN_DIMENSIONS = tuple(USER if one == "user" else one for one in DIMENSIONS if one != "account")
EVERY_DIMENSION = ("account", *OWN_DIMENSIONS)
BY_NAME: dict[str, Dimension] = {USER if one == "user" else one: one for one in DIMENSIONS}

From = Annotated[
    str | None, QueryParameter(name="from", description=f"On this day or later. {DATES}", schema_extra=_DATE)
]
To = Annotated[
    str | None, QueryParameter(name="to", description=f"On this day or earlier. {DATES}", schema_extra=_DATE)
]


def _by(names: Sequence[str]) -> QueryParameter:
    said = f"What each row is of: {', '.join(names)}; several times, or with commas. Without it: day"
    item = {"type": "string", "examples": ["day", "day,model"]}
    return QueryParameter(name="by", description=said, schema_extra={"items": item})


def _only(what: str, name: str | None = None) -> QueryParameter:
    said = f"Of {what} alone; may be given several times"
    return QueryParameter(name=name, description=said, schema_extra={"items": {"type": "string"}})


OwnBy = Annotated[list[str] | None, _by(OWN_DIMENSIONS)]
EveryBy = Annotated[list[str] | None, _by(EVERY_DIMENSION)]
Models = Annotated[list[str] | None, _only("this model, by its id or an alias,")]
Providers = Annotated[list[str] | None, _only("this provider")]
Keys = Annotated[list[str] | None, _only("the API key of this id (`none`: jobs that came without one)")]
Users = Annotated[list[str] | None, _only("this end user of yours, as it was sent,", USER)]
OfAccount = Annotated[str | None, QueryParameter(description="Of this account alone")]
Format = Annotated[
    str | None,
    QueryParameter(
        name="format",
        description="`json` or `csv`; without it as `Accept` says",
        schema_extra={"enum": [*FORMATS, None]},
    ),
]
Kinds = Annotated[
    list[str] | None,
    QueryParameter(
        name="kind",
        description=f"Of one of these kinds alone: {', '.join(KINDS)}; several times, or with commas",
        schema_extra={"items": {"type": "string", "examples": list(KINDS)}},
    ),
]
OfJob = Annotated[
    str | None, QueryParameter(name="jobId", description="Of this job alone: its own, and its refunds")
]


class Span(Struct, frozen=True, kw_only=True):
    """Some days; both are within."""

    first: date | None = None
    last: date | None = None

    @property
    def words(self) -> str:
        """For a file's name."""
        parts = [f"from-{self.first}" if self.first else "", f"to-{self.last}" if self.last else ""]
        return "-".join(part for part in parts if part) or "all"


class UsageQuery(Struct, frozen=True, kw_only=True):
    """Which usage, and how it is written."""

    by: tuple[Dimension, ...]
    only: UsageFilter
    span: Span
    format: str


class LedgerQuery(Struct, frozen=True, kw_only=True):
    """Which movements, and how they are written."""

    only: MovementFilter
    span: Span
    format: str


class _Reader:
    """Reads a query's parameters and collects what is wrong with them."""

    def __init__(self, request: Request[Any, Any, Any], known: Sequence[str]) -> None:
        self.request = request
        self.faults: list[Fault] = []
        for name in dict.fromkeys(request.query_params):
            if name not in known:
                allowed = ", ".join(known)
                self.fault(name, "unknown_parameter", f"{name!r} is no parameter of this report", allowed)

    def fault(self, name: str, code: str, message: str, allowed: str | None = None) -> None:
        self.faults.append(Fault(pointer=pointer("query", name), code=code, message=message, allowed=allowed))

    def span(self, first: str | None, last: str | None) -> Span:
        found = Span(first=self._date("from", first), last=self._date("to", last))
        if found.first and found.last and found.first > found.last:
            self.fault("from", "out_of_range", f"{first} is after {last}", f"{last} or earlier")
        return found

    def _date(self, name: str, text: str | None) -> date | None:
        if text is None:
            return None
        try:
            # The standard library reads other forms as well.
            if not re.fullmatch("[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
                raise ValueError(text)
            return date.fromisoformat(text)
        except ValueError:
            self.fault(name, "wrong_type", f"{text!r} is no date", DATES)
            return None

    def words(self, name: str, given: Sequence[str] | None, allowed: Sequence[str]) -> tuple[str, ...]:
        """Of some words each once; an item may hold several, with commas."""
        found = [word.strip() for item in given or () for word in item.split(",")]
        for word in found:
            if word not in allowed:
                self.fault(name, "not_allowed", f"{word!r} is none of them", ", ".join(allowed))
        return tuple(dict.fromkeys(found))

    def texts(
        self, name: str, given: Sequence[str] | None, read: Callable[[str], str] = str
    ) -> tuple[str, ...]:
        if any("\0" in text for text in given or ()):
            self.fault(name, "wrong_type", "it holds a character that no name has (U+0000)")
            return ()
        return tuple(dict.fromkeys(read(text) for text in given or ()))

    def format(self, given: str | None) -> str:
        return wanted(self.request, given, FORMATS, CSV, self.faults)

    def done(self, value: T) -> T:
        """What was read.

        Raises:
            Problem: `invalid_query`, with every fault.
        """
        if self.faults:
            raise invalid_query(self.faults)
        return value


def invalid_query(faults: list[Fault]) -> Problem:
    """The problem of a query with faults."""
    said = "; ".join(f"{one.pointer}: {one.message}" for one in faults)
    return Problem(
        "invalid_query", f"{len(faults)} fault{'s' if len(faults) > 1 else ''}: {said}", errors=faults
    )


def wanted(
    request: Request[Any, Any, Any],
    given: str | None,
    allowed: tuple[str, str],
    media_type: str,
    faults: list[Fault],
) -> str:
    """JSON, or the other form that a report has.

    Args:
        request: whose Accept header says it, where the query does not.
        given: what the query says.
        allowed: `json`, and the other one's name.
        media_type: the other one's.
        faults: gets one more when the query names another.
    """
    if given is None:
        asked = request.accept.best_match(["application/json", media_type], default="application/json")
        return allowed[1] if asked == media_type else allowed[0]
    if given not in allowed:
        message = f"{given!r} is none of them"
        faults.append(
            Fault(
                pointer=pointer("query", "format"),
                code="not_allowed",
                message=message,
                allowed=", ".join(allowed),
            )
        )
    return given


def usage_query(
    request: Request[Any, Any, Any],
    state: State,
    start: From = None,
    end: To = None,
    by: OwnBy = None,
    model: Models = None,
    provider: Providers = None,
    key: Keys = None,
    users: Users = None,
    form: Format = None,
) -> UsageQuery:
    """What a usage report is asked for, for the caller's own account.

    Raises:
        Problem: `invalid_query`.
    """
    return _usage(request, state.core, OWN_DIMENSIONS, start, end, by, model, provider, key, users, form)


def admin_usage_query(
    request: Request[Any, Any, Any],
    state: State,
    start: From = None,
    end: To = None,
    by: EveryBy = None,
    model: Models = None,
    provider: Providers = None,
    key: Keys = None,
    users: Users = None,
    form: Format = None,
    account: OfAccount = None,
) -> UsageQuery:
    """What an admin's usage report is asked for.

    Raises:
        Problem: `invalid_query`.
    """
    return _usage(
        request,
        state.core,
        EVERY_DIMENSION,
        start,
        end,
        by,
        model,
        provider,
        key,
        users,
        form,
        account,
        ("account",),
    )


def _usage(
    request: Request[Any, Any, Any],
    core: Core,
    dimensions: Sequence[str],
    start: str | None,
    end: str | None,
    by: list[str] | None,
    model: list[str] | None,
    provider: list[str] | None,
    key: list[str] | None,
    users: list[str] | None,
    form: str | None,
    account: str | None = None,
    more: tuple[str, ...] = (),
) -> UsageQuery:
    reader = _Reader(request, ("from", "to", "by", "model", "provider", "key", USER, "format", *more))
    span = reader.span(start, end)
    names = reader.words("by", by, dimensions) or ("day",)
    whose = reader.texts("account", None if account is None else [account])
    only = UsageFilter(
        account_id=whose[0] if whose else None,
        first_day=None if span.first is None else day_number(span.first),
        last_day=None if span.last is None else day_number(span.last),
        models=reader.texts("model", model, lambda name: id_of_model(core, name)),
        providers=reader.texts("provider", provider),
        keys=reader.texts("key", key, _key_id),
        users=reader.texts(USER, users),
    )
    form = reader.format(form)
    return reader.done(
        UsageQuery(
            by=tuple(BY_NAME[name] for name in names if name in BY_NAME),
            only=only,
            span=span,
            format=form,
        )
    )


def _key_id(text: str) -> str:
    """An API key by its id, or by how it begins; jobs without one."""
    return "" if text == NO_KEY else text.removeprefix(PREFIX)


def ledger_query(
    request: Request[Any, Any, Any],
    kind: Kinds = None,
    start: From = None,
    end: To = None,
    job_id: OfJob = None,
    form: Format = None,
) -> LedgerQuery:
    """Which movements a query asks for.

    Raises:
        Problem: `invalid_query`.
    """
    reader = _Reader(request, ("from", "to", "kind", "jobId", "format", "limit", "cursor"))
    span = reader.span(start, end)
    job = reader.texts("jobId", None if job_id is None else [job_id])
    only = MovementFilter(
        kinds=reader.words("kind", kind, KINDS),
        start=None if span.first is None else day_number(span.first) * DAY_MS,
        end=None if span.last is None else (day_number(span.last) + 1) * DAY_MS,
        job_id=job[0] if job else None,
    )
    return reader.done(LedgerQuery(only=only, span=span, format=reader.format(form)))
