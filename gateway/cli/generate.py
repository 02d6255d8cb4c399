"""`gateway generate "a red circle" -o out.png`."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import rich_click as click
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from gateway.cli.connect import MESSAGES, open_gateway
from gateway.cli.params import read_params
from gateway.client import GatewayClient, GatewayFailure
from gateway.settings import load_settings
from gateway.verify import extension_of

__all__ = ["generate"]

FLAGS = ("size", "steps", "guidance", "seed", "n", "negative_prompt")


@click.command()
@click.argument("prompt")
@click.option("-o", "--output", help="File to write; - for stdout. With several images: name-1.png, ...")
@click.option("-m", "--model", help="A model of `gateway models`; the default when not given.")
@click.option("--intent", help="A need in place of a model: realistic, text_heavy, ...")
@click.option(
    "--fallback", multiple=True, metavar="MODEL", help="Serves if the first fails; may be repeated."
)
@click.option("--size", help="Pixels: 256x192.")
@click.option("--steps", type=int, help="Denoising steps.")
@click.option("--guidance", type=float, help="How closely the picture follows the prompt.")
@click.option("--seed", type=int, help="The same seed gives the same picture.")
@click.option("-n", type=int, help="How many pictures.")
@click.option("--negative-prompt", help="What it should not show.")
@click.option("-p", "--param", multiple=True, metavar="NAME=VALUE", help="Any other input of the model.")
@click.option(
    "--schedule",
    type=click.Choice(["now", "window"]),
    help="Run it at once (premium accounts), or with others in the next batch window.",
)
@click.option("--max-cost", metavar="USD", help="Refuse a job that may cost more.")
@click.option(
    "--allow-downgrade", is_flag=True, help="Rather less than asked for than more than can be paid."
)
@click.option("--estimate", is_flag=True, help="Say what it would cost and send; spend nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the job as JSON on stdout.")
def generate(
    prompt: str, output: str | None, model: str | None, intent: str | None, fallback: tuple[str, ...],
    param: tuple[str, ...], schedule: str | None, max_cost: str | None, allow_downgrade: bool, estimate: bool,
    as_json: bool, **flags: Any,
) -> None:  # fmt: skip
    """Make an image of PROMPT.

    Goes through the gateway that runs here; without one, it opens the data folder itself.
    """
    inputs = {"prompt": prompt, **{name: flags[name] for name in FLAGS if flags[name] is not None}}
    inputs.update(read_params(param))
    options: dict[str, Any] = {"max_cost": max_cost} if max_cost is not None else {}
    options |= {"allow_downgrade": True} if allow_downgrade else {}
    body = {
        "inputs": inputs,
        "options": options or None,
        "model": model,
        "intent": intent,
        "fallbacks": list(fallback) or None,
        "schedule": schedule,
    }
    body = {name: value for name, value in body.items() if value is not None}
    asyncio.run(_run(body, output, estimate, as_json))


async def _run(body: dict[str, Any], output: str | None, estimate: bool, as_json: bool) -> None:
    async with open_gateway(load_settings()) as client:
        if estimate:
            answer = await client.call("POST", "/api/images/estimate", body)
            _warn(answer)
            click.echo(json.dumps(answer, indent=2) if as_json else _estimate_words(answer))
            return
        job = await _follow(client, body)
        if job["status"] != "completed":
            raise _failure(job)
        files = await _save(client, job, output)
        _warn(job)
        if as_json:
            click.echo(json.dumps(job, indent=2))
        elif output != "-":
            words = f"{job['model']}, {job['cost']} USD, {job['jobId']}"
            MESSAGES.print(words, highlight=False, markup=False)
            for file in files:
                click.echo(str(file))


def _warn(answer: dict[str, Any]) -> None:
    for warning in answer["warnings"]:
        MESSAGES.print(f"[yellow]warning:[/] {escape(warning)}", highlight=False)


def _failure(job: dict[str, Any]) -> GatewayFailure:
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


def _estimate_words(answer: dict[str, Any]) -> str:
    able = "" if answer["available"] else f"\nnot available: {answer['unavailableBecause']}"
    return f"{answer['cost']} USD with {answer['model']} ({answer['price']}){able}"


async def _follow(client: GatewayClient, body: dict[str, Any]) -> dict[str, Any]:
    """Run the job with a progress bar on a terminal; Ctrl-C cancels it."""
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
            return await client.generate(body, show)
        except asyncio.CancelledError:
            if job_id is not None:
                await asyncio.shield(client.cancel(job_id))
                MESSAGES.print(f"canceled {job_id}")
            raise


async def _save(client: GatewayClient, job: dict[str, Any], output: str | None) -> list[Path]:
    files: list[Path] = []
    for number, image in enumerate(job["images"], start=1):
        data = await client.image(image["id"])
        if output == "-":
            await asyncio.to_thread(sys.stdout.buffer.write, data)
            continue
        extension = extension_of(image["contentType"])
        path = Path(output or f"{job['jobId']}.{extension}")
        if len(job["images"]) > 1:
            path = path.with_stem(f"{path.stem}-{number}")
        await asyncio.to_thread(path.write_bytes, data)
        files.append(path)
    return files
