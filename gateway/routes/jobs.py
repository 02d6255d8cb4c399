"""`GET /api/jobs`, `/api/jobs/counts`, `GET /api/jobs/{id}`, `DELETE /api/jobs/{id}`."""

import base64
import binascii
from typing import Annotated

from litestar import Response, delete, get
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter

from gateway.accounts.principals import Principal
from gateway.core import Core
from gateway.jobs import queries
from gateway.jobs.queries import JobFilter
from gateway.jobs.records import JobRow
from gateway.problems import Problem
from gateway.routes.job_filter import FILTERED, STATUSES
from gateway.schemas import JobCounts, JobList, JobView, json_response

__all__ = [
    "Cursor",
    "Limit",
    "cancel_job",
    "count_jobs",
    "get_job",
    "job_counts",
    "job_page",
    "list_jobs",
    "read_cursor",
    "write_cursor",
]

Limit = Annotated[int, QueryParameter(ge=1, le=100, description="Jobs a page")]
Cursor = Annotated[str | None, QueryParameter(description="`nextCursor` of the page before")]


async def job_page(
    core: Core, account_id: str | None, limit: int, cursor: str | None, only: JobFilter
) -> tuple[list[JobRow], str | None]:
    """A page of jobs, newest first, and the cursor of the next; None on the last.

    Args:
        core: has the database.
        account_id: whose; None for everybody's.
        limit: jobs a page.
        cursor: of this page; None for the first.
        only: which of them.

    Raises:
        Problem: `bad_request`, when the cursor is none of ours.
    """
    before = read_cursor(cursor) if cursor else None
    rows = await core.db.read(
        lambda c: queries.list_jobs(c, account_id, limit=limit + 1, only=only, before=before)
    )
    page = rows[:limit]
    return page, write_cursor(page[-1].created_at, page[-1].id) if len(rows) > limit else None


async def job_counts(core: Core, account_id: str | None, only: JobFilter) -> JobCounts:
    """How many jobs of an account, or of everybody, a filter finds."""
    found = await core.db.read(lambda c: queries.count_jobs(c, account_id, only))
    return JobCounts(total=sum(found.values()), by_status=dict.fromkeys(STATUSES, 0) | found)


@get("/api/jobs", summary="Your jobs", tags=["Jobs"], dependencies=FILTERED)
async def list_jobs(
    core: NamedDependency[Core],
    principal: NamedDependency[Principal],
    only: NamedDependency[JobFilter],
    limit: Limit = 20,
    cursor: Cursor = None,
) -> Response[JobList]:
    """Your jobs, newest first. Each filter that is given must hold."""
    page, more = await job_page(core, principal.account_id, limit, cursor, only)
    return json_response(JobList(jobs=tuple(core.view(job) for job in page), next_cursor=more))


@get("/api/jobs/counts", summary="How many jobs you have", tags=["Jobs"], dependencies=FILTERED)
async def count_jobs(
    core: NamedDependency[Core], principal: NamedDependency[Principal], only: NamedDependency[JobFilter]
) -> Response[JobCounts]:
    """How many jobs of yours there are of each status, by the same filters as the list has."""
    return json_response(await job_counts(core, principal.account_id, only))


@get("/api/jobs/{job_id:str}", summary="A job", tags=["Jobs"])
async def get_job(
    job_id: FromPath[str], core: NamedDependency[Core], principal: NamedDependency[Principal]
) -> Response[JobView]:
    """A job at any stage: what generate answered, as it is now."""
    return json_response(core.view(await core.job(job_id, principal.account_id)))


@delete("/api/jobs/{job_id:str}", status_code=200, summary="Cancel a job", tags=["Jobs"])
async def cancel_job(
    job_id: FromPath[str], core: NamedDependency[Core], principal: NamedDependency[Principal]
) -> Response[JobView]:
    """Cancel a job, at its provider too. A job that has ended stays as it is."""
    return json_response(core.view(await core.cancel(job_id, principal.account_id)))


def write_cursor(created_at: int, job_id: str) -> str:
    """Where the next page begins: after the row that was made then and has this id."""
    return base64.urlsafe_b64encode(f"{created_at}:{job_id}".encode()).decode()


def read_cursor(cursor: str) -> tuple[int, str]:
    """What `write_cursor` wrote.

    Raises:
        Problem: `bad_request`, when it is none of ours.
    """
    try:
        created_at, _, job_id = base64.urlsafe_b64decode(cursor.encode()).decode().partition(":")
        at = int(created_at)
        if not 0 <= at < 1 << 63 or "\0" in job_id:
            raise ValueError(created_at)
        return at, job_id
    except (ValueError, binascii.Error) as error:
        raise Problem("bad_request", "The cursor is none of ours; leave it out for the first page") from error
