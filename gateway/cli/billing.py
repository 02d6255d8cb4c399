"""`gateway billing`: money that an operator moves, and whether the books are right."""

import asyncio
import json
import sys
from typing import Any

import msgspec
import rich_click as click

from gateway.accounts.money_schemas import BooksView, books_view
from gateway.ambient import Ambient
from gateway.books import check_books
from gateway.cli.billing_reconcile import reconcile
from gateway.cli.billing_reports import ledger, statement, usage
from gateway.cli.billing_variance import variance
from gateway.cli.calls import AS_JSON, balance_words, call, usd, usd_change
from gateway.cli.console import console
from gateway.cli.findings import ends_with_2, reading, show_findings, verdict
from gateway.settings import Settings, load_settings

__all__ = ["billing"]

REFERENCE = click.option("--reference", help="Its own id (the payment's, the ticket's): it counts once.")
NOTE = click.option("--note", help="Why.")


@click.group()
def billing() -> None:
    """Money: what is paid in and given back, what was used, and whether the books are right."""


@billing.command("topup")
@click.argument("account_id")
@click.argument("dollars", metavar="USD", callback=usd)
@REFERENCE
@AS_JSON
def top_up(account_id: str, dollars: str, reference: str | None, as_json: bool) -> None:
    """Add USD dollars that were paid in to ACCOUNT_ID's balance."""
    body = {"accountId": account_id, "amount": dollars, "reference": reference}
    account = call("POST", "/api/admin/topup", _given(body))
    _print(account, account, as_json)


@billing.command()
@click.argument("account_id")
@click.argument("dollars", metavar="USD", callback=usd)
@REFERENCE
@NOTE
@AS_JSON
def credit(account_id: str, dollars: str, reference: str | None, note: str | None, as_json: bool) -> None:
    """Give ACCOUNT_ID USD dollars of credit that nobody paid for."""
    body = {"accountId": account_id, "amount": dollars, "reference": reference, "note": note}
    moved = call("POST", "/api/admin/credit", _given(body))
    _print(moved, moved["account"], as_json)


@billing.command()
@click.argument("account_id")
@click.argument("dollars", metavar="USD", callback=usd)
@REFERENCE
@NOTE
@AS_JSON
def payout(account_id: str, dollars: str, reference: str | None, note: str | None, as_json: bool) -> None:
    """Enter that USD dollars of ACCOUNT_ID's balance were paid back."""
    body = {"accountId": account_id, "amount": dollars, "reference": reference, "note": note}
    moved = call("POST", "/api/admin/payout", _given(body))
    _print(moved, moved["account"], as_json)


# An amount below 0 is no option.
@billing.command(context_settings={"ignore_unknown_options": True})
@click.argument("account_id")
@click.argument("dollars", metavar="USD", callback=usd_change)
@click.option("--note", required=True, help="Why.")
@REFERENCE
@AS_JSON
def adjust(account_id: str, dollars: str, note: str, reference: str | None, as_json: bool) -> None:
    """Put ACCOUNT_ID's balance right by USD dollars: -5 takes five."""
    body = {"accountId": account_id, "amount": dollars, "reference": reference, "note": note}
    moved = call("POST", "/api/admin/adjust", _given(body))
    _print(moved, moved["account"], as_json)


@billing.command()
@click.argument("job_id")
@click.argument("dollars", metavar="[USD]", required=False, callback=usd)
@REFERENCE
@NOTE
@AS_JSON
def refund(job_id: str, dollars: str | None, reference: str | None, note: str | None, as_json: bool) -> None:
    """Give back what JOB_ID was charged, or USD dollars of it: never more than is left of its charge."""
    body = {"jobId": job_id, "amount": dollars, "reference": reference, "note": note}
    moved = call("POST", "/api/admin/refund", _given(body))
    if not as_json:
        click.echo(f"{moved['amount']} USD to {moved['account']['accountId']}", err=True)
    _print(moved, moved["account"], as_json)


@billing.command()
@AS_JSON
def verify(as_json: bool) -> None:
    """Check that ledger, holds, balances, usage, budgets, costs and pictures agree, row by row. Changes
    nothing; a gateway may run meanwhile, and does the same every hour.

    Exits with 0 when all is well, with 1 when something is not, with 2 when the database cannot be read.
    """
    with ends_with_2():
        found = asyncio.run(_verify(load_settings()))
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(found)).decode())
    else:
        out = console()
        show_findings(out, found.findings)
        out.print(verdict(found.findings), highlight=False)
    sys.exit(0 if found.ok else 1)


async def _verify(settings: Settings) -> BooksView:
    async with reading(settings) as database:
        return books_view(await check_books(database, Ambient()))


for command in (usage, ledger, statement, variance, reconcile):
    billing.add_command(command)


def _given(body: dict[str, str | None]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if value is not None}


def _print(answer: dict[str, Any], account: dict[str, Any], as_json: bool) -> None:
    click.echo(json.dumps(answer, indent=2) if as_json else f"{balance_words(account['balance'])} USD")
