"""`gateway billing`: what was spent and earned, and whether it adds up."""

import rich_click as click

from gateway.cli.billing_reconcile import reconcile
from gateway.cli.billing_variance import variance

__all__ = ["billing"]


@click.group()
def billing() -> None:
    """Look after the books: what providers bill, and whether it is what was expected."""


billing.add_command(reconcile)
billing.add_command(variance)
