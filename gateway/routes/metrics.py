"""`/metrics`: how the gateway does, for Prometheus and its like."""

from typing import Any

from litestar import Request, Response, get
from litestar.di import NamedDependency

from gateway.access import METRICS
from gateway.core import Core

__all__ = ["metrics"]


# Not in the OpenAPI document: its form is Prometheus's, and who reads it asks nobody.
@get("/metrics", opt=METRICS, include_in_schema=False)
async def metrics(request: Request[Any, Any, Any], core: NamedDependency[Core]) -> Response[bytes]:
    """Text as Prometheus reads it, or OpenMetrics for who asks for that."""
    text, media_type = await core.figures.scrape(request.headers.get("accept", ""))
    if media_type.startswith("text/"):
        media_type = media_type.replace("; charset=utf-8", "")  # Litestar says it itself
    return Response(text, media_type=media_type, headers={"Cache-Control": "no-store"})
