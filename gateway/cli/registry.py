"""`gateway models`, `gateway registry check`."""

import os
from pathlib import Path

import msgspec
import rich_click as click
from rich.console import Console
from rich.table import Table

from gateway.planning import price_words, usable
from gateway.schemas import ModelList
from gateway.settings import load_settings
from gateway.views import model_view
from providers.discovery import Providers
from registry.catalog import Catalog
from registry.load import load_registry
from registry.schema import Model, Route
from templates.engine import TemplateLibrary

__all__ = ["models", "registry"]


def _open(path: Path | None = None) -> tuple[Catalog, Providers]:
    settings = load_settings()
    catalog = Catalog(load_registry(path or settings.registry, markup=settings.markup))
    return catalog, Providers(catalog.data.providers, os.environ, str(settings.data_dir))


@click.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON, each with its inputs.")
def models(as_json: bool) -> None:
    """List the models: what they cost and whether they can be used now."""
    catalog, providers = _open()
    if as_json:
        views = tuple(model_view(m, catalog.vocabulary, providers) for m in catalog.models.values())
        encoder = msgspec.json.Encoder(decimal_format="number")
        click.echo(msgspec.json.format(encoder.encode(ModelList(models=views))).decode())
        return
    table = Table(box=None, pad_edge=False)
    for title in ("model", "price", "available", "about"):
        table.add_column(title, overflow="fold")
    for model in catalog.models.values():
        unavailable = usable(model, providers)
        table.add_row(
            model.id,
            price_words(model.price),
            "yes" if unavailable is None else f"no: {unavailable.reason}",
            model.description,
        )
    Console().print(table)


@click.group()
def registry() -> None:
    """Look after the registry."""


@registry.command()
@click.argument("file", required=False, type=click.Path(path_type=Path))
def check(file: Path | None) -> None:
    """Check a registry file (the one in use when not given) and show every route.

    Exits with 1 and names line and path when something is wrong.
    """
    catalog, providers = _open(file)
    TemplateLibrary.load(load_settings().templates_dir)
    table = Table(box=None, pad_edge=False)
    for title in ("model", "when", "provider", "endpoint", "price", "cost", "available"):
        table.add_column(title, overflow="fold")
    for model in catalog.models.values():
        for route in model.routes:
            table.add_row(*_row(model, route, providers))
    console = Console()
    console.print(table)
    data = catalog.data
    console.print(
        f"\n{len(data.models)} models, {sum(len(m.routes) for m in data.models.values())} routes, "
        f"{len(data.intents)} intents, {len(data.vocabulary)} words, version {catalog.version}: good"
    )


def _row(model: Model, route: Route, providers: Providers) -> tuple[str, ...]:
    unavailable = providers.unavailable(route)
    return (
        model.id if route.index == 0 else "",
        "+".join(sorted(route.when)) or "always",
        route.provider,
        route.endpoint,
        price_words(model.price) if route.index == 0 else "",
        price_words(route.provider_cost),
        "yes" if unavailable is None else f"set {unavailable.setting}" if unavailable.setting else "no",
    )
