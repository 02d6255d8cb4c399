"""docs/templates.md has every key of a template, and the template that it shows is a good one."""

import re
from pathlib import Path

import msgspec
import pytest

from gateway.template_check import faults_of
from gateway.template_schemas import TemplateView
from registry.catalog import Catalog
from registry.load import load_registry
from templates.canvas import WORDS
from templates.library import load_template
from templates.locales import FILTERS
from templates.present import present
from templates.rows import Output, Product, Step, TemplateRow, Use
from templates.variables import Kind, Variable

PAGE = (Path(__file__).parents[2] / "docs" / "templates.md").read_text()
AUTHORS = PAGE[PAGE.index("## Write one\n") :]


@pytest.mark.parametrize("row", [TemplateRow, Variable, Step, Use, Output, Product])
def test_every_key_is_there(row: type[msgspec.Struct]) -> None:
    assert [f.encode_name for f in msgspec.structs.fields(row) if f"`{f.encode_name}`" not in AUTHORS] == []


def test_every_type_and_every_name_of_an_overlay_is_there() -> None:
    for name in (*Kind.__args__, *FILTERS, *WORDS):
        assert re.search(rf"`{name}[`(]", AUTHORS), name


def test_what_is_told_of_the_list_is_in_it() -> None:
    table = PAGE[PAGE.index("| member of the list |") : PAGE.index("### Run it")]
    told = {
        name
        for line in table.splitlines()
        if line.startswith("| `")
        for name in re.findall(r"`(\w+)`", line.split("|")[1])
    }
    assert told - {field.encode_name for field in msgspec.structs.fields(TemplateView)} == set()
    assert len(told) > 6


def test_the_template_that_is_shown_is_a_good_one(tmp_path: Path) -> None:
    folder = tmp_path / "sale-card"
    folder.mkdir()
    (row,) = re.findall(r"```yaml\n(.+?)```", AUTHORS, re.DOTALL)
    prompt, overlay = re.findall(r"```jinja\n(.+?)```", AUTHORS, re.DOTALL)
    for name, text in (("template.yaml", row), ("prompt.jinja", prompt), ("overlay.svg.jinja", overlay)):
        (folder / name).write_text(text)
    found = load_template(folder)
    assert faults_of(found, Catalog(load_registry())) == []
    run = found.plan(found.row.sample, {})
    card, flyer = present(found, run.outputs, run.values, run.language, None, {})
    assert {text.name: text.text for text in card.texts} == {
        "headline": "Everything must go", "price": "€19.90",
    }  # fmt: skip
    assert flyer.data.startswith(b"%PDF-")
