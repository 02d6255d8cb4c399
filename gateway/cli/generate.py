"""`gateway generate "a red circle" -o out.png`."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import rich_click as click

from gateway.cli.connect import MESSAGES, open_gateway
from gateway.cli.follow import failure, follow, warn
from gateway.cli.params import read_params
from gateway.client import GatewayClient
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
            warn(answer)
            click.echo(json.dumps(answer, indent=2) if as_json else _estimate_words(answer))
            return
        job = await follow(client, lambda show: client.generate(body, show))
        if job["status"] != "completed":
            raise failure(job)
        files = await _save(client, job, output)
        warn(job)
        if as_json:
            click.echo(json.dumps(job, indent=2))
        elif output != "-":
            words = f"{job['model']}, {job['cost']} USD, {job['jobId']}"
            MESSAGES.print(words, highlight=False, markup=False)
            for file in files:
                click.echo(str(file))


def _estimate_words(answer: dict[str, Any]) -> str:
    able = "" if answer["available"] else f"\nnot available: {answer['unavailableBecause']}"
    return f"{answer['cost']} USD with {answer['model']} ({answer['price']}){able}"


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
