"""fal's exports, in the shapes that its platform API documents."""

import csv
import io
import json
from decimal import Decimal
from pathlib import Path

import pytest

from providers.exports import Billed, BilledSum, ExportError, read_records
from providers.fal.usage import read_usage

NOON = 1_768_473_045_000  # 2026-01-15T10:30:45Z
EVENT = {
    "request_id": "abc123",
    "endpoint_id": "fal-ai/flux/dev",
    "timestamp": "2026-01-15T10:30:45Z",
    "output_units": 1.5,
    "unit_price": 0.025,
    "percent_discount": 10,
    "cost_subtotal": 0.0375,
    "cost_discount": 0.00375,
    "cost_total": 0.03375,
    "cost_estimate_nano_usd": 33_750_000,
}
FOUND = Billed(
    request_id="abc123", endpoint="fal-ai/flux/dev", at=NOON, dollars=Decimal("0.03375"), units=Decimal("1.5")
)
USAGE = {
    "endpoint_id": "fal-ai/flux/dev",
    "unit": "image",
    "quantity": 4,
    "unit_price": 0.1,
    "cost": 0.4,
    "currency": "USD",
    "auth_method": "Production Key",
}
REQUEST = {
    "request_id": "a1b2c3d4-e5f6-7890-abcd-ef1234567890",
    "endpoint_id": "fal-ai/flux/dev",
    "started_at": "2026-01-01T00:00:05Z",
    "sent_at": "2026-01-01T00:00:01Z",
    "ended_at": "2026-01-01T00:00:08Z",
    "status_code": 200,
    "duration": 7.8,
}


def read(folder: Path, value: object) -> list[Billed | BilledSum]:
    path = folder / "usage.json"
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return list(read_usage(read_records(path)))


def without(*names: str, **more: object) -> dict[str, object]:
    return {name: value for name, value in EVENT.items() if name not in names} | more


def test_billing_events(tmp_path: Path) -> None:
    page = {"billing_events": [EVENT, without(request_id="def")], "next_cursor": "MjAy", "has_more": True}
    first, second = read(tmp_path, page)
    assert first == FOUND
    assert second.request_id == "def"


def test_several_pages_and_single_rows(tmp_path: Path) -> None:
    page = {"billing_events": [EVENT], "next_cursor": None, "has_more": False}
    assert read(tmp_path, [page, page]) == [FOUND, FOUND]
    assert read(tmp_path, json.dumps(page) + "\n" + json.dumps(page)) == [FOUND, FOUND]
    assert read(tmp_path, "\n".join([json.dumps(EVENT)] * 3)) == [FOUND] * 3


def test_a_table_of_events(tmp_path: Path) -> None:
    made = io.StringIO()
    writer = csv.DictWriter(made, EVENT)
    writer.writeheader()
    writer.writerow(EVENT)
    assert read(tmp_path, made.getvalue()) == [FOUND]


@pytest.mark.parametrize(
    ("row", "dollars"),
    [
        (EVENT, "0.03375"),
        (without("cost_total"), "0.03375"),
        (without("cost_total", "cost_subtotal", "cost_discount", "cost_estimate_nano_usd"), "0.03375"),
        (without("cost_total", "cost_estimate_nano_usd", percent_discount=None), "0.0375"),
        (without("cost_total", cost_estimate_nano_usd=1_500), "0.0000015"),
        (without(cost_total=0), "0"),
        (without(cost_total=None, cost_estimate_nano_usd=None, output_units=None), None),
    ],
)
def test_what_a_request_cost_is_after_discounts(tmp_path: Path, row: object, dollars: str | None) -> None:
    (found,) = read(tmp_path, {"billing_events": [row]})
    assert found.dollars == (None if dollars is None else Decimal(dollars))


def test_usage_by_time_and_endpoint(tmp_path: Path) -> None:
    bucket = {"bucket": "2026-01-15T00:00:00-05:00", "results": [USAGE, USAGE | {"auth_method": "Other Key"}]}
    first, second = read(tmp_path, {"time_series": [bucket], "summary": [USAGE], "has_more": False})
    assert (first.name, first.start, first.dollars) == ("fal-ai/flux/dev", 1_768_453_200_000, Decimal("0.4"))
    assert first.identity != second.identity
    assert read(tmp_path, bucket) == [first, second]
    (row,) = read(tmp_path, "Date,Endpoint ID,Cost Total,Unit\n2026-01-15,fal-ai/flux/dev,0.4,image\n")
    assert (row.start, row.dollars) == (1_768_435_200_000, Decimal("0.4"))


def test_a_list_of_requests_says_no_cost(tmp_path: Path) -> None:
    for name in ("items", "results"):
        (found,) = read(tmp_path, {name: [REQUEST], "next_cursor": "Mg==", "has_more": True})
        assert (found.request_id, found.dollars, found.units) == (REQUEST["request_id"], None, None)
        assert found.at == 1_767_225_608_000
    assert read(tmp_path, json.dumps(REQUEST)) == [found]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"summary": [USAGE]}, "no export of fal's that is known; expected are answers"),
        ({"models": []}, "no export of fal's"),
        ("a,b\n1,2\n", "usage.json, record 1: this is no export"),
        ({"billing_events": {}}, "billing_events is no list of objects"),
        ({"billing_events": [EVENT, 7]}, "billing_events is no list of objects"),
        (
            {"billing_events": [EVENT, without("request_id")]},
            "record 1, billing_events 2: it has no request_id",
        ),
        ({"billing_events": [without(cost_total="free")]}, "cost_total is no number: 'free'"),
        ({"billing_events": [without(timestamp="today")]}, "'today' is no time"),
        ({"billing_events": [without(currency="EUR")]}, "only US dollars can be compared"),
        ({"time_series": [{"bucket": None, "results": [USAGE]}]}, "no endpoint_id, no time or no cost"),
        ({"time_series": [{"bucket": "2026-01-15"}]}, "time_series 1: results is no list of objects"),
    ],
)
def test_what_is_none_says_what_is_expected(tmp_path: Path, value: object, words: str) -> None:
    with pytest.raises(ExportError, match=words):
        read(tmp_path, value)
