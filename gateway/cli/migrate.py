"""`gateway migrate`: bring the database to this version's schema, and end."""

import sys
from contextlib import nullcontext

import rich_click as click

from gateway.settings import load_settings

__all__ = ["migrate"]


@click.command()
@click.option("--check", is_flag=True, help="Change nothing; exit with 1 when the database is behind.")
def migrate(check: bool) -> None:
    """Bring the database to this version's schema, and end.

    `gateway serve` and `gateway worker` do so by themselves, unless GATEWAY_MIGRATE=step leaves it to this
    command: before an upgrade, once, with an account that may change tables.
    """
    from gateway.ambient import Ambient
    from gateway.db.migrate import look, upgrade
    from gateway.locks import hold_folder

    settings = load_settings()
    if check:
        found = look(settings.database_url)
        if found.behind:
            click.echo(
                f"the database {_at(found.current)}; this version needs {found.head}: `gateway migrate`"
            )
            sys.exit(1)
        click.echo(f"the database is at revision {found.head}, as this version needs it")
        return
    # A SQLite file is the gateway's that holds its folder; on a server a lock of the database's decides.
    with nullcontext() if settings.shared_database else hold_folder(settings.data_dir):
        done = upgrade(settings.database_url, at=Ambient().now_ms())
    if done.from_revision == done.to_revision:
        click.echo(f"the database is at revision {done.to_revision}: nothing was to be done")
        return
    kept = "" if done.backup is None else f"; a copy of what it was is kept in {done.backup}"
    click.echo(f"the database {_was(done.from_revision)} and is at revision {done.to_revision} now{kept}")


def _at(revision: str | None) -> str:
    return "is empty" if revision is None else f"is at revision {revision}"


def _was(revision: str | None) -> str:
    return "was empty" if revision is None else f"was at revision {revision}"
