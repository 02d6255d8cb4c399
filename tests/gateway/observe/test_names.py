"""The list of metrics, the page on them, and what a scrape gives are the same."""

import re
from pathlib import Path

import httpx
from support.closed_app import client, closed_app
from support.scraped import OPEN_METRICS, Scraped

from gateway.observe.names import NAMES

ROOT = Path(__file__).parents[3]


def written() -> list[list[str]]:
    """The rows of the page's table."""
    text = (ROOT / "docs" / "metrics.md").read_text("utf-8")
    table = re.search(r"^\| name \|.*?(?=^[^|]|\Z)", text, re.M | re.S)
    assert table is not None
    lines = [line.strip("| \n").split(" | ") for line in table[0].splitlines()[2:]]
    return [[cell.strip() for cell in line] for line in lines]


def test_metrics_md_holds_every_metric() -> None:
    rows = [
        (name.strip("`"), kind, source, "" if labels == "-" else labels.replace("`", "").replace(",", ""))
        for name, kind, source, labels, *_ in written()
    ]
    assert rows == [(row.name, row.kind, row.source, " ".join(row.labels)) for row in NAMES]


def test_every_row_says_the_unit_and_what_it_tells() -> None:
    assert all(len(row) == 6 and all(row) for row in written())
    assert all(row.help[0].isupper() or row.help[0].isdigit() for row in NAMES)


def test_names_say_their_kind() -> None:
    for row in NAMES:
        assert row.name.endswith("_total") == (row.kind == "counter"), row.name
        assert row.name.endswith("_info") == (row.kind == "info"), row.name
        assert row.name.endswith("_seconds") or row.kind != "histogram", row.name
    assert len({row.name for row in NAMES}) == len(NAMES)


async def scrape(http: httpx.AsyncClient, accept: str) -> Scraped:
    answer = await http.get("/metrics", headers={"Accept": accept})
    assert answer.status_code == 200, answer.text
    return Scraped(answer.text, answer.headers["content-type"])


async def test_a_scrape_has_each_of_them_and_nothing_else(tmp_path: Path) -> None:
    token = "t" * 32
    async with closed_app(tmp_path, GATEWAY_METRICS_TOKEN=token) as app, client(app, token) as http:
        for accept in ("*/*", "text/plain; version=1.0.0; q=0.5", OPEN_METRICS):
            found = await scrape(http, accept)
            kinds = {name: family.type for name, family in found.families.items()}
            is_plain = accept != OPEN_METRICS
            expected = {
                # In the plain text an info is a gauge of 1.
                row.name if row.kind == "info" and is_plain else row.family: (
                    "gauge" if row.kind == "info" and is_plain else row.kind
                )
                for row in NAMES
            }
            assert kinds == expected
            labels = {row.family: set(row.labels) for row in NAMES} | {
                row.name: set(row.labels) for row in NAMES
            }
            for name, family in found.families.items():
                for sample in family.samples:
                    assert sample.labels.keys() - {"le"} == labels[name], sample


async def test_it_is_said_in_the_form_that_was_asked_for(tmp_path: Path) -> None:
    token = "t" * 32
    async with closed_app(tmp_path, GATEWAY_METRICS_TOKEN=token) as app, client(app, token) as http:
        plain = await http.get("/metrics")
        assert plain.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert plain.headers["cache-control"] == "no-store"
        later = await http.get("/metrics", headers={"Accept": OPEN_METRICS})
        assert later.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
        assert later.text.endswith("# EOF\n")
