"""What commands share that ask the gateway for something, or tell it of money."""

import asyncio
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any

import rich_click as click

from gateway.accounts.amounts import AMOUNTS, CHANGES, is_amount, is_change
from gateway.cli.connect import open_gateway
from gateway.settings import load_settings

__all__ = ["AS_JSON", "balance_words", "call", "usd", "usd_change"]

AS_JSON = click.option("--json", "as_json", is_flag=True, help="As JSON.")


def call(method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """One call to the gateway that runs here, or to one that is opened for it and runs no jobs."""

    async def run() -> dict[str, Any]:
        async with open_gateway(load_settings(), run_jobs=False) as client:
            return await client.call(method, path, body)

    return asyncio.run(run())


def usd(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """An amount as the API takes it. Checked here: what the server says of one names its own fields."""
    return _checked(context, parameter, value, is_amount, AMOUNTS)


def usd_change(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """An amount that may be below 0, likewise."""
    return _checked(context, parameter, value, is_change, CHANGES)


def _checked(
    context: click.Context,
    parameter: click.Parameter,
    value: str | None,
    good: Callable[[Decimal], bool],
    taken: str,
) -> str | None:
    if value is None:
        return None
    try:
        dollars = Decimal(value)
    except InvalidOperation:
        dollars = Decimal("NaN")
    if not good(dollars):
        raise click.BadParameter(f"{value!r} is no amount. Give {taken}: 12.50, say.", context, parameter)
    return f"{dollars:f}"


def balance_words(balance: dict[str, Any]) -> str:
    """A balance for people."""
    words = f"{balance['available']:.2f}" + (" postpaid" if balance["postpaid"] else "")
    return words + (f", {balance['held']:.2f} held" if balance["heldMicros"] else "")
