"""`/api/webhooks`: where an account is called when its jobs end."""

from typing import Any

from litestar import Request, Response, delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from gateway.access import MANAGE
from gateway.accounts.principals import Principal
from gateway.answers import may, takes
from gateway.bodies import read_body
from gateway.core import Core
from gateway.delivery.schemas import (
    EmptyRequest,
    EndpointList,
    EndpointRequest,
    EndpointView,
    NewEndpointView,
    SecretView,
    TestedView,
    endpoint_view,
    new_endpoint_view,
)
from gateway.schemas import json_response

__all__ = [
    "create_endpoint",
    "delete_endpoint",
    "enable_endpoint",
    "endpoint_secret",
    "list_endpoints",
    "try_endpoint",
]

SECRET = {"Cache-Control": "no-store"}


@get("/api/webhooks", summary="Your webhook endpoints", tags=["Webhooks"], opt=MANAGE)
async def list_endpoints(
    core: NamedDependency[Core], principal: NamedDependency[Principal]
) -> Response[EndpointList]:
    """Where you are called, oldest first; those too that a job's `delivery` made."""
    rows = await core.delivery.desk.endpoints(principal.account_id)
    return json_response(EndpointList(webhooks=tuple(endpoint_view(row) for row in rows)))


@post(
    "/api/webhooks",
    status_code=200,
    summary="Make a webhook endpoint",
    tags=["Webhooks"],
    opt=MANAGE
    | takes(EndpointRequest, {"url": "https://example.com/hook"})
    | may("invalid_webhook", "too_many_webhooks"),
)
async def create_endpoint(
    request: Request[Any, Any, Any], core: NamedDependency[Core], principal: NamedDependency[Principal]
) -> Response[NewEndpointView]:
    """Make an endpoint of a URL, or find the one that you have.

    A job whose `delivery` names it tells it of its end, signed by Standard Webhooks with `secret`.
    """
    body = await read_body(request, EndpointRequest)
    desk = core.delivery.desk
    row = await desk.create(body.url, principal.account_id, principal.actor)
    return json_response(new_endpoint_view(row, desk.secret_of(row)), headers=SECRET)


@get("/api/webhooks/{webhook_id:str}/secret", summary="Its secret", tags=["Webhooks"], opt=MANAGE)
async def endpoint_secret(
    webhook_id: FromPath[str], core: NamedDependency[Core], principal: NamedDependency[Principal]
) -> Response[SecretView]:
    """What the endpoint's receiver verifies our calls with."""
    secret = await core.delivery.desk.secret(webhook_id, principal.account_id)
    return json_response(SecretView(secret=secret), headers=SECRET)


@post(
    "/api/webhooks/{webhook_id:str}/test",
    status_code=200,
    summary="Call it now",
    tags=["Webhooks"],
    opt=MANAGE | takes(EmptyRequest),
)
async def try_endpoint(
    request: Request[Any, Any, Any],
    webhook_id: FromPath[str],
    core: NamedDependency[Core],
    principal: NamedDependency[Principal],
) -> Response[TestedView]:
    """Send a signed `webhook.test` now, once, and answer what the endpoint answered."""
    await read_body(request, EmptyRequest)
    return json_response(await core.delivery.desk.test(webhook_id, principal.account_id))


@post(
    "/api/webhooks/{webhook_id:str}/enable",
    status_code=200,
    summary="Call it again",
    tags=["Webhooks"],
    opt=MANAGE | takes(EmptyRequest),
)
async def enable_endpoint(
    request: Request[Any, Any, Any],
    webhook_id: FromPath[str],
    core: NamedDependency[Core],
    principal: NamedDependency[Principal],
) -> Response[EndpointView]:
    """Call an endpoint again that was disabled, for it had answered 410.

    What it missed is sent with `POST /api/deliveries/{id}/redeliver`.
    """
    await read_body(request, EmptyRequest)
    row = await core.delivery.desk.enable(webhook_id, principal.account_id, principal.actor)
    return json_response(endpoint_view(row))


@delete(
    "/api/webhooks/{webhook_id:str}",
    status_code=200,
    summary="Delete a webhook endpoint",
    tags=["Webhooks"],
    opt=MANAGE,
)
async def delete_endpoint(
    webhook_id: FromPath[str], core: NamedDependency[Core], principal: NamedDependency[Principal]
) -> Response[EndpointView]:
    """Call it no more; what it has not been told is given up."""
    row = await core.delivery.desk.remove(webhook_id, principal.account_id, principal.actor)
    return json_response(endpoint_view(row))
