"""Errors as RFC 9457 problem documents: a stable `code`, the faults by JSON pointer, what to do next.

`CODES` is the list that docs/errors.md must hold (a test compares them). Codes of providers'
errors are in `providers.errors`, next to their classes.
"""

import logging
from decimal import Decimal
from typing import Any

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException
from msgspec import Struct

from gateway.accounts.budget_schemas import BudgetView
from gateway.limits import Taken
from providers.errors import ProviderError
from registry.errors import Fault, InvalidInputs, UnknownModel, UnknownPriceList
from templates.errors import TemplateError

__all__ = ["CODES", "MEDIA_TYPE", "Problem", "ProblemDocument", "as_problem", "problem_response", "too_many"]

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"

CODES: dict[str, tuple[int, str]] = {
    "bad_json": (400, "The body is not JSON"),
    "invalid_body": (400, "The body has the wrong shape"),
    "authentication_required": (401, "No credential"),
    "invalid_api_key": (401, "The API key is not good"),
    "invalid_session": (401, "The session has ended"),
    "wrong_credentials": (401, "The address or the password is wrong"),
    "bad_idempotency_key": (400, "The Idempotency-Key cannot be used"),
    "unknown_model": (400, "No such model"),
    "not_a_diffusers_model": (400, "Not a diffusers model"),
    "invalid_inputs": (422, "The inputs are wrong"),
    "invalid_variables": (422, "The template's variables are wrong"),
    "insufficient_funds": (402, "Not enough balance"),
    "weak_password": (422, "The password is too easily guessed"),
    "invalid_email": (422, "Not an address of mail"),
    "price_list_missing": (503, "The account's prices are not known"),
    "budget_exhausted": (402, "A budget is spent"),
    "foreign_host": (403, "Not addressed to this machine"),
    "foreign_origin": (403, "A web page of another origin may not call"),
    "cross_site_request": (403, "Not from a page of this gateway"),
    "admin_required": (403, "For admins alone"),
    "session_required": (403, "For who is signed in"),
    "missing_scope": (403, "The API key may not do this"),
    "account_closed": (403, "The account is closed"),
    "bad_webhook": (403, "Not a call of a provider's for us"),
    "premium_required": (403, "For premium accounts"),
    "signup_refused": (403, "Not everybody may have an account"),
    "not_found": (404, "Not here"),
    "unknown_template": (404, "No such template"),
    "no_thumbnail": (404, "The template has no thumbnail"),
    "no_preview": (422, "The template has nothing to compose"),
    "template_broken": (503, "The template cannot be used"),
    "method_not_allowed": (405, "This path does not take that method"),
    "slow_request": (408, "The body came too slowly"),
    "idempotency_in_flight": (409, "The same request is being answered"),
    "job_not_unknown": (409, "The job is not unknown"),
    "email_used": (409, "There is a login already"),
    "bad_link": (410, "The link does not work"),
    "reference_used": (409, "The payment was entered before"),
    "reference_conflict": (409, "The reference is another payment's"),
    "nothing_to_refund": (409, "There is no charge to give back"),
    "refund_too_large": (409, "More than is left of the charge"),
    "correction_refused": (409, "The correction cannot be entered"),
    "too_many_webhooks": (409, "Too many webhook endpoints"),
    "webhook_disabled": (409, "The webhook endpoint is disabled"),
    "body_too_large": (413, "The body is too large"),
    "unsupported_media_type": (415, "The body has a type that is not taken"),
    "invalid_webhook": (422, "Nobody can be called there"),
    "idempotency_key_reused": (422, "The Idempotency-Key is another request's"),
    "invalid_upload": (422, "The upload cannot be used"),
    "too_many_jobs": (429, "Too many jobs at once"),
    "too_many_streams": (429, "Too many event streams at once"),
    "too_many_requests": (429, "Too many requests"),
    "too_busy": (503, "Too much at once"),
    "bad_request": (400, "The request cannot be read"),
    "invalid_query": (422, "The query is wrong"),
    "report_too_large": (422, "The report has too many rows"),
    "bad_registry": (422, "The registry cannot be used"),
    "internal_error": (500, "Our fault"),
    "provider_not_configured": (503, "No provider can run this model now"),
    "database_unavailable": (503, "The database does not answer"),
    "storage_unavailable": (503, "The store does not answer"),
    "shutting_down": (503, "The gateway is stopping"),
}


