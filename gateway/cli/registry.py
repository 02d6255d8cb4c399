"""`gateway models`, `gateway registry check`, `gateway registry import`."""

import os
from pathlib import Path

import msgspec
import rich_click as click
from rich.markup import escape

from gateway.cli.console import console, table
from gateway.planning import usable
from gateway.schemas import ModelList
from gateway.settings import load_settings
from gateway.views import model_view
from providers.base import Unavailable
from providers.discovery import Providers
from registry.catalog import Catalog
from registry.load import load_registry
from registry.schema import Price
from templates.library import TemplateLibrary

__all__ = ["models", "open_registry", "registry"]


def open_registry(path: Path | None = None) -> tuple[Catalog, Providers]:
    """The registry of the settings, or of a file, and the providers as this environment has them."""
    settings = load_settings()
    catalog = Catalog(load_registry(path or settings.registry, markup=settings.markup))
    return catalog, Providers(catalog.data.providers, os.environ, str(settings.data_dir))


@click.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON, each with its inputs.")
def models(as_json: bool) -> None:
    """List the models: what they cost and whether they can be used now."""
    catalog, providers = open_registry()
    if as_json:
        views = tuple(model_view(m, catalog.vocabulary, providers) for m in catalog.models.values())
        encoder = msgspec.json.Encoder(decimal_format="number")
        click.echo(msgspec.json.format(encoder.encode(ModelList(models=views))).decode())
        return
    rows = table("model", "price, USD", "state", "about")
    for model in catalog.models.values():
        state = _state(usable(model, providers))
        rows.add_row(escape(model.id), short_price(model.price), state, escape(model.description))
    console().print(rows)


@click.group()
def registry() -> None:
    """Look after the registry."""


@registry.command()
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.option("--live", is_flag=True, help="Ask fal too: are its endpoints, fields and prices still those?")
@click.option("--json", "as_json", is_flag=True, help="As JSON: what --live found.")
def check(file: Path | None, live: bool, as_json: bool) -> None:
    """Check a registry file (the one in use when not given) and show every route.

    Exits with 1 and names line and path when something is wrong.

    With --live its routes to fal are compared with what fal says of them today, which spends nothing. Exits
    with 1 when a request would be refused or cost more, with 0 when there are notes alone, with 2 when
    fal cannot be asked. Needs FAL_KEY.
    """
    if as_json and not live:
        raise click.UsageError("--json goes with --live")
    catalog, providers = open_registry(file)
    TemplateLibrary.load(load_settings().templates_dir)
    if live:
        from gateway.cli.live import check_live  # loads an HTTP client, for which no other command waits

        check_live(catalog.data, as_json=as_json)
    else:
        _show(catalog, providers)


@registry.command("import")
@click.argument("provider", type=click.Choice(["fal"]))
@click.argument("endpoint")
def import_(provider: str, endpoint: str) -> None:
    """Propose registry rows for ENDPOINT of PROVIDER (fal), to be pasted into a models.yaml.

    Made of fal's own documents. Lines with `decide` want a person: names, what callers pay, intents.
    Changes nothing. Without FAL_KEY it leaves the price to be filled in.
    """
    from gateway.cli.live import import_fal  # as above

    catalog, _ = open_registry()
    import_fal(catalog.data, endpoint)


def _show(catalog: Catalog, providers: Providers) -> None:
    """Every model with its routes, and the sum of them."""
    rows = table("model and its routes", "runs when", "price", "cost, USD", "state")
    for model in catalog.models.values():
        rows.add_row(f"[bold]{escape(model.id)}[/]", "", short_price(model.price), "", "")
        for route in model.routes:
            rows.add_row(
                escape(f"  {route.provider}: {route.endpoint}"),
                "+".join(sorted(route.when)) or "always",
                "",
                short_price(route.provider_cost),
                _state(providers.unavailable(route)),
            )
    out = console()
    out.print(rows)
    data = catalog.data
    out.print(
        f"\n{len(data.models)} models, {sum(len(m.routes) for m in data.models.values())} routes, "
        f"{len(data.intents)} intents, {len(data.vocabulary)} words, version {catalog.version}: good",
        highlight=False,
    )


def short_price(price: Price) -> str:
    """A price as a table has room for it: `0.03/MP`."""
    for rate, unit in (
        (price.per_image, "image"),
        (price.per_megapixel, "MP"),
        (price.per_gpu_second, "GPU s"),
        (price.per_compute_second, "compute s"),
        (price.flat, "job"),
    ):
        if rate is not None:
            return f"{rate}/{unit}{', varies' if price.conditional else ''}"
    raise AssertionError("Price holds exactly one rate")


def _state(unavailable: Unavailable | None) -> str:
    if unavailable is None:
        return "ready"
    return f"set {unavailable.setting}" if unavailable.setting else "not in this version"
