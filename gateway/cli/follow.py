"""A job followed on a terminal, and what is said of its end."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from gateway.cli.connect import MESSAGES
from gateway.client import GatewayClient, GatewayFailure

__all__ = ["failure", "follow", "warn"]

Show = Callable[[dict[str, Any]], None]


def warn(answer: dict[str, Any]) -> None:
    """Say what an answer warns of."""
    for warning in answer["warnings"]:
        MESSAGES.print(f"[yellow]warning:[/] {escape(warning)}", highlight=False)


def failure(job: dict[str, Any]) -> GatewayFailure:
    """What a job is that gave no picture, or none yet."""
    if job["status"] == "unknown":
        detail = (
            f"the provider did not answer whether it took {job['jobId']}. It is not sent again, and its "
            "price stays set aside until that is known; `GET /api/jobs/<id>` shows it"
        )
        return GatewayFailure({"code": "job_unknown", "detail": detail}, 202)
    if job["status"] == "scheduled":
        when = f" and runs at {job['runsAt']}, as number {job['place']} of those" if job["runsAt"] else ""
        detail = (
            f"{job['jobId']} waits for its turn{when}: `gateway jobs` shows it, and `DELETE /api/jobs/<id>` "
            "takes it back. Jobs of normal accounts do; a premium account's run at once"
        )
        return GatewayFailure({"code": "job_scheduled", "detail": detail}, 202)
    error = job.get("error") or {"code": job["status"], "message": f"the job is {job['status']}"}
    return GatewayFailure({"code": error["code"], "detail": error["message"]}, 502)


async def follow(client: GatewayClient, run: Callable[[Show], Awaitable[dict[str, Any]]]) -> dict[str, Any]:
    """Run a job with a progress bar on a terminal; Ctrl-C cancels it.

    Args:
        client: cancels it.
        run: makes the job and tells what it is given of each look at it.
    """
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[steps]}"),
        TimeElapsedColumn(),
        console=MESSAGES,
        transient=True,
        disable=not MESSAGES.is_terminal,
    ) as progress:
        task = progress.add_task("starting", total=None, steps="")
        job_id: str | None = None

        def show(job: dict[str, Any]) -> None:
            nonlocal job_id
            job_id = job["jobId"]
            now = job["progress"] or {}
            total = now.get("steps")
            steps = f"{now.get('step')}/{total}" if total else ""
            if now.get("images") is not None:
                steps = f"{steps} picture {now['images'] + 1}".strip()
            what = now.get("phase") or job["status"]
            progress.update(task, description=what, completed=now.get("step") or 0, total=total, steps=steps)

        try:
            return await run(show)
        except asyncio.CancelledError:
            if job_id is not None:
                await asyncio.shield(client.cancel(job_id))
                MESSAGES.print(f"canceled {job_id}")
            raise
