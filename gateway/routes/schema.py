"""`GET /schema/openapi.json`, and the page at `/schema` that shows it without a network."""

from typing import Any

import msgspec
from litestar import Litestar, MediaType, Request, Response, get
from litestar.openapi.plugins import OpenAPIRenderPlugin
from litestar.params import FromPath
from litestar.routes import HTTPRoute

from gateway.access import PUBLIC
from gateway.answers import Operation, operation_of
from gateway.core import Core
from gateway.openapi import complete_document
from gateway.problems import Problem
from gateway.routes.diffusers import diffusers_models
from gateway.routes.schema_page import INIT_JS, SCHEMA_PAGE, asset
from registry.catalog import Catalog

__all__ = ["SchemaDocument", "SchemaPage", "operations_of", "schema_asset"]


class SchemaDocument(OpenAPIRenderPlugin):
    """The OpenAPI document, completed from the registry that serves now."""

    def __init__(self) -> None:
        super().__init__(path="/openapi.json", media_type=MediaType.JSON)
        self._rendered: tuple[Catalog, bytes] | None = None

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        """The document as JSON; built once for each registry that is read, whose templates come with it."""
        core: Core = request.app.state.core
        if self._rendered is None or self._rendered[0] is not core.catalog:
            document = msgspec.json.decode(msgspec.json.encode(openapi_schema))
            complete_document(
                document,
                core.catalog,
                core.templates,
                list(diffusers_models(core)),
                operations_of(request.app),
                asks_for_keys=core.settings.auth == "required",
            )
            self._rendered = (core.catalog, msgspec.json.encode(document))
        return self._rendered[1]


def operations_of(app: Litestar) -> dict[tuple[str, str], Operation]:
    """What each handler says of its operation, by path and method in lower case."""
    return {
        (route.path_format, method.lower()): operation_of(route, handler, method)
        for route in app.routes
        if isinstance(route, HTTPRoute)
        for method, (handler, _) in route.route_handler_map.items()
    }


class SchemaPage(OpenAPIRenderPlugin):
    """The page for people: everything that it loads comes from here."""

    def __init__(self) -> None:
        super().__init__(path="/", media_type=MediaType.HTML)

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        """The page."""
        return SCHEMA_PAGE


@get("/schema/assets/{name:str}", include_in_schema=False, opt=PUBLIC)
async def schema_asset(name: FromPath[str]) -> Response[bytes]:
    """A script or style sheet of the page."""
    found = (INIT_JS, "text/javascript") if name == "init.js" else asset(name)
    if found is None:
        raise Problem("not_found", f"The page has no asset {name!r}")
    return Response(found[0], media_type=found[1], headers={"Cache-Control": "public, max-age=86400"})
