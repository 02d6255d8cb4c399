"""`gateway billing usage`, `ledger` and `statement`: the reports, for people, for programs and as files."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import rich_click as click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from billing.money import column_usd, decimals_of, usd
from billing.movements import KINDS
from gateway.cli.connect import open_gateway
from gateway.client import GatewayClient
from gateway.csv_table import MEDIA_TYPE as CSV
from gateway.settings import load_settings

__all__ = ["ledger", "statement", "usage"]

AS_JSON = click.option("--json", "as_json", is_flag=True, help="As JSON.")
OF_ACCOUNT = click.option("--account", metavar="ID", help="Of this account; an admin's alone.")
AS_CSV = click.option("--csv", "file", metavar="FILE", help="As CSV into FILE; -: to the standard output.")
DAY = click.DateTime(["%Y-%m-%d"])
FROM = click.option("--from", "start", type=DAY, metavar="DATE", help="On this day (UTC) or later.")
UNTIL = click.option("--to", "end", type=DAY, metavar="DATE", help="On this day or earlier.")

SIDES = ("availableMicros", "heldMicros", "amountMicros")
WHOLE = ("at", "day", "month")
"""Columns that are not folded where a terminal is narrow, like those of amounts."""

Answer = tuple[str, dict[str, Any]]
"""A text, or JSON."""


@click.command()
@click.option(
    "--by",
    default="month,model",
    show_default=True,
    help="What each row is of, with commas: day, month, model, provider, key, userId; an admin's: account.",
)
@FROM
@UNTIL
@OF_ACCOUNT
@click.option("--model", "models", multiple=True, help="Of this model alone; may be given several times.")
@AS_CSV
@AS_JSON
def usage(
    by: str,
    start: date | None,
    end: date | None,
    account: str | None,
    models: tuple[str, ...],
    file: str | None,
    as_json: bool,
) -> None:
    """Show what was used and what it cost (an admin: of all accounts, with what providers bill).

    Jobs count on the day on which they ended.
    """
    _one_form(file, as_json)
    query = [("by", by), *_days(start, end), *(("model", name) for name in models)]
    if account is not None:
        query.append(("account", account))

    async def ask(client: GatewayClient) -> Answer:
        everybody = account is not None or await _admin(client)
        path = f"/api/{'admin/billing' if everybody else 'billing'}/usage?{urlencode(query)}"
        return await _answer(client, path, CSV if file else None)

    text, found = _run(ask)
    if file is not None:
        _write(file, text)
    elif as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        _print_usage(found, [name.strip() for name in by.split(",")])


@click.command()
@OF_ACCOUNT
@click.option(
    "--kind", "kinds", multiple=True, type=click.Choice(KINDS), help="Of this kind alone; several times."
)
@FROM
@UNTIL
@click.option("--job", metavar="ID", help="Of this job alone.")
@click.option("--limit", type=click.IntRange(1, 100), default=20, show_default=True, help="How many.")
@AS_CSV
@AS_JSON
def ledger(
    account: str | None,
    kinds: tuple[str, ...],
    start: date | None,
    end: date | None,
    job: str | None,
    limit: int,
    file: str | None,
    as_json: bool,
) -> None:
    """Show what happened to an account's money, newest first; a CSV has all of it."""
    _one_form(file, as_json)
    query = [*_days(start, end), *(("kind", kind) for kind in kinds)]
    if job is not None:
        query.append(("jobId", job))
    if file is None:
        query.append(("limit", str(limit)))
    path = f"{_whose(account)}/ledger?{urlencode(query)}"
    text, found = _run(lambda client: _answer(client, path, CSV if file else None))
    if file is not None:
        _write(file, text)
        return
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    _print_ledger(found["entries"])
    if found["nextCursor"]:
        click.echo("there are more: --limit, --from and --to, or --csv FILE for all", err=True)


@click.command()
@click.argument("month")
@OF_ACCOUNT
@click.option(
    "--html", "file", metavar="FILE", help="As a page that prints well into FILE; -: to the standard output."
)
@AS_JSON
def statement(month: str, account: str | None, file: str | None, as_json: bool) -> None:
    """Show the statement of MONTH (2026-11): what an account had, what moved, what it has."""
    _one_form(file, as_json)
    path = f"{_whose(account)}/statements/{quote(month, safe='')}"
    text, found = _run(lambda client: _answer(client, path, "text/html" if file else None))
    if file is not None:
        _write(file, text)
    elif as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        _print_statement(found)


# -- asking ----------------------------------------------------------------------------------------


def _one_form(file: str | None, as_json: bool) -> None:
    if file is not None and as_json:
        raise click.UsageError("Give a file, or --json.")


def _days(start: date | None, end: date | None) -> list[tuple[str, str]]:
    return [(name, f"{on:%Y-%m-%d}") for name, on in (("from", start), ("to", end)) if on is not None]