class ProblemDocument(Struct, kw_only=True, rename="camel", omit_defaults=True):
    """The body of an error (application/problem+json)."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    errors: list[Fault] = []
    """Each fault, by JSON pointer into the request."""
    supported: list[str] = []
    """What exists, where something was named that does not."""
    setting: str | None = None
    """The environment variable to set."""
    job_id: str | None = None
    request_id: str | None = None
    retryable: bool = False
    needed: Decimal | None = None
    """US dollars: the most that the job may cost."""
    needed_micros: int | None = None
    available: Decimal | None = None
    """US dollars that the balance, or the budget, has for it."""
    available_micros: int | None = None
    missing: Decimal | None = None
    """US dollars: what is needed beyond what is available."""
    missing_micros: int | None = None
    asked: Decimal | None = None
    """US dollars that the job may cost as it was asked for, where `needed` is the least that it could."""
    asked_micros: int | None = None
    currency: str | None = None
    budget: BudgetView | None = None
    """The budget that does not cover it."""


# Money leaves as a JSON number, as everywhere.
_encoder = msgspec.json.Encoder(decimal_format="number")


class Problem(Exception):
    """An error with a stable code of ours.

    Args:
        code: a key of `CODES`.
        detail: what happened and what to do next.
        extra: more members of `ProblemDocument`.
        headers: more response headers.
    """

    def __init__(
        self, code: str, detail: str, *, headers: dict[str, str] | None = None, **extra: Any
    ) -> None:
        super().__init__(detail)
        status, title = CODES[code]
        self.headers = headers or {}
        self.document = ProblemDocument(
            type=f"urn:image-gateway:error:{code}",
            title=title,
            status=status,
            code=code,
            detail=detail,
            **extra,
        )


def too_many(taken: Taken, what: str) -> Problem:
    """A limit was reached: when it is worth another try, and the fields that say so to programs.

    The fields are those of draft-ietf-httpapi-ratelimit-headers.
    """
    limit, wait_s = taken.limit, taken.retry_after_s
    return Problem(
        "too_many_requests",
        f"Too many {what}. Send it again in {wait_s} seconds",
        headers={
            "Retry-After": str(wait_s),
            "RateLimit-Policy": f'"{limit.name}";q={limit.burst};w={limit.window_s}',
            "RateLimit": f'"{limit.name}";r=0;t={wait_s}',
        },
        retryable=True,
    )


STATUS_CODES = {
    404: "not_found",
    405: "method_not_allowed",
    413: "body_too_large",
    415: "unsupported_media_type",
}


def as_problem(error: Exception) -> Problem:
    """The problem that an exception is to a caller. Nothing of an unknown one is told."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, UnknownPriceList):
        detail = f"{error}, by which this account pays; ask whoever runs this gateway. Nothing was charged"
        return Problem("price_list_missing", detail)
    if isinstance(error, UnknownModel):
        detail = f"{error} Supported: {', '.join(error.supported)}"
        return Problem("unknown_model", detail, supported=list(error.supported))
    if isinstance(error, InvalidInputs):
        count = len(error.faults)
        detail = f"{count} fault{'s' if count > 1 else ''}: {error}"
        return Problem("invalid_inputs", detail, errors=list(error.faults))
    if isinstance(error, ProviderError):
        return provider_problem(error)
    if isinstance(error, TemplateError):
        detail = f"{error}. Whoever wrote the template must mend it. Nothing was charged"
        return Problem("template_broken", detail)
    if isinstance(error, HTTPException) and error.status_code < 500:
        code = STATUS_CODES.get(error.status_code, "bad_request")
        return Problem(code, _http_detail(error), headers=dict(error.headers or {}))
    return Problem(
        "internal_error", "Something broke here; the log has it under the request id. Nothing was charged."
    )


def _http_detail(error: HTTPException) -> str:
    """What Litestar says, with the parameters that it found wrong."""
    extra = error.extra if isinstance(error.extra, list) else []
    found = [f"{e.get('key', '')}: {e.get('message', '')}" for e in extra if isinstance(e, dict)]
    return "; ".join([error.detail, *found])


def provider_problem(error: ProviderError, job_id: str | None = None) -> Problem:
    """A provider's error as a problem, its own code and status kept."""
    problem = Problem("internal_error", error.message)
    problem.document = ProblemDocument(
        type=f"urn:image-gateway:error:{error.code}",
        title=(type(error).__doc__ or "The provider failed").split(".")[0],
        status=error.http_status,
        code=error.code,
        detail=error.message,
        job_id=job_id,
        retryable=error.retry_same,
    )
    return problem


def problem_response(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Litestar's exception handler: every error leaves as a problem document."""
    problem = as_problem(error)
    request_id = request.scope.get("state", {}).get("request_id")
    problem.document.request_id = request_id
    request.scope.setdefault("state", {})["problem"] = problem.document.code
    if problem.document.code == "internal_error":
        log.error("request %s broke", request_id, exc_info=error)
    return Response(
        content=_encoder.encode(problem.document),
        status_code=problem.document.status,
        media_type=MEDIA_TYPE,
        headers=problem.headers,
    )
