"""`gateway template`: the templates, and what an author of one needs."""

import json
import sys
from pathlib import Path
from typing import Any

import rich_click as click
from rich.markup import escape

from gateway.cli.calls import AS_JSON, call
from gateway.cli.console import console, table
from gateway.cli.registry import open_registry
from gateway.cli.template_lines import lines_of, price_words, state_words
from gateway.cli.template_pictures import samples, thumbnail
from gateway.cli.template_run import preview, run
from gateway.settings import load_settings
from gateway.template_check import faults_of, notes_of
from registry.catalog import Catalog
from templates.engine import Template
from templates.errors import TemplateError
from templates.library import TemplateLibrary, load_template

__all__ = ["template"]

ROW = "template.yaml"


@click.group()
def template() -> None:
    """Business presets: a few variables in, finished files out."""


for command in (preview, run, thumbnail, samples):
    template.add_command(command)


@template.command("list")
@AS_JSON
def list_templates(as_json: bool) -> None:
    """List the templates: what they make, what their examples would cost, whether they can run now."""
    found = call("GET", "/api/templates")
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    rows = table("template", "needs", "files", "from, USD", "state", "about")
    for one in found["templates"]:
        needs = ", ".join(one["variables"]["required"]) or "nothing"
        cells = (one["name"], needs, str(len(one["outputs"]) or "1"), price_words(one), state_words(one))
        rows.add_row(*(escape(cell) for cell in cells), escape(one["description"]))
    console().print(rows)


@template.command()
@click.argument("name")
@AS_JSON
def show(name: str, as_json: bool) -> None:
    """Show the template NAME: its variables, its steps and its files."""
    found = call("GET", f"/api/templates/{name}")
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    for line in lines_of(found):
        console().print(line, highlight=False)


@template.command()
@click.argument("folder", required=False, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def check(folder: Path | None, as_json: bool) -> None:
    """Check FOLDER: a template's, or one that holds several; without it all that `gateway serve` would load.

    Exits with 1 and says what is wrong with each. Needs no gateway.
    """
    catalog, _ = open_registry()
    checked = [_checked(one, catalog) for one in _folders(folder)]
    if as_json:
        click.echo(json.dumps({"templates": checked}, indent=2))
    else:
        _show_checked(checked)
    if any(one["faults"] for one in checked):
        sys.exit(1)


def _folders(folder: Path | None) -> list[Path | Template]:
    """What is to be checked: folders of templates, or templates that were loaded."""
    if folder is None:
        return list(TemplateLibrary.load(load_settings().templates_dir).templates.values())
    if (folder / ROW).is_file():
        return [folder]
    if not folder.is_dir():
        raise click.UsageError(f"{folder} is no folder")
    found = sorted(one for one in folder.iterdir() if one.is_dir() and one.name[0].isalpha())
    if not found:
        raise click.UsageError(f"{folder} has no {ROW} and no folder that could have one")
    return list(found)


def _checked(one: Path | Template, catalog: Catalog) -> dict[str, Any]:
    try:
        loaded = one if isinstance(one, Template) else load_template(one)
    except TemplateError as error:
        return {"name": Path(str(one)).resolve().name, "faults": [str(error)], "notes": []}
    return {"name": loaded.name, "faults": faults_of(loaded, catalog), "notes": notes_of(loaded)}


def _show_checked(checked: list[dict[str, Any]]) -> None:
    out = console()
    for one in checked:
        verdict = "[red]cannot be used as it is[/]" if one["faults"] else "[green]good[/]"
        out.print(f"[bold]{escape(one['name'])}[/]: {verdict}", highlight=False)
        for fault in one["faults"]:
            out.print(f"  - {escape(fault)}", highlight=False)
        for note in one["notes"]:
            out.print(f"  [dim]note: {escape(note)}[/]", highlight=False)
