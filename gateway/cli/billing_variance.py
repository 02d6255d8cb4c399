"""`gateway billing variance`: what providers billed beside our list of their prices."""

import asyncio
import sys
from datetime import datetime, timedelta

import msgspec
import rich_click as click
from rich.markup import escape

from billing.money import usd
from gateway.ambient import Ambient
from gateway.cli.console import console, table
from gateway.cli.days import DAY
from gateway.db.engine import open_database
from gateway.settings import Settings, load_settings
from gateway.variance import MOST_DAYS, VarianceView, read_variance, today

__all__ = ["variance"]


@click.command()
@click.option("--from", "first", type=DAY, help="First day (UTC); 30 days ago if not given.")
@click.option("--to", "last", type=DAY, help="Last day (UTC), itself too; today if not given.")
@click.option("--all", "everything", is_flag=True, help="Also what differs by less than is reported.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, with everything.")
def variance(first: datetime | None, last: datetime | None, everything: bool, as_json: bool) -> None:
    """Compare what providers billed with our list of their prices, by day, provider and model.

    Shown is what differs by more than 5 % or a dollar a day. Exits with 1 when there is such, with 0 when
    there is none. It only reads; a gateway may run meanwhile.
    """
    view = asyncio.run(_read(load_settings(), first, last))
    if as_json:
        encoder = msgspec.json.Encoder(decimal_format="number")
        click.echo(msgspec.json.format(encoder.encode(view)).decode())
    else:
        _show(view, everything)
    sys.exit(1 if view.total.reported else 0)


async def _read(settings: Settings, first: datetime | None, last: datetime | None) -> VarianceView:
    until = today(Ambient()) if last is None else last.date()
    since = until - timedelta(days=30) if first is None else first.date()
    if not timedelta() <= until - since < timedelta(days=MOST_DAYS):
        raise click.UsageError(f"Give 1 to {MOST_DAYS} days, the first of them first.")
    database = open_database(settings.database_url)
    try:
        return await read_variance(database, since, until)
    finally:
        await database.aclose()


def _show(view: VarianceView, everything: bool) -> None:
    out = console()
    rows = table("day", "provider", "model", "jobs", "billed, USD", "listed, USD", "difference", "%")
    shown = [row for row in view.rows if everything or row.reported]
    for row in shown:
        mark = "red" if row.reported else "default"
        rows.add_row(
            row.day,
            escape(row.provider),
            "all of them" if row.model is None else escape(row.model),
            str(row.jobs),
            usd(row.cost_micros),
            usd(row.listed_micros),
            f"[{mark}]{usd(row.difference_micros)}[/]",
            "" if row.percent is None else f"{row.percent:+f}",
        )
    if shown:
        out.print(rows)
    total = view.total
    out.print(
        f"{view.first} to {view.to}: {usd(total.difference_micros)} USD apart where the two differ, "
        f"{total.reported} reported",
        highlight=False,
    )
    if total.reported:
        out.print(
            "see whether provider_cost in the registry is right (gateway registry check --live), and what is "
            "billed (gateway billing reconcile)",
            highlight=False,
        )
