"""`gateway registry check --live` and `gateway registry import`: our registry beside what fal says today."""

import asyncio
import os
import sys
import textwrap

import msgspec
import rich_click as click
from rich.console import Console
from rich.markup import escape

from gateway.cli.console import console
from providers.fal.addresses import Addresses, read_addresses
from providers.fal.catalogue import FalCatalogue, Known
from providers.fal.findings import CatalogueError, Finding
from providers.fal.live_check import LiveReport, compare, fal_routes
from providers.fal.openapi import SchemaError, read_schema
from providers.fal.proposal import propose
from registry.schema import Catalogue

__all__ = ["check_live", "import_fal"]

KEY = "FAL_KEY"
TITLES = {"breaks": "Breaks", "note": "Notes"}


def check_live(data: Catalogue, *, as_json: bool) -> None:
    """Compare a registry with fal, show what differs, and end with 1 where something breaks.

    Raises:
        CatalogueError: fal could not be asked, or its documents cannot be read.
    """
    wanted = list(dict.fromkeys(route.endpoint for _, route in fal_routes(data)))
    known = asyncio.run(_known(data, wanted)) if wanted else {}
    if len(wanted) > 1 and not known:
        raise CatalogueError(f"fal knows none of the {len(wanted)} endpoints: is FAL_PLATFORM_URL right?")
    report = compare(data, known)
    if known and len(report.unread) == len(known):
        raise CatalogueError(
            "none of fal's documents can be read, so nothing was compared: is FAL_OPENAPI_URL right?"
        )
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(report)).decode())
    else:
        _show(console(), report)
    if report.breaks:
        sys.exit(1)


async def _known(data: Catalogue, endpoints: list[str]) -> dict[str, Known]:
    """What fal says of some endpoints.

    Raises:
        CatalogueError: no key is set, an address is none, or fal could not be asked.
    """
    key, name = _key(data)
    async with FalCatalogue(_addresses(), key, name) as catalogue:
        return await catalogue.look_up(endpoints)


def _key(data: Catalogue) -> tuple[str | None, str]:
    """The key of the registry's fal, None where it is not set; and the variable that has it."""
    names = [row.key or KEY for row in data.providers.values() if row.type == "fal"] or [KEY]
    found = next((name for name in names if os.environ.get(name, "").strip()), names[0])
    return os.environ.get(found, "").strip() or None, found


def _addresses() -> Addresses:
    """Fal's addresses.

    Raises:
        CatalogueError: one is none.
    """
    try:
        return read_addresses(os.environ)
    except ValueError as error:
        raise CatalogueError(str(error)) from error


def _show(out: Console, report: LiveReport) -> None:
    """What breaks, then the notes, each under its model and endpoint; then the sum of them."""
    for level, title in TITLES.items():
        found = [finding for finding in report.findings if finding.level == level]
        if found:
            out.print(f"[bold]{title}[/]")
            _group(out, found)
            out.print()
    notes = len(report.findings) - report.breaks
    unread = f" ({len(report.unread)} not compared)" if report.unread else ""
    verdict = "[red]something breaks[/]" if report.breaks else "[green]nothing breaks[/]"
    out.print(
        f"{_count(report.endpoints, 'endpoint')} of fal{unread}, {_count(report.breaks, 'break')}, "
        f"{_count(notes, 'note')}: {verdict}",
        highlight=False,
    )


def _group(out: Console, findings: list[Finding]) -> None:
    before = ("", "")
    for finding in findings:
        if finding.model != before[0]:
            out.print(f"  [bold]{escape(finding.model)}[/]", highlight=False)
        if (finding.model, finding.endpoint) != before:
            out.print(f"    {escape(finding.endpoint)}", highlight=False)
        before = finding.model, finding.endpoint
        _line(out, "- ", f"{finding.message} [{finding.code}]")
        if finding.level == "breaks":
            _line(out, "  -> ", finding.todo)


def _line(out: Console, mark: str, text: str) -> None:
    """One entry, whose further lines stand under its first."""
    indent = " " * (6 + len(mark))
    # A name of fal's may hold what a terminal obeys.
    plain = "".join(character if character.isprintable() else " " for character in text)
    lines = textwrap.wrap(
        plain, max(out.width, 60), initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False
    )
    lines[0] = lines[0].replace(indent, f"      {mark}", 1)
    for line in lines:
        out.print(escape(line), highlight=False)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def import_fal(data: Catalogue, endpoint: str) -> None:
    """Print the rows that a registry would need for an endpoint of fal's.

    Raises:
        CatalogueError: fal could not be asked, has no such endpoint, or its document cannot be read.
    """
    endpoint = endpoint.strip().removeprefix("https://fal.ai/models/").strip("/")
    known = asyncio.run(_one(data, endpoint))
    try:
        schema = read_schema(known.document, endpoint)
    except SchemaError as error:
        raise CatalogueError(f"what fal says of {endpoint} cannot be read: {error}") from error
    provider = next((name for name, row in data.providers.items() if row.type == "fal"), "fal")
    click.echo(propose(data, schema, known, provider), nl=False)


async def _one(data: Catalogue, endpoint: str) -> Known:
    """An endpoint with its document; without a key, with nothing but that."""
    key, name = _key(data)
    async with FalCatalogue(_addresses(), key, name) as catalogue:
        if key is not None:
            found = (await catalogue.look_up([endpoint])).get(endpoint)
        else:
            document = await catalogue.document(endpoint)
            found = Known(endpoint=endpoint, document=document) if document is not None else None
    if found is None:
        raise CatalogueError(f"fal has no endpoint {endpoint!r}: its models are at https://fal.ai/models")
    return found
