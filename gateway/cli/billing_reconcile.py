"""`gateway billing reconcile`: a provider's bill beside the books."""

import asyncio
import os
import sys
from contextlib import AsyncExitStack
from datetime import datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path

import rich_click as click
from msgspec import Struct

from billing.reconcile import Comparison, Tolerance
from gateway.ambient import Ambient
from gateway.cli.billing_apply import Corrector
from gateway.cli.billing_differences import Printer, printer_of
from gateway.cli.connect import open_gateway
from gateway.cli.days import DAY
from gateway.cli.registry import open_registry
from gateway.db.engine import open_database
from gateway.reconcile import MARGIN, Source, add_ours, add_theirs, days_of, read_files, source_of
from gateway.settings import Settings, load_settings

__all__ = ["reconcile"]

ADMIN_KEY = "FAL_ADMIN_KEY"


class _Tolerances(Struct, frozen=True, kw_only=True):
    each: Tolerance
    sums: Tolerance


class _Asked(Struct, frozen=True, kw_only=True):
    """What the command was told."""

    provider: str
    source: Source
    files: tuple[Path, ...]
    key: str | None
    """To ask fal with; None: files are read."""
    by_day: bool
    start: datetime | None
    end: datetime | None
    """The first moment after what is asked about."""
    within: _Tolerances
    apply: bool


def _tolerance(context: click.Context, parameter: click.Parameter, value: str | None) -> _Tolerances:
    """Dollars, or a share: `0.01`, `2%`."""
    if value is None:
        return _Tolerances(each=Tolerance(), sums=Tolerance(percent=Decimal(5)))
    share = value.endswith("%")
    try:
        amount = Decimal(value.removesuffix("%"))
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite() or not 0 <= amount <= (100 if share else 10**6):
        raise click.BadParameter(
            f"{value!r} is neither US dollars, 0.01 say, nor a share, 2%.", context, parameter
        )
    given = Tolerance(percent=amount) if share else Tolerance(micros=int(amount * 1_000_000))
    return _Tolerances(each=given, sums=given)


