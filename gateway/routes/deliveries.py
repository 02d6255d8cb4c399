"""`/api/deliveries`, `/api/admin/outbox`: what was sent, and what is to be."""

from typing import Annotated, Any, Literal

from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter

from gateway.access import ADMIN
from gateway.accounts.principals import Principal
from gateway.answers import may, takes
from gateway.bodies import read_body
from gateway.core import Core
from gateway.delivery import outbox
from gateway.delivery.outbox import Row
from gateway.delivery.schemas import (
    AdminDeliveryList,
    AdminDeliveryView,
    DeliveryList,
    DeliveryView,
    EmptyRequest,
    admin_delivery_view,
    delivery_view,
)
from gateway.routes.jobs import Cursor, read_cursor, write_cursor
from gateway.schemas import json_response

__all__ = ["all_deliveries", "list_deliveries", "redeliver", "redeliver_any"]

PageSize = Annotated[int, QueryParameter(ge=1, le=100, description="Deliveries a page")]
OfKind = Annotated[Literal["email", "webhook"] | None, QueryParameter(description="Of this kind alone")]
InState = Annotated[
    Literal["open", "sent", "failed"] | None,
    QueryParameter(name="state", description="Of those that stand so alone"),
]
OfJob = Annotated[
    str | None, QueryParameter(name="jobId", description="Of those that tell of this job alone")
]


async def _page(
    core: Core,
    account_id: str | None,
    limit: int,
    cursor: str | None,
    kind: str | None,
    state: str | None,
    job_id: str | None,
) -> tuple[list[Row], str | None]:
    """A page of deliveries, and the cursor of the next; None on the last."""
    before = read_cursor(cursor) if cursor else None
    rows = await core.db.read(
        lambda c: outbox.list_rows(
            c, account_id, limit=limit + 1, kind=kind, state=state, job_id=job_id, before=before
        )
    )
    page = rows[:limit]
    return page, write_cursor(page[-1].created_at, page[-1].id) if len(rows) > limit else None


@get("/api/deliveries", summary="Your deliveries", tags=["Webhooks"])
async def list_deliveries(
    core: NamedDependency[Core],
    principal: NamedDependency[Principal],
    limit: PageSize = 20,
    cursor: Cursor = None,
    kind: OfKind = None,
    stand: InState = None,
    job_id: OfJob = None,
) -> Response[DeliveryList]:
    """The mails and calls that told you of your jobs, or are to, newest first."""
    rows, more = await _page(core, principal.account_id, limit, cursor, kind, stand, job_id)
    return json_response(DeliveryList(deliveries=tuple(delivery_view(row) for row in rows), next_cursor=more))


@post(
    "/api/deliveries/{delivery_id:str}/redeliver",
    status_code=202,
    summary="Send it again",
    tags=["Webhooks"],
    opt=takes(EmptyRequest) | may("webhook_disabled"),
)
async def redeliver(
    request: Request[Any, Any, Any],
    delivery_id: FromPath[str],
    core: NamedDependency[Core],
    principal: NamedDependency[Principal],
) -> Response[DeliveryView]:
    """Send a mail or a call of yours now, or once more: under the same id, with the job as it is now."""
    await read_body(request, EmptyRequest)
    row = await core.delivery.desk.redeliver(delivery_id, principal.account_id)
    return json_response(delivery_view(row), 202)


@get("/api/admin/outbox", summary="Everybody's deliveries", tags=["Operators"], opt=ADMIN)
async def all_deliveries(
    core: NamedDependency[Core],
    limit: PageSize = 20,
    cursor: Cursor = None,
    kind: OfKind = None,
    stand: InState = None,
    job_id: OfJob = None,
) -> Response[AdminDeliveryList]:
    """Every account's deliveries and the gateway's own letters, newest first."""
    rows, more = await _page(core, None, limit, cursor, kind, stand, job_id)
    deliveries = tuple(admin_delivery_view(row) for row in rows)
    return json_response(AdminDeliveryList(deliveries=deliveries, next_cursor=more))


@post(
    "/api/admin/outbox/{delivery_id:str}/redeliver",
    status_code=202,
    summary="Send anybody's again",
    tags=["Operators"],
    opt=ADMIN | takes(EmptyRequest) | may("webhook_disabled"),
)
async def redeliver_any(
    request: Request[Any, Any, Any], delivery_id: FromPath[str], core: NamedDependency[Core]
) -> Response[AdminDeliveryView]:
    """Send whosever mail or call now, or once more, under the same id."""
    await read_body(request, EmptyRequest)
    return json_response(admin_delivery_view(await core.delivery.desk.redeliver(delivery_id, None)), 202)
