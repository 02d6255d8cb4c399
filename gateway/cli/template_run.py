"""`gateway template preview`, `gateway template run`."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

import rich_click as click

from gateway.cli.connect import MESSAGES, open_gateway
from gateway.cli.follow import failure, follow, warn
from gateway.cli.params import read_params
from gateway.cli.template_variables import SAMPLE, SET, variables_of
from gateway.client import GatewayClient
from gateway.schemas import MOST_VARIANTS
from gateway.settings import load_settings
from gateway.verify import extension_of
from templates.rows import FORMATS

__all__ = ["preview", "run", "run_job"]

FORMAT = click.option("--format", "form", type=click.Choice(FORMATS), help="In place of the outputs' own.")


@click.command()
@click.argument("name")
@SET
@SAMPLE
@click.option("--output", help="Which of its outputs; the first by default.")
@FORMAT
@click.option("--out", help="File to write; - for stdout. NAME-OUTPUT.png and so on by default.")
def preview(
    name: str, pairs: tuple[str, ...], sample: bool, output: str | None, form: str | None, out: str | None
) -> None:
    """Compose the template NAME over a scene that is drawn by rule: free, at once, without a model."""
    asyncio.run(_preview(name, pairs, sample, output, form, out))


async def _preview(
    name: str, pairs: tuple[str, ...], sample: bool, output: str | None, form: str | None, out: str | None
) -> None:
    async with open_gateway(load_settings(), run_jobs=False) as client:
        body: dict[str, Any] = {"variables": await variables_of(client, name, pairs, sample=sample)}
        body |= {"format": form} if form is not None else {}
        query = "" if output is None else f"?output={quote(output)}"
        kind, data = await client.file("POST", f"/api/templates/{quote(name)}/preview{query}", body)
        if out == "-":
            await asyncio.to_thread(sys.stdout.buffer.write, data)
            return
        path = Path(out or f"{name}-{output or 'preview'}.{extension_of(kind)}")
        await asyncio.to_thread(path.write_bytes, data)
        click.echo(str(path))


@click.command()
@click.argument("name")
@SET
@SAMPLE
@click.option(
    "--count", type=click.IntRange(1, MOST_VARIANTS), default=1, help="Variants, each of a scene of its own."
)
@click.option("--only", multiple=True, metavar="OUTPUT", help="This output alone; may be repeated.")
@FORMAT
@click.option(
    "-p", "--param", multiple=True, metavar="NAME=VALUE", help="Of what is generated: seed, max_cost, ..."
)
@click.option(
    "--schedule",
    type=click.Choice(["now", "window"]),
    help="Run it at once (premium accounts), or with others in the next batch window.",
)
@click.option("--out", type=click.Path(path_type=Path), default=".", help="Folder to write the files to.")
@click.option("--estimate", is_flag=True, help="Say what it would cost and make; spend nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the job as JSON on stdout.")
def run(
    name: str, pairs: tuple[str, ...], sample: bool, count: int, only: tuple[str, ...], form: str | None,
    param: tuple[str, ...], schedule: str | None, out: Path, estimate: bool, as_json: bool,
) -> None:  # fmt: skip
    """Run the template NAME: make its files.

    Goes through the gateway that runs here; without one, it opens the data folder itself.
    """
    body = {
        "options": read_params(param) or None,
        "count": count,
        "outputs": list(only) or None,
        "format": form,
        "schedule": schedule,
    }
    body = {key: value for key, value in body.items() if value is not None}
    asyncio.run(_run(name, pairs, sample, body, out, estimate, as_json))


async def _run(
    name: str,
    pairs: tuple[str, ...],
    sample: bool,
    body: dict[str, Any],
    out: Path,
    estimate: bool,
    as_json: bool,
) -> None:
    async with open_gateway(load_settings()) as client:
        body = {**body, "variables": await variables_of(client, name, pairs, sample=sample)}
        if estimate:
            answer = await client.call("POST", f"/api/templates/{quote(name)}/estimate", body)
            warn(answer)
            click.echo(json.dumps(answer, indent=2) if as_json else _estimate_words(answer))
            return
        job = await run_job(client, name, body)
        files = await _save(client, job, name, out)
        warn(job)
        if as_json:
            click.echo(json.dumps(job, indent=2))
            return
        MESSAGES.print(f"{name}, {job['cost']} USD, {job['jobId']}", highlight=False, markup=False)
        for file in files:
            click.echo(str(file))


async def run_job(client: GatewayClient, name: str, body: dict[str, Any]) -> dict[str, Any]:
    """Run a template with a progress bar; its job, completed.

    Raises:
        GatewayFailure: it was refused, failed, or waits for its turn.
    """
    job = await follow(client, lambda show: client.generate(body, show, path=f"/api/templates/{quote(name)}"))
    if job["status"] != "completed":
        raise failure(job)
    return job


def _estimate_words(answer: dict[str, Any]) -> str:
    able = "" if answer["available"] else f"\nnot available: {answer['unavailableBecause']}"
    steps = [
        f"  {one['name']}: {one['estimate']['model']} ({one['estimate']['price']})" for one in answer["steps"]
    ]
    files = ", ".join(f"{one['name']} {one['width']}x{one['height']}" for one in answer["outputs"])
    lines = [f"{answer['cost']} USD{able}", *steps, *([f"  files: {files}"] if files else [])]
    return "\n".join(lines)


async def _save(client: GatewayClient, job: dict[str, Any], name: str, out: Path) -> list[Path]:
    await asyncio.to_thread(lambda: out.mkdir(parents=True, exist_ok=True))
    files: list[Path] = []
    for number, image in enumerate(job["images"], start=1):
        data = await client.image(image["id"])
        path = out / f"{name}-{image['name'] or number}.{extension_of(image['contentType'])}"
        await asyncio.to_thread(path.write_bytes, data)
        files.append(path)
    return files