def _whose(account: str | None) -> str:
    return "/api/billing" if account is None else f"/api/admin/accounts/{quote(account, safe='')}"


async def _admin(client: GatewayClient) -> bool:
    return bool((await client.call("GET", "/api/account"))["admin"])


async def _answer(client: GatewayClient, path: str, media_type: str | None) -> Answer:
    if media_type is None:
        return "", await client.call("GET", path)
    return await client.report(path, media_type), {}


def _run(ask: Callable[[GatewayClient], Awaitable[Answer]]) -> Answer:
    """Ask the gateway that runs here, or one that is opened for it and runs no jobs."""

    async def run() -> Answer:
        async with open_gateway(load_settings(), run_jobs=False) as client:
            return await ask(client)

    return asyncio.run(run())


# -- showing ---------------------------------------------------------------------------------------


def _write(file: str, text: str) -> None:
    if file == "-":
        sys.stdout.buffer.write(text.encode())  # its line ends as they are
        return
    Path(file).write_bytes(text.encode())
    click.echo(file, err=True)


def _table(*titles: str) -> Table:
    made = Table(box=None, pad_edge=False, header_style="dim")
    for title in titles:
        made.add_column(title, overflow="fold", no_wrap=title in WHOLE)
    return made


def _print(shown: Table) -> None:
    """A pipe has no width to fit into; a narrow terminal folds what is text, and no amount."""
    console = Console()
    (console if console.is_terminal else Console(width=160)).print(shown)


def _add(shown: Table, *titles: str) -> None:
    for title in titles:
        shown.add_column(title, justify="right", no_wrap=True)


def _change(micros: int, decimals: int) -> str:
    return f"{'+' if micros > 0 else ''}{column_usd(micros, decimals)}" if micros else ""


def _print_usage(found: dict[str, Any], by: Sequence[str]) -> None:
    of_admin = "marginMicros" in found["total"]
    rows = found["rows"]
    money = {"costMicros": "charged", "refundMicros": "refunded"}
    money |= {"providerCostMicros": "cost", "marginMicros": "margin"} if of_admin else {"netMicros": "net"}
    if not any(row["refundMicros"] for row in rows):  # as mostly, and a terminal is narrow
        del money["refundMicros"]
    decimals = decimals_of(row[name] for row in rows for name in money)

    def figures(row: dict[str, Any]) -> list[str]:
        return [
            f"{row['jobs']:,}",
            *(column_usd(row[name], decimals) for name in money),
        ]

    shown = _table(*by)
    _add(shown, "jobs", *money.values())
    for row in rows:
        shown.add_row(*(escape(_named(row, name)) for name in by), *figures(row))
    if rows:
        shown.add_row("total", *([""] * (len(by) - 1)), *figures(found["total"]), style="bold")
    _print(shown)


def _named(row: dict[str, Any], name: str) -> str:
    value = row["keyName"] or row["key"] if name == "key" else row[name]
    return "none" if value is None else str(value)


def _print_ledger(entries: Sequence[dict[str, Any]]) -> None:
    sides = SIDES[:2]
    decimals = decimals_of(row[name] for row in entries for name in sides)
    shown = _table("at", "what", "reference")
    _add(shown, "available", "set aside")
    for row in entries:
        about = row["text"] + (f": {row['note']}" if row["note"] else "")
        cells = (row["at"][:16].replace("T", " "), about, row["reference"])
        shown.add_row(*map(escape, cells), *(_change(row[name], decimals) for name in sides))
    _print(shown)


def _print_statement(found: dict[str, Any]) -> None:
    state = ", provisional" if found["provisional"] else ""
    click.echo(f"{found['accountName']} ({found['accountId']}), {found['month']}{state}, {found['currency']}")
    ends = (found["opening"], found["closing"])
    decimals = decimals_of(one[name] for one in (*ends, *found["movements"]) for name in SIDES)
    opening, closing = ([column_usd(one[name], decimals) for name in SIDES] for one in ends)
    sums = _table("")
    _add(sums, "count", "available", "set aside", "in all")
    sums.add_row("opening balance", "", *opening)
    for row in found["movements"]:
        changes = (_change(row[name], decimals) for name in SIDES)
        sums.add_row(escape(row["text"]), f"{row['count']:,}", *changes)
    last = "balance now" if found["provisional"] else "closing balance"
    sums.add_row(last, "", *closing, style="bold")
    _print(sums)
    if found["models"]:
        click.echo("")
        _print_usage({"rows": found["models"], "total": _total(found["models"])}, ["model"])
    if found["dueMicros"]:
        click.echo(f"\nto pay: {usd(found['dueMicros'])} {found['currency']}")


def _total(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    names = ("jobs", "costMicros", "refundMicros", "netMicros")
    return {name: sum(row[name] for row in rows) for name in names}
