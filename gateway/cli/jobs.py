"""`gateway jobs`: list them, and settle the ones whose submit got no answer."""

import asyncio
import json
from typing import Any

import msgspec
import rich_click as click
from rich.console import Console
from rich.table import Table

from gateway.admin_schemas import AdminJobList, AdminJobView
from gateway.cli.connect import open_gateway, running_gateway
from gateway.cli.job_lines import lines_of
from gateway.db.engine import open_database
from gateway.jobs import queries
from gateway.jobs.queries import JobFilter
from gateway.jobs.records import JobRow
from gateway.settings import Settings, load_settings
from gateway.views import admin_job_view, job_view

__all__ = ["jobs"]


@click.group(invoke_without_command=True)
@click.option(
    "--status",
    help="Of these alone, with commas: scheduled, queued, running, completed, failed, canceled, unknown.",
)
@click.option("--limit", type=click.IntRange(1, 100), default=20, show_default=True, help="How many.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_context
def jobs(context: click.Context, status: str | None, limit: int, as_json: bool) -> None:
    """List the newest jobs (an admin: everybody's), or settle one that is unknown.

    A job is unknown when its submit got no answer: the provider may have taken it. It is never
    sent again, and its price stays set aside. Find out at the provider, then `adopt` or `fail` it.
    """
    if context.invoked_subcommand is not None:
        return
    found = asyncio.run(_list(load_settings(), status, limit))
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("job", "status", "model", "provider", "USD", "created", "account", "error"):
        table.add_column(title, overflow="fold")
    for job in found["jobs"]:
        cost = "" if job["cost"] is None else str(job["cost"])
        error = (job["error"] or {}).get("code", "")
        account = job.get("accountId", "")
        table.add_row(
            job["jobId"], job["status"], job["model"], job["provider"], cost, job["createdAt"], account, error
        )
    console = Console()
    (console if console.is_terminal else Console(width=200)).print(table)


@jobs.command()
@click.argument("job_id")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def show(job_id: str, as_json: bool) -> None:
    """Show JOB_ID: what became of it, what it was quoted and charged and, to an admin, what it cost."""
    job = asyncio.run(_find(load_settings(), job_id))
    click.echo(json.dumps(job, indent=2) if as_json else "\n".join(lines_of(job)))


@jobs.command()
@click.argument("job_id")
@click.option("--request-id", required=True, help="The provider's own id of the job.")
def adopt(job_id: str, request_id: str) -> None:
    """The provider has the unknown job JOB_ID: follow it to its end from there."""
    _print(asyncio.run(_settle(job_id, "adopt", {"requestId": request_id})))


@jobs.command()
@click.argument("job_id")
def fail(job_id: str) -> None:
    """The provider never took the unknown job JOB_ID: end it, charge nothing."""
    _print(asyncio.run(_settle(job_id, "fail", {})))


async def _list(settings: Settings, status: str | None, limit: int) -> dict[str, Any]:
    query = f"?limit={limit}" + (f"&status={status}" if status else "")
    async with running_gateway(settings) as client:
        if client is not None:
            mine = await client.call("GET", "/api/account")
            path = "/api/admin/jobs" if mine["admin"] else "/api/jobs"
            return await client.call("GET", f"{path}{query}")
    # Nobody runs: the file is read, and no job is resumed by looking at it.
    database = open_database(settings.database_url)
    try:
        only = JobFilter(statuses=tuple(status.split(",")) if status else ())
        rows = await database.read(lambda c: queries.list_jobs(c, None, limit=limit, only=only))
    finally:
        await database.aclose()
    return _wire(AdminJobList(jobs=tuple(_view(settings, row) for row in rows), next_cursor=None))


async def _find(settings: Settings, job_id: str) -> dict[str, Any]:
    async with running_gateway(settings) as client:
        if client is not None:
            mine = await client.call("GET", "/api/account")
            path = "/api/admin/jobs" if mine["admin"] else "/api/jobs"
            return await client.call("GET", f"{path}/{job_id}")
    database = open_database(settings.database_url)
    try:
        row = await database.read(lambda c: queries.find_job(c, job_id))
    finally:
        await database.aclose()
    if row is None:
        raise click.ClickException(f"There is no job {job_id}.")
    return _wire(_view(settings, row))


def _view(settings: Settings, row: JobRow) -> AdminJobView:
    return admin_job_view(job_view(row, None, lambda image: f"{settings.public_url}/images/{image}"), row)


def _wire(view: AdminJobView | AdminJobList) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(msgspec.json.Encoder(decimal_format="number").encode(view))
    return found


async def _settle(job_id: str, how: str, body: dict[str, Any]) -> dict[str, Any]:
    async with open_gateway(load_settings()) as client:
        job = await client.call("POST", f"/api/admin/jobs/{job_id}/{how}", body)
        return await client.follow(job, under="/api/admin/jobs")


def _print(job: dict[str, Any]) -> None:
    error = job.get("error") or {}
    click.echo(f"{job['jobId']} is {job['status']}, {job['costMicros'] or 0} micro-dollars charged", err=True)
    if error:
        click.echo(error["message"], err=True)
    for image in job["images"]:
        click.echo(image["url"])
