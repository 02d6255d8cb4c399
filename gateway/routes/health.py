"""`/health/live`, `/health/ready`: for whoever watches the process. They tell no configuration."""

from litestar import Response, get
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from sqlalchemy import text

from gateway.access import PUBLIC
from gateway.core import Core
from gateway.db.engine import DatabaseError
from gateway.schemas import HealthView, json_response

__all__ = ["live", "ready", "worker_live"]


@get("/health/live", summary="Is the process alive", tags=["Health"], opt=PUBLIC)
async def live() -> HealthView:
    """200 as long as the process answers."""
    return HealthView(status="ok")


@get("/health/live", opt=PUBLIC)
async def worker_live() -> HealthView:
    """As `live`, of a worker: a command that looks for a gateway to call sees that this is none."""
    return HealthView(status="ok", checks={"role": "worker"})


@get(
    "/health/ready",
    summary="Can it serve",
    tags=["Health"],
    opt=PUBLIC,
    responses={503: ResponseSpec(HealthView, description="It cannot: `checks` says why")},
)
async def ready(core: NamedDependency[Core]) -> Response[HealthView]:
    """200 when requests can be served: the database answers and takes writes, the process is not stopping."""
    checks = {"database": "ok"}
    try:
        await core.db.read(lambda c: c.execute(text("select 1")).scalar_one())
        fault = await core.probe.fault()
        if fault is not None:
            checks["database"] = f"takes no writes: {fault}"
    except DatabaseError:
        checks["database"] = "does not answer"
    if core.stopping:
        checks["process"] = "stopping"
    good = set(checks.values()) == {"ok"}
    return json_response(
        HealthView(status="ok" if good else "unavailable", checks=checks), 200 if good else 503
    )
