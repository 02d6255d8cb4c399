"""`gateway account budgets`, `set-budget`, `remove-budget`: the most that may be spent, by whom."""

import asyncio
import json
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import urlencode

import rich_click as click
from rich.markup import escape

from billing.budgets import EACH
from billing.money import usd as dollars_of
from gateway.accounts.budget_schemas import LIMITS, is_limit
from gateway.cli.connect import open_gateway
from gateway.cli.console import console, table
from gateway.settings import load_settings

__all__ = ["list_budgets", "remove_budget", "set_budget"]

AS_JSON = click.option("--json", "as_json", is_flag=True, help="As JSON.")
KEY = click.option("--key", "key_id", metavar="KEY_ID", help="Of this API key: the part after igw_.")
USER = click.option("--user", metavar="USER_ID", help="Of this end user (`userId`).")
EACH_USER = click.option("--each-user", is_flag=True, help="Of each end user that has none of its own.")
PERIOD = click.option(
    "--period", type=click.Choice(["month", "all"]), default="month", show_default=True,
    help="Each calendar month (UTC), or once and for all.",
)  # fmt: skip


def _limit(context: click.Context, parameter: click.Parameter, value: str) -> str:
    """An amount as the API takes it. Checked here: what the server says of one names its own fields."""
    try:
        dollars = Decimal(value)
    except InvalidOperation:
        dollars = Decimal("NaN")
    if not is_limit(dollars):
        raise click.BadParameter(f"{value!r} is no amount. Give {LIMITS}: 12.50, say.", context, parameter)
    return f"{dollars:f}"


@click.command("budgets")
@click.argument("account_id")
@click.option("--user", metavar="USER_ID", help="Of users what holds for this one alone.")
@AS_JSON
def list_budgets(account_id: str, user: str | None, as_json: bool) -> None:
    """List the budgets of ACCOUNT_ID, its API keys and its users, with what is used and left of each."""
    query = f"?{urlencode({'userId': user})}" if user else ""
    found = _call("GET", f"/api/admin/accounts/{account_id}/budgets{query}")
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    shown = table("of", "whose", "period", "USD", "used", "left", "starts anew")
    for one in found["budgets"]:
        micros = (one["limitMicros"], one["usedMicros"], one["leftMicros"])
        cells = [one["kind"], one["subject"] or "", one["period"]]
        cells += ["" if amount is None else dollars_of(amount) for amount in micros]
        shown.add_row(*(escape(cell) for cell in (*cells, one["startsAnew"] or "never")))
    console().print(shown)


@click.command("set-budget")
@click.argument("account_id")
@click.argument("usd", callback=_limit)
@KEY
@USER
@EACH_USER
@PERIOD
@AS_JSON
def set_budget(
    account_id: str,
    usd: str,
    key_id: str | None,
    user: str | None,
    each_user: bool,
    period: str,
    as_json: bool,
) -> None:
    """Let ACCOUNT_ID spend no more than USD dollars, or an API key or user of it; what was used counts."""
    body = {**_whose(key_id, user, each_user), "period": period, "limit": usd}
    found = _call("PUT", f"/api/admin/accounts/{account_id}/budgets", body)
    if as_json:
        click.echo(json.dumps(found, indent=2))
    elif found["leftMicros"] is None:
        click.echo(f"{dollars_of(found['limitMicros'])} USD for each user")
    else:
        click.echo(f"{dollars_of(found['leftMicros'])} of {dollars_of(found['limitMicros'])} USD left")


@click.command("remove-budget")
@click.argument("account_id")
@KEY
@USER
@EACH_USER
@PERIOD
def remove_budget(
    account_id: str, key_id: str | None, user: str | None, each_user: bool, period: str
) -> None:
    """Take the budget of ACCOUNT_ID away, or that of an API key or user of it."""
    query = urlencode({**_whose(key_id, user, each_user), "period": period})
    gone = _call("DELETE", f"/api/admin/accounts/{account_id}/budgets?{query}")
    click.echo(f"the budget of {dollars_of(gone['limitMicros'])} USD is gone", err=True)


def _whose(key_id: str | None, user: str | None, each_user: bool) -> dict[str, str]:
    """The kind and subject of a budget."""
    given = [("key", key_id)] if key_id else []
    given += [("user", user)] if user else []
    given += [("user", EACH)] if each_user else []
    if len(given) > 1:
        raise click.UsageError("Give one of --key, --user and --each-user.")
    if not given:
        return {"kind": "account"}
    kind, subject = given[0]
    return {"kind": kind, "subject": str(subject)}


def _call(method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """One call to the gateway that runs here, or to one that is opened for it and runs no jobs."""

    async def run() -> dict[str, Any]:
        async with open_gateway(load_settings(), run_jobs=False) as client:
            return await client.call(method, path, body)

    return asyncio.run(run())
