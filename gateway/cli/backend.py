"""`gateway backend`: deploy the diffusers backend to Modal, look at it, bring weights there."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import rich_click as click
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.table import Table

from gateway.cli.connect import MESSAGES
from gateway.settings import Settings, load_settings
from providers.base import Unavailable
from providers.diffusers_modal.deployment import TIERS, tier_settings
from providers.diffusers_modal.job import pipeline_spec
from providers.diffusers_modal.levers import read_levers
from providers.diffusers_modal.provider import modal_unavailable
from providers.diffusers_modal.remote import ModalBackend
from providers.errors import ProviderUnavailable
from registry.catalog import Catalog
from registry.load import load_registry
from registry.schema import Model, Pipeline

__all__ = ["backend"]

APP = "providers.diffusers_modal.app"


@click.group()
def backend() -> None:
    """The diffusers backend on Modal: one class a GPU tier."""


@backend.command()
def deploy() -> None:
    """Deploy it, with the tiers' settings (DIFFUSERS_<TIER>_...) as they are in the environment.

    Runs `modal deploy -m providers.diffusers_modal.app`. A change of those settings needs another
    deploy.
    """
    settings = load_settings()
    _need_modal(settings)
    # Now, and not by a stack trace out of Modal's own command.
    for tier in TIERS:
        tier_settings(settings.env, tier)
    read_levers(settings.env.get("DIFFUSERS_LEVERS", ""))
    asyncio.run(_greet(settings))
    ended = subprocess.run(  # our own interpreter, fixed arguments
        [sys.executable, "-m", "modal", "deploy", "-m", APP], env=dict(os.environ), check=False
    )
    if ended.returncode:
        raise click.ClickException("modal deploy failed; what it says is above")


@backend.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def status(as_json: bool) -> None:
    """Show each GPU tier: jobs that wait, containers, jobs that run. Starts no container."""
    settings = load_settings()
    _need_modal(settings)
    rows = asyncio.run(_status(settings))
    if as_json:
        click.echo(json.dumps({"tiers": rows}, indent=2))
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("tier", "waiting", "containers", "running", "USD a container second"):
        table.add_column(title)
    for row in rows:
        table.add_row(*(str(row[name]) for name in ("tier", "waiting", "containers", "running", "perSecond")))
    Console().print(table)


@backend.command()
@click.argument("model")
def warm(model: str) -> None:
    """Download MODEL's weights into the volume, so that its first job does not wait for them.

    Runs in a container without a GPU. What is there already is not downloaded again.
    """
    settings = load_settings()
    _need_modal(settings)
    catalog = _catalog(settings)
    found = catalog.model(model)
    asyncio.run(_warm(settings, found, _pipeline(found)))


@asynccontextmanager
async def _modal(settings: Settings) -> AsyncIterator[ModalBackend]:
    """Modal, for as long as the block runs.

    Raises:
        ProviderUnavailable: it cannot be reached; says what to look at.
    """
    remote = ModalBackend(settings.env, provider="diffusers")
    try:
        yield remote
    except ProviderUnavailable as error:
        server = settings.env.get("MODAL_SERVER_URL")
        step = (
            f"See that MODAL_SERVER_URL ({server}) is right and that its server runs."
            if server
            else "See that this machine reaches api.modal.com, and run the command again."
        )
        raise ProviderUnavailable(
            f"{error.message} {step}", provider=error.provider, raw=error.raw
        ) from error
    finally:
        await remote.aclose()


async def _greet(settings: Settings) -> None:
    async with _modal(settings) as remote:
        await remote.greet()


async def _status(settings: Settings) -> list[dict[str, Any]]:
    tiers = _catalog(settings).data.tiers
    async with _modal(settings) as remote:
        return [
            {
                "tier": name,
                "waiting": stats.backlog,
                "containers": stats.runners,
                "running": stats.running,
                "perSecond": str(tier.per_second),
            }
            for name, tier in tiers.items()
            if name != "local"
            for stats in [await remote.stats(name)]
        ]


async def _warm(settings: Settings, model: Model, pipeline: Pipeline) -> None:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    async with _modal(settings) as remote:
        with Progress(*columns, console=MESSAGES, disable=not MESSAGES.is_terminal) as progress:
            task = progress.add_task(model.id, total=None)
            done = 0
            async for step in remote.fetch(pipeline.tier, pipeline_spec(pipeline)):
                done = step.done_bytes
                progress.update(task, completed=done, total=step.total_bytes or None)
        brought = f"{done / 1e9:.2f} GB downloaded" if done else "nothing had to be downloaded"
        click.echo(f"{model.id} is in the volume: {brought}", err=True)


def _catalog(settings: Settings) -> Catalog:
    return Catalog(load_registry(settings.registry, markup=settings.markup))


def _pipeline(model: Model) -> Pipeline:
    for route in model.routes:
        if route.pipeline is not None and route.pipeline.tier != "local":
            return route.pipeline
    raise click.UsageError(f"{model.id} does not run on the diffusers backend; `gateway models` lists models")


def _need_modal(settings: Settings) -> None:
    missing: Unavailable | None = modal_unavailable(settings.env)
    if missing is not None:
        raise click.ClickException(missing.reason)
