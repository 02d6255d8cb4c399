"""`POST /api/admin/jobs/{id}/adopt`, `/fail`: the operator's word on a job that is `unknown`."""

from typing import Any

from litestar import Request, Response, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from gateway.bodies import read_body
from gateway.core import Core
from gateway.schemas import AdoptRequest, FailRequest, JobView, json_response

__all__ = ["adopt_job", "fail_job"]


@post("/api/admin/jobs/{job_id:str}/adopt", status_code=200, summary="It was taken", tags=["Operators"])
async def adopt_job(
    request: Request[Any, Any, Any], job_id: FromPath[str], core: NamedDependency[Core]
) -> Response[JobView]:
    """The provider has this unknown job under `requestId`: it is followed to its end from there."""
    body = await read_body(request, AdoptRequest)
    return json_response(core.view(await core.adopt(job_id, body.request_id)))


@post("/api/admin/jobs/{job_id:str}/fail", status_code=200, summary="It was not taken", tags=["Operators"])
async def fail_job(
    request: Request[Any, Any, Any], job_id: FromPath[str], core: NamedDependency[Core]
) -> Response[JobView]:
    """The provider never took this unknown job: it ends as failed, its hold is released."""
    await read_body(request, FailRequest)
    return json_response(core.view(await core.fail_unknown(job_id)))
