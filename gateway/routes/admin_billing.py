"""`/api/admin/billing`: what providers bill us, against what was expected and what was known."""

from datetime import date, timedelta
from typing import Annotated, Any

from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import QueryParameter
from sqlalchemy.exc import IntegrityError

from billing.recosts import TooOften
from gateway.access import ADMIN
from gateway.accounts.principals import Principal
from gateway.answers import may, takes
from gateway.bodies import read_body
from gateway.core import Core
from gateway.problems import Problem
from gateway.recosts import CorrectionsRequest, CorrectionsView, book
from gateway.schemas import json_response
from gateway.variance import MOST_DAYS, VarianceView, read_variance, today

__all__ = ["enter_corrections", "variance"]

_DAY: dict[str, Any] = {"format": "date"}
FIRST = date(1970, 2, 1)
From = Annotated[
    str | None,
    QueryParameter(name="from", description="First day (UTC); 30 days ago if not given", schema_extra=_DAY),
]
To = Annotated[
    str | None,
    QueryParameter(
        name="to", description="Last day (UTC), itself too; today if not given", schema_extra=_DAY
    ),
]


@get("/api/admin/billing/variance", summary="What providers bill too much", tags=["Operators"], opt=ADMIN)
async def variance(core: NamedDependency[Core], from_: From = None, to: To = None) -> Response[VarianceView]:
    """By day, provider and model: what was billed beside what our list of prices says, where the two differ.
    More than 5 % or a dollar a day is `reported`, here and in the log.
    """
    last = _day("to", to) or today(core.ambient)
    first = _day("from", from_) or max(last, FIRST) - timedelta(days=30)
    if not timedelta() <= last - first < timedelta(days=MOST_DAYS):
        raise Problem("bad_request", f"from, to: give 1 to {MOST_DAYS} days, the first of them first")
    return json_response(await read_variance(core.db, first, last))


def _day(name: str, text: str | None) -> date | None:
    try:
        return None if text is None else date.fromisoformat(text)
    except ValueError as error:
        raise Problem("bad_request", f"{name}: {text!r} is no day; write it like 2026-01-31") from error


@post(
    "/api/admin/billing/corrections",
    status_code=200,
    summary="Correct what a provider bills",
    tags=["Operators"],
    opt=ADMIN
    | takes(
        CorrectionsRequest,
        {
            "provider": "fal",
            "corrections": [
                {"attemptId": "att_...", "totalMicros": 30_000, "note": "fal's bill of November"}
            ],
        },
    )
    | may("not_found", "correction_refused"),
)
async def enter_corrections(
    request: Request[Any, Any, Any], core: NamedDependency[Core], principal: NamedDependency[Principal]
) -> Response[CorrectionsView]:
    """Enter what a provider billed where the books have another amount: `gateway billing reconcile --apply`
    does. The entries are of the kind `recost`; what is in the books already is not entered again.
    """
    body = await read_body(request, CorrectionsRequest)
    if body.provider not in core.catalog.data.providers:
        raise Problem("not_found", f"The registry has no provider {body.provider!r}")
    at = core.ambient.now_ms()
    try:
        made = await core.db.write(
            lambda c: book(c, core.ambient, body.provider, body.corrections, principal.actor, at)
        )
    except (IntegrityError, TooOften) as error:
        why = str(error) if isinstance(error, TooOften) else "Somebody corrects the same at this moment"
        raise Problem("correction_refused", f"{why}. Nothing was entered; compare again") from error
    return json_response(made)