@click.command()
@click.option("--provider", required=True, help="The registry's name of it: fal, diffusers.")
@click.argument("files", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--fetch", is_flag=True, help="Ask the provider itself (fal); needs --from and --to.")
@click.option("--by-day", is_flag=True, help="With --fetch: sums by day and endpoint, not each request.")
@click.option("--from", "first", type=DAY, help="First day (UTC) that is asked about.")
@click.option("--to", "last", type=DAY, help="Last day (UTC), itself too.")
@click.option(
    "--tolerance",
    "within",
    metavar="USD|N%",
    callback=_tolerance,
    help="How much may differ: 0.01 or 2%. Without it a micro-dollar of an attempt, 5% of a sum.",
)
@click.option("--apply", is_flag=True, help="Enter what differs in the ledger, as corrections.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.option("--csv", "as_csv", is_flag=True, help="As CSV; the totals go to stderr.")
def reconcile(
    provider: str,
    files: tuple[Path, ...],
    fetch: bool,
    by_day: bool,
    first: datetime | None,
    last: datetime | None,
    within: _Tolerances,
    apply: bool,
    as_json: bool,
    as_csv: bool,
) -> None:
    """Compare what a provider billed, as FILES of its export say or as it says itself, with the books.

    FILES are JSON, JSON lines or CSV: of fal answers of its platform API (billing-events, usage or
    requests), of Modal its billing report. By request each attempt is compared; in sums each day and
    endpoint.

    Exits with 1 when something differs by more than is tolerated, with 0 when nothing does, with 2 when it
    cannot be told. Without --apply it only reads; a gateway may run meanwhile.
    """
    if as_json and as_csv:
        raise click.UsageError("Give --json or --csv, not both.")
    if fetch == bool(files):
        raise click.UsageError("Give files of the provider's export, or --fetch with --from and --to.")
    if by_day and (apply or not fetch):
        raise click.UsageError("--by-day goes with --fetch, and is a check alone: --apply enters requests.")
    source, key = _source(provider, fetch)
    start, end = days_of(first and first.date(), last and last.date())
    if fetch and (start is None or end is None):
        raise click.UsageError("--fetch needs --from and --to: days, such as 2026-11-01.")
    if start is not None and end is not None and start >= end:
        raise click.UsageError("--from is after --to.")
    asked = _Asked(
        provider=provider,
        source=source,
        files=files,
        key=key,
        by_day=by_day,
        start=start,
        end=end,
        within=within,
        apply=apply,
    )
    printer = printer_of("json" if as_json else "csv" if as_csv else "table")
    sys.exit(asyncio.run(_run(load_settings(), asked, printer)))


def _source(provider: str, fetch: bool) -> tuple[Source, str | None]:
    """How a provider's exports are read, and the key to ask it with."""
    catalog, _ = open_registry()
    row = catalog.data.providers.get(provider)
    if row is None:
        there = ", ".join(catalog.data.providers)
        raise click.UsageError(f"The registry has no provider {provider!r}; it has {there}.")
    source = source_of(row.type, os.environ)
    if source is None:
        raise click.UsageError(f"No export of a provider of the type {row.type} is known.")
    if not fetch:
        return source, None
    if row.type != "fal":
        raise click.UsageError(
            f"A provider of the type {row.type} cannot be asked: give files of its export."
        )
    names = ADMIN_KEY, row.key or "FAL_KEY"
    key = next((found for name in names if (found := os.environ.get(name, "").strip())), None)
    if key is None:
        raise click.UsageError(f"fal shows its bills to a key alone: set {names[0]} or {names[1]}.")
    return source, key


async def _run(settings: Settings, asked: _Asked, printer: Printer) -> int:
    """Compare and print; the exit code."""
    with Comparison(
        asked.provider,
        now=Ambient().now_ms(),
        start=_ms(asked.start),
        end=_ms(asked.end),
        each=asked.within.each,
        sums=asked.within.sums,
        name=asked.source.name,
        idles=asked.source.idles,
    ) as comparison:
        if asked.key is None:
            add_theirs(comparison, read_files(asked.source, asked.files))
        else:
            await _fetch(comparison, asked, asked.key)
        database = open_database(settings.database_url)
        try:
            await add_ours(comparison, database, asked.provider, asked.source)
        finally:
            await database.aclose()
        entered = await _compare(settings, comparison, asked, printer)
        printer.end(comparison.totals, entered)
        return 1 if comparison.totals.differ else 0


async def _compare(
    settings: Settings, comparison: Comparison, asked: _Asked, printer: Printer
) -> tuple[int, int] | None:
    """Print what differs, and enter it if that was asked for: how much was entered."""
    async with AsyncExitStack() as stack:
        corrector = None
        if asked.apply:
            client = await stack.enter_async_context(open_gateway(settings, run_jobs=False))
            corrector = Corrector(client, asked.provider, sums=not asked.source.by_request)
        for difference in comparison.differences():
            printer.add(difference)
            if corrector is not None:
                await corrector.add(difference)
        if corrector is None:
            return None
        await corrector.flush()
        return corrector.entered, corrector.micros


async def _fetch(comparison: Comparison, asked: _Asked, key: str) -> None:
    """Ask fal."""
    # They load an HTTP client, for which no other command waits.
    from providers.fal.addresses import read_addresses
    from providers.fal.billing import FalBilling
    from providers.fal.findings import CatalogueError

    try:
        addresses = read_addresses(os.environ)
    except ValueError as error:
        raise CatalogueError(str(error)) from error
    if asked.start is None or asked.end is None:
        raise click.UsageError("--fetch needs --from and --to.")
    async with FalBilling(addresses, key, ADMIN_KEY) as bill:
        pages = (
            bill.days(asked.start, asked.end)
            if asked.by_day
            else bill.requests(asked.start - MARGIN, asked.end + MARGIN)
        )
        async for rows in pages:
            add_theirs(comparison, iter(rows))


def _ms(at: datetime | None) -> int | None:
    return None if at is None else int(at.timestamp() * 1000)
