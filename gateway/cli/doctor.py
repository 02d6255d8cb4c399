"""`gateway doctor`: do the books, the jobs and the store agree? It only reads, beside a gateway too."""

import asyncio
import sys
from collections.abc import Iterable

import msgspec
import rich_click as click
from msgspec import Struct
from rich.console import Console
from sqlalchemy import Connection, func, select

from billing.findings import Finding
from gateway import books
from gateway.ambient import DAY_MS, Ambient
from gateway.cli.console import console
from gateway.cli.findings import ends_with_2, reading, show_findings, verdict
from gateway.db.engine import Database
from gateway.db.tables import image, job, media
from gateway.delivery.outbox import SENT_KEPT_MS
from gateway.jobs import audit
from gateway.orphans import FOLDERS, find_orphans, missing_files
from gateway.settings import Settings, load_settings
from gateway.storage import ImageStore, open_store

__all__ = ["Report", "doctor", "examine", "examine_store"]

PAGE = 1000


class Report(Struct, frozen=True, kw_only=True, rename="camel"):
    """What was found."""

    findings: tuple[Finding, ...]
    """What breaks a rule."""
    jobs: dict[str, int]
    """How many there are, by status."""
    pictures: int
    inputs: int
    """Uploads, and what was fetched."""
    files: int | None
    """In the store; null when that was not looked at."""
    orphans: tuple[str, ...]
    """Files older than a day that no row owns. They are no fault: the gateway removes them daily."""


@click.command()
@click.option("--no-store", is_flag=True, help="Look at the database alone, not for each picture's file.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, with every orphan's key.")
def doctor(no_store: bool, as_json: bool) -> None:
    """Check that the books, the jobs and the store agree. Changes nothing; a gateway may run meanwhile.

    Exits with 0 when all is well, with 1 when something is not, with 2 when it cannot be told: the
    database or the store cannot be read.
    """
    with ends_with_2():
        report = asyncio.run(_examine(load_settings(), with_store=not no_store))
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(report)).decode())
    else:
        _show(console(), report)
    sys.exit(1 if report.findings else 0)


async def _examine(settings: Settings, *, with_store: bool) -> Report:
    async with reading(settings) as database:
        now = Ambient().now_ms()
        report = await database.read(lambda c: examine(c, now))
        if not with_store:
            return report
        store = await asyncio.to_thread(open_store, settings.storage_url, settings.env, to_write=False)
        return await examine_store(report, database, store, now)


def examine(conn: Connection, now: int) -> Report:
    """Look at the database, on one snapshot of it.

    Args:
        conn: inside a transaction.
        now: milliseconds UTC.
    """
    by_status = select(job.c.status, func.count()).group_by(job.c.status).order_by(job.c.status)
    pictures, inputs = (
        conn.execute(select(func.count()).select_from(rows)).scalar_one() for rows in (image, media)
    )
    return Report(
        findings=(*books.verify(conn, now), *audit.untold(conn, now - SENT_KEPT_MS + DAY_MS)),
        jobs={status: number for status, number in conn.execute(by_status)},
        pictures=pictures,
        inputs=inputs,
        files=None,
        orphans=(),
    )


async def examine_store(report: Report, database: Database, store: ImageStore, now: int) -> Report:
    """Look at the store too.

    Args:
        report: of the database.
        database: has the rows.
        store: has the files.
        now: milliseconds UTC.

    Raises:
        DatabaseError, StorageError: one of the two cannot be read.
    """
    orphans = await find_orphans(store, database, now)
    return msgspec.structs.replace(
        report,
        findings=(*report.findings, *await _missing(database, store)),
        files=orphans.files,
        orphans=orphans.keys,
    )


async def _missing(database: Database, store: ImageStore) -> list[Finding]:
    """Every row without its file."""
    found: list[Finding] = []
    for folder in FOLDERS:
        last: str | None = ""
        while last is not None:
            keys, last = await missing_files(store, database, folder, last, PAGE)
            found += [
                Finding(code="missing_file", subject=key, detail="a row, and no such file in the store")
                for key in keys
            ]
    return found


def _show(out: Console, report: Report) -> None:
    """What is wrong, then what there is."""
    show_findings(out, report.findings)
    out.print("\n".join([*_facts(report), verdict(report.findings)]), highlight=False)


def _facts(report: Report) -> Iterable[str]:
    by_status = ", ".join(f"{number} {status}" for status, number in report.jobs.items())
    yield _count(sum(report.jobs.values()), "job") + (f" ({by_status})" if by_status else "")
    files = "" if report.files is None else f", {_count(report.files, 'file')} in the store"
    yield f"{_count(report.pictures, 'picture')}, {_count(report.inputs, 'input')}{files}"
    if report.orphans:
        yield f"{_count(len(report.orphans), 'file')} that no row owns: the gateway removes such daily"
    if report.jobs.get("unknown"):
        yield "jobs that are unknown wait for you: `gateway jobs --status unknown`"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
