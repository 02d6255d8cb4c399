"""`/api/admin/jobs`: everybody's jobs, and the operator's word on one that is `unknown`."""

from typing import Any

from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from gateway import unknown
from gateway.access import ADMIN
from gateway.admin_schemas import AdminJobList, AdminJobView, AdoptRequest, FailRequest
from gateway.answers import may, takes
from gateway.bodies import read_body
from gateway.core import Core
from gateway.jobs.queries import JobFilter
from gateway.routes.job_filter import FILTERED
from gateway.routes.jobs import Cursor, Limit, job_counts, job_page
from gateway.schemas import (
    JobCounts,
    json_response,
)
from gateway.views import admin_job_view

__all__ = ["adopt_job", "all_jobs", "any_job", "count_all_jobs", "fail_job"]


@get("/api/admin/jobs", summary="Everybody's jobs", tags=["Operators"], opt=ADMIN, dependencies=FILTERED)
async def all_jobs(
    core: NamedDependency[Core], only: NamedDependency[JobFilter], limit: Limit = 20, cursor: Cursor = None
) -> Response[AdminJobList]:
    """Every account's jobs, newest first: `?status=unknown` are those that wait for you."""
    page, more = await job_page(core, None, limit, cursor, only)
    jobs = tuple(admin_job_view(core.view(job), job) for job in page)
    return json_response(AdminJobList(jobs=jobs, next_cursor=more))


@get(
    "/api/admin/jobs/counts",
    summary="How many jobs there are",
    tags=["Operators"],
    opt=ADMIN,
    dependencies=FILTERED,
)
async def count_all_jobs(
    core: NamedDependency[Core], only: NamedDependency[JobFilter]
) -> Response[JobCounts]:
    """How many jobs of everybody there are of each status, by the same filters as the list has."""
    return json_response(await job_counts(core, None, only))


@get("/api/admin/jobs/{job_id:str}", summary="Anybody's job", tags=["Operators"], opt=ADMIN)
async def any_job(job_id: FromPath[str], core: NamedDependency[Core]) -> Response[AdminJobView]:
    """A job at any stage, whoever it belongs to."""
    job = await core.job(job_id, None)
    return json_response(admin_job_view(core.view(job), job))


@post(
    "/api/admin/jobs/{job_id:str}/adopt",
    status_code=200,
    summary="It was taken",
    tags=["Operators"],
    opt=ADMIN
    | takes(AdoptRequest, {"requestId": "the provider's own id"})
    | may("job_not_unknown", "provider_not_configured"),
)
async def adopt_job(
    request: Request[Any, Any, Any], job_id: FromPath[str], core: NamedDependency[Core]
) -> Response[AdminJobView]:
    """The provider has this unknown job under `requestId`: it is followed to its end from there."""
    body = await read_body(request, AdoptRequest)
    job = await unknown.adopt(core, job_id, body.request_id)
    return json_response(admin_job_view(core.view(job), job))


@post(
    "/api/admin/jobs/{job_id:str}/fail",
    status_code=200,
    summary="It was not taken",
    tags=["Operators"],
    opt=ADMIN | takes(FailRequest) | may("job_not_unknown"),
)
async def fail_job(
    request: Request[Any, Any, Any], job_id: FromPath[str], core: NamedDependency[Core]
) -> Response[AdminJobView]:
    """The provider never took this unknown job: it ends as failed, its hold is released."""
    await read_body(request, FailRequest)
    job = await unknown.fail(core, job_id)
    return json_response(admin_job_view(core.view(job), job))
