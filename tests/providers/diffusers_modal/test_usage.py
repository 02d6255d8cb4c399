"""Modal's billing report: as its command line writes it, and as its SDK gives it."""

import json
from dataclasses import asdict
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from providers.diffusers_modal.deployment import APP_NAME
from providers.diffusers_modal.usage import read_report
from providers.exports import BilledSum, ExportError, read_records

START = 1_795_132_800_000
ROW = {
    "object_id": "ap-1",
    "description": APP_NAME,
    "environment": "main",
    "interval_start": "2026-11-20T00:00:00",
    "cost": "1.250000000001",
}


def read(folder: Path, content: object, environment: str | None = None) -> list[BilledSum]:
    path = folder / "report"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return list(read_report(read_records(path), environment))


def facts(rows: list[BilledSum]) -> list[tuple[str, int, Decimal]]:
    return [(row.name, row.start, row.dollars) for row in rows]


FOUND = [(APP_NAME, START, Decimal("1.250000000001"))]


def test_json(tmp_path: Path) -> None:
    assert facts(read(tmp_path, [ROW])) == FOUND


def test_csv(tmp_path: Path) -> None:
    header = "Object ID,Description,Environment,Interval Start,Cost\n"
    assert facts(read(tmp_path, header + ",".join(ROW.values()))) == FOUND


def test_items_of_the_sdk(tmp_path: Path) -> None:
    types = pytest.importorskip("modal.types")
    item = types.BillingReportItem(
        object_id="ap-1",
        description=APP_NAME,
        environment_name="main",
        interval_start=datetime(2026, 11, 20, tzinfo=UTC),
        cost=Decimal("1.250000000001"),
        cost_by_resource={"GPU": Decimal("1.25")},
        tags={},
    )
    assert facts(read(tmp_path, json.dumps([asdict(item)], default=str))) == FOUND


def test_resources_are_rows_of_their_own(tmp_path: Path) -> None:
    rows = [ROW | {"resource": "CPU", "cost": "0.25"}, ROW | {"resource": "Memory", "cost": "0.25"}]
    found = read(tmp_path, rows)
    assert sum(row.dollars for row in found) == Decimal("0.5")
    assert found[0].identity != found[1].identity


def test_other_apps_and_environments_are_not_ours(tmp_path: Path) -> None:
    rows = [ROW, ROW | {"description": "other"}, ROW | {"environment": "staging", "cost": "9"}]
    assert facts(read(tmp_path, rows, "main")) == FOUND
    assert len(read(tmp_path, rows)) == 2


@pytest.mark.parametrize(
    ("content", "environment", "words"),
    [
        ([ROW | {"cost": None}], None, "report, record 1: this is no row of a report; expected is Modal's"),
        ([{"app": "x"}], None, "no row of a report"),
        ("a,b\n1,2\n", None, "no row of a report"),
        ([ROW | {"interval_start": "yesterday"}], None, "no time"),
        ([ROW | {"description": "other"}], None, f"no row of the app {APP_NAME}; it has other in main"),
        ([ROW], "staging", "in the environment staging"),
    ],
)
def test_what_is_none_says_so(tmp_path: Path, content: object, environment: str | None, words: str) -> None:
    with pytest.raises(ExportError, match=words):
        read(tmp_path, content, environment)
