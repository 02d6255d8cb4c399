"""`gateway route "neon sign saying OPEN 24/7"`: which model would serve, and why."""

from typing import Any

import msgspec
import rich_click as click
from rich.markup import escape

from billing.money import usd
from gateway.cli.console import console, table
from gateway.cli.params import read_params
from gateway.cli.registry import open_registry
from gateway.planning import make_plan
from gateway.schemas import GenerateRequest
from gateway.views import estimate_view
from registry.catalog import AUTO

__all__ = ["route"]


@click.command()
@click.argument("prompt")
@click.option("--intent", default=AUTO, show_default=True, help="A need; auto reads it from PROMPT.")
@click.option("--size", help="Pixels: 1024x768.")
@click.option("--max-cost", help="US dollars that it may cost at most.")
@click.option("-p", "--param", multiple=True, metavar="NAME=VALUE", help="Any other input.")
@click.option("--json", "as_json", is_flag=True, help="As JSON: the estimate.")
def route(
    prompt: str, intent: str, size: str | None, max_cost: str | None, param: tuple[str, ...], as_json: bool
) -> None:
    """Say which model would serve PROMPT under an intent, and why not each one before it. Spends nothing."""
    catalog, providers = open_registry()
    given: dict[str, Any] = {"size": size, "max_cost": max_cost}
    inputs = {"prompt": prompt, **{k: v for k, v in given.items() if v is not None}, **read_params(param)}
    plan = make_plan(catalog, providers, GenerateRequest(intent=intent, inputs=inputs), fresh_seed=0)
    if as_json:
        encoder = msgspec.json.Encoder(decimal_format="number")
        click.echo(msgspec.json.format(encoder.encode(estimate_view(plan))).decode())
        return
    out = console()
    out.print(f"[bold]{escape(plan.model.id)}[/] serves: {escape(plan.routing.why)}", highlight=False)
    if plan.unavailable is not None:
        out.print(f"[red]but it cannot run now:[/] {escape(plan.unavailable.reason)}", highlight=False)
    rows = table("model")
    rows.add_column("why", overflow="fold")
    for over in plan.routing.passed_over:
        rows.add_row(escape(over.model), escape(f"passed over: {over.reason}"))
    first = plan.candidates[0]
    shape = f"{first.width}x{first.height}, " if first.width else ""
    rows.add_row(
        f"[bold]{escape(plan.model.id)}[/]",
        escape(f"{first.route.provider}: {first.route.endpoint}, {shape}{usd(plan.quote.price_micros)} USD"),
    )
    for name in plan.fallbacks:
        rows.add_row(escape(name), "serves if that fails")
    out.print(rows)
    for warning in plan.warnings:
        out.print(f"[yellow]warning:[/] {escape(warning)}", highlight=False)
