"""`POST /api/admin/registry/reload`."""

from typing import Any

from litestar import Request, Response, post
from litestar.di import NamedDependency

from gateway.access import ADMIN
from gateway.admin_schemas import ReloadRequest
from gateway.answers import may, takes
from gateway.bodies import read_body
from gateway.core import Core
from gateway.reload import ReloadView, reload_registry
from gateway.schemas import json_response

__all__ = ["reload"]


@post(
    "/api/admin/registry/reload",
    status_code=200,
    summary="Read the registry again",
    tags=["Operators"],
    opt=ADMIN | takes(ReloadRequest) | may("bad_registry"),
)
async def reload(request: Request[Any, Any, Any], core: NamedDependency[Core]) -> Response[ReloadView]:
    """Swap the registry and the templates for what their files say now. A bad file changes nothing."""
    await read_body(request, ReloadRequest)
    return json_response(await reload_registry(core))
