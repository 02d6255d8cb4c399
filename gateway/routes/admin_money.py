"""`/api/admin/refund`, `/credit`, `/payout`, `/adjust`, `/billing/verify`: the operator's side of money."""

from typing import Annotated, Any

from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from gateway.access import ADMIN
from gateway.accounts.money_schemas import (
    AdjustRequest,
    BooksView,
    CreditRequest,
    MovedView,
    PayOutRequest,
    RefundRequest,
    RefundView,
    books_view,
    moved_view,
    refund_view,
)
from gateway.accounts.principals import Principal
from gateway.answers import may, takes
from gateway.bodies import read_body
from gateway.core import Core
from gateway.schemas import json_response

__all__ = ["adjust", "credit", "pay_out", "refund", "verify"]

ONCE = ("not_found", "reference_used", "reference_conflict")


@post(
    "/api/admin/refund",
    status_code=200,
    summary="Give a job's charge back",
    tags=["Operators"],
    opt=ADMIN
    | takes(RefundRequest, {"jobId": "job_...", "amount": 0.02, "reference": "ticket 7", "note": "blurred"})
    | may(*ONCE, "nothing_to_refund", "refund_too_large"),
)
async def refund(
    request: Request[Any, Any, Any], core: NamedDependency[Core], principal: NamedDependency[Principal]
) -> Response[RefundView]:
    """Give back what a job was charged, or `amount` of it; all of its refunds are never more than its charge.
    With a `reference` it counts once, however often it is sent.
    """
    body = await read_body(request, RefundRequest)
    moved = await core.money.refund(body.job_id, body.amount, body.reference, body.note, principal.actor)
    return json_response(refund_view(moved, core.ambient.now_ms()))


@post(
    "/api/admin/credit",
    status_code=200,
    summary="Give an account credit",
    tags=["Operators"],
    opt=ADMIN
    | takes(CreditRequest, {"accountId": "acc_...", "amount": 5, "reference": "welcome acc_..."})
    | may(*ONCE),
)
async def credit(
    request: Request[Any, Any, Any], core: NamedDependency[Core], principal: NamedDependency[Principal]
) -> Response[MovedView]:
    """Give credit that nobody paid for. With a `reference` it counts once, however often it is sent."""
    body = await read_body(request, CreditRequest)
    moved = await core.money.credit(body.account_id, body.amount, body.reference, body.note, principal.actor)
    return json_response(moved_view(moved, core.ambient.now_ms()))


@post(
    "/api/admin/payout",
    status_code=200,
    summary="Pay money back",
    tags=["Operators"],
    opt=ADMIN
    | takes(PayOutRequest, {"accountId": "acc_...", "amount": 5, "reference": "transfer 9"})
    | may(*ONCE, "insufficient_funds"),
)
async def pay_out(
    request: Request[Any, Any, Any], core: NamedDependency[Core], principal: NamedDependency[Principal]
) -> Response[MovedView]:
    """Enter that money was paid back to whoever paid it in. With a `reference` it counts once, however often
    it is sent.
    """
    body = await read_body(request, PayOutRequest)
    moved = await core.money.pay_out(body.account_id, body.amount, body.reference, body.note, principal.actor)
    return json_response(moved_view(moved, core.ambient.now_ms()))


@post(
    "/api/admin/adjust",
    status_code=200,
    summary="Put a balance right",
    tags=["Operators"],
    opt=ADMIN
    | takes(AdjustRequest, {"accountId": "acc_...", "amount": -5, "note": "entered twice"})
    | may(*ONCE, "insufficient_funds"),
)
async def adjust(
    request: Request[Any, Any, Any], core: NamedDependency[Core], principal: NamedDependency[Principal]
) -> Response[MovedView]:
    """Put a balance right, up or down, and say why. With a `reference` it counts once, however often it is
    sent.
    """
    body = await read_body(request, AdjustRequest)
    moved = await core.money.adjust(body.account_id, body.amount, body.reference, body.note, principal.actor)
    return json_response(moved_view(moved, core.ambient.now_ms()))


@get("/api/admin/billing/verify", summary="Whether the books are right", tags=["Operators"], opt=ADMIN)
async def verify(
    core: NamedDependency[Core],
    now: Annotated[
        bool, QueryParameter(description="Look now, and not only tell what the hourly look found last")
    ] = False,
) -> Response[BooksView]:
    """Whether ledger, holds, balances, usage, budgets, costs and pictures agree: what the hourly look of this
    process found last, or what is found now.
    """
    last = None if now else core.books.last
    return json_response(books_view(await core.books.look() if last is None else last))
