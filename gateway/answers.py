"""What a handler says of its operation for the OpenAPI document: its body, and which problems it answers.

A handler names its own problems; the rest follow from what it is. The document shows them by
status. `tests/stories/test_every_operation.py` calls every operation and fails on a status or a code
that is not there.
"""

from typing import Any

from litestar.handlers import BaseRouteHandler
from litestar.routes import HTTPRoute
from msgspec import Struct

from gateway.access import access_of
from gateway.bodies import BODY_METHODS
from gateway.problems import CODES
from providers.errors import ProviderError, all_errors

__all__ = ["Operation", "also", "makes_job", "may", "operation_of", "status_of", "takes"]

PROBLEMS, BODY_OPT, ALSO = "problems", "body", "also"
Opt = dict[str, Any]


def may(*codes: str) -> Opt:
    """For a handler's `opt`: the problems that it raises itself or lets through.

    Args:
        codes: keys of `gateway.problems.CODES`, or codes of providers' errors.
    """
    return {PROBLEMS: codes}


def takes(body: type[Struct], example: dict[str, Any] | None = None) -> Opt:
    """For a handler's `opt`: the JSON body that it reads, and one that it takes, as it goes over the wire."""
    return {BODY_OPT: (body, example or {})}


def also(media_type: str) -> Opt:
    """For a handler's `opt`: beside JSON it answers text of this type."""
    return {ALSO: media_type}


MAKES_JOB = (
    "bad_idempotency_key",
    "idempotency_key_reused",
    "idempotency_in_flight",
    "unknown_model",
    "invalid_inputs",
    "provider_not_configured",
    "insufficient_funds",
    "budget_exhausted",
    "price_list_missing",
    "premium_required",
    "too_many_jobs",
    "too_many_webhooks",
    "shutting_down",
    "storage_unavailable",
    ProviderError.code,
)
"""What admission refuses, and what becomes of the job: `provider_error` stands for each kind of it."""


def makes_job(*codes: str) -> Opt:
    """For the `opt` of a handler that makes a job, and may raise these too."""
    return may(*MAKES_JOB, *codes)


ALWAYS = ("bad_request", "foreign_host", "foreign_origin", "database_unavailable", "internal_error")
CALLER = (
    "authentication_required",
    "invalid_api_key",
    "invalid_session",
    "account_closed",
    "cross_site_request",
    "too_many_requests",
)
"""Where the gateway asks who calls."""
BODY = ("bad_json", "invalid_body", "body_too_large", "unsupported_media_type", "slow_request")
PATH_PARAMETER = ("not_found",)
BY_ACCESS = {
    "admin": ("admin_required", "missing_scope"),
    "session": ("session_required",),
    "link": ("bad_link", "missing_scope"),
}


class Operation(Struct, frozen=True, kw_only=True):
    """What the OpenAPI document says of a method of a path beyond what Litestar knows."""

    closed: bool
    """It asks who calls."""
    by_link: bool
    """A signed link does in place of a credential."""
    codes: tuple[str, ...]
    """The problems that it may answer."""
    body: type[Struct] | None
    example: dict[str, Any]
    also: str | None = None
    """What it answers beside JSON."""


def operation_of(route: HTTPRoute, handler: BaseRouteHandler, method: str) -> Operation:
    """What a handler's operation takes and may answer.

    Args:
        route: where it is.
        handler: what serves it.
        method: in capitals.
    """
    access = access_of(handler, method)
    closed = access != "public"
    codes = [*ALWAYS, *handler.opt.get(PROBLEMS, ())]
    if ProviderError.code in codes:
        codes += [kind.code for kind in all_errors()]
    if closed:
        codes += [*CALLER, *BY_ACCESS.get(access, ("missing_scope",))]
    if method in BODY_METHODS:
        codes += BODY
    if route.path_parameters:
        codes += PATH_PARAMETER
    body, example = handler.opt.get(BODY_OPT, (None, {}))
    return Operation(
        closed=closed,
        by_link=access == "link",
        codes=tuple(dict.fromkeys(codes)),
        body=body,
        example=example,
        also=handler.opt.get(ALSO),
    )


def status_of(code: str) -> int:
    """The HTTP status of a problem.

    Raises:
        KeyError: nobody has that code.
    """
    if code in CODES:
        return CODES[code][0]
    return {kind.code: kind for kind in all_errors()}[code].http_status
