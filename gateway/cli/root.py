"""The command tree, and what turns a known failure into one line and an exit code."""

import sys

import rich_click as click

from gateway import __version__
from gateway.cli.accounts import account, admin, keys
from gateway.cli.backend import backend
from gateway.cli.backup import backup, restore
from gateway.cli.billing import billing
from gateway.cli.budgets import list_budgets, remove_budget, set_budget
from gateway.cli.doctor import doctor
from gateway.cli.errors import known_failure
from gateway.cli.generate import generate
from gateway.cli.health import health
from gateway.cli.jobs import jobs
from gateway.cli.migrate import migrate
from gateway.cli.outbox import outbox
from gateway.cli.registry import models, registry
from gateway.cli.route import route
from gateway.cli.run import config, engine, serve, worker
from gateway.cli.template import template
from gateway.cli.webhooks import webhooks

__all__ = ["cli", "main"]


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="image-gateway")
def cli() -> None:
    """One gateway in front of every image model."""


for command in (
    serve,
    worker,
    engine,
    migrate,
    health,
    generate,
    jobs,
    outbox,
    webhooks,
    account,
    admin,
    keys,
    billing,
    backend,
    billing,
    template,
    models,
    route,
    registry,
    config,
    doctor,
    backup,
    restore,
):
    cli.add_command(command)
for command in (list_budgets, set_budget, remove_budget):
    account.add_command(command)


def main() -> None:
    """Run the command line; never a stack trace for a failure that has a name."""
    try:
        cli.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        sys.exit(130)
    except Exception as error:
        found = known_failure(error)
        if found is None:
            raise
        message, code = found
        click.echo(f"error: {message}", err=True)
        sys.exit(code)
