"""`gateway billing`: the money."""

import rich_click as click

from gateway.cli.billing_reports import ledger, statement, usage

__all__ = ["billing"]


@click.group()
def billing() -> None:
    """The money: what was used, what moved, what a month comes to."""


for command in (usage, ledger, statement):
    billing.add_command(command)
