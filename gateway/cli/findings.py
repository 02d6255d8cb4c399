"""What the commands share that look for what is wrong: `gateway doctor`, `gateway billing verify`."""

import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager

import rich_click as click
from rich.console import Console
from rich.markup import escape
from sqlalchemy.exc import SQLAlchemyError

from billing.findings import Finding
from gateway.cli.console import table
from gateway.db.engine import Database, DatabaseError, open_database
from gateway.settings import Settings
from gateway.storage import StorageError

__all__ = ["SHOWN", "ends_with_2", "reading", "show_findings", "verdict"]

SHOWN = 50
"""Findings, for people; JSON has all of them."""


@asynccontextmanager
async def reading(settings: Settings) -> AsyncIterator[Database]:
    """The database, to be read beside a gateway that runs."""
    database = open_database(settings.database_url)
    try:
        yield database
    finally:
        await database.aclose()


@contextmanager
def ends_with_2() -> Iterator[None]:
    """Ends the command with 2 where it cannot be told whether something is wrong."""
    try:
        yield
    except (DatabaseError, StorageError) as error:
        why = str(error)
    except SQLAlchemyError as error:
        why = f"the database cannot be read by this version; a start of the gateway upgrades it: {error}"
    else:
        return
    click.echo(f"error: {why}", err=True)
    sys.exit(2)


def show_findings(out: Console, findings: Sequence[Finding]) -> None:
    """What is wrong, as a table; nothing when nothing is."""
    if not findings:
        return
    rows = table("about", "what", "detail")
    for finding in findings[:SHOWN]:
        rows.add_row(*(escape(text) for text in (finding.subject, finding.code, finding.detail)))
    out.print(rows)
    more = len(findings) - SHOWN
    out.print(f"... and {more} more; --json has them\n" if more > 0 else "", highlight=False)


def verdict(findings: Sequence[Finding]) -> str:
    """All is well, or how many are wrong of each kind."""
    if not findings:
        return "[green]all is well[/]"
    kinds = Counter(finding.code for finding in findings)
    return "[red]not well[/]: " + ", ".join(f"{number} {code}" for code, number in kinds.items())
