"""What fal says that it billed, in the shapes of its platform API. Pure.

- `GET /models/billing-events`: `{"billing_events": [{"request_id", "endpoint_id", "timestamp",
  "output_units", "unit_price", "percent_discount", "cost_total", "cost_estimate_nano_usd"}]}`, a row for each
  request that was billed;
- `GET /models/usage?expand=time_series`: `{"time_series": [{"bucket", "results": [{"endpoint_id", "unit",
  "quantity", "unit_price", "cost_total", "currency"}]}]}`, sums by time and endpoint;
- `GET /models/requests/by-endpoint`: `{"items": [{"request_id", "endpoint_id", "sent_at", "ended_at",
  "status_code"}]}`, every request, without its cost.

Their rows by themselves, as lines of JSON or of CSV, are read too.
"""

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any

from providers.exports import Billed, BilledSum, ExportError, Record, milliseconds, number, text_of

__all__ = ["EXPECTED", "read_usage"]

NANO = Decimal(10) ** 9
EXPECTED = (
    "expected are answers of fal's platform API: /models/billing-events, /models/usage?expand=time_series or "
    "/models/requests/by-endpoint, or rows of them as lines of JSON or CSV"
)
PAGES = ("billing_events", "items", "results")
COSTS = ("cost_total", "cost_estimate_nano_usd", "cost", "output_units")


def read_usage(records: Iterable[Record]) -> Iterator[Billed | BilledSum]:
    """The rows of an export.

    Args:
        records: its pages, or its rows.

    Raises:
        ExportError: it is none of fal's.
    """
    for record in records:
        yield from _page(record)


def _page(record: Record) -> Iterator[Billed | BilledSum]:
    fields = record.fields
    if "bucket" in fields and "results" in fields:
        yield from _bucket(record)
        return
    if "time_series" in fields:
        for bucket in _rows(record, "time_series"):
            yield from _bucket(bucket)
        return
    page = next((name for name in PAGES if name in fields), None)
    if page is not None:
        for row in _rows(record, page):
            yield _request(row, listed=page != "billing_events")
    elif "request_id" in fields:
        yield _request(record, listed=not any(name in fields for name in COSTS))
    elif "endpoint_id" in fields and ("bucket" in fields or "date" in fields):
        yield _sum(record, milliseconds(record, "bucket", "date"))
    else:
        raise ExportError(f"{record.where}: this is no export of fal's that is known; {EXPECTED}")


def _rows(record: Record, name: str) -> Iterator[Record]:
    rows = record.fields.get(name)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ExportError(f"{record.where}: {name} is no list of objects; {EXPECTED}")
    return (Record(f"{record.where}, {name} {count}", row) for count, row in enumerate(rows, 1))


def _request(row: Record, *, listed: bool) -> Billed:
    """A request.

    Args:
        row: of it.
        listed: in a list of requests, which says nothing of their cost.
    """
    request_id, endpoint = text_of(row, "request_id"), text_of(row, "endpoint_id", "endpoint")
    if request_id is None or endpoint is None:
        raise ExportError(f"{row.where}: it has no request_id, or no endpoint_id; {EXPECTED}")
    return Billed(
        request_id=request_id,
        endpoint=endpoint,
        at=milliseconds(row, "timestamp", "ended_at", "started_at", "sent_at"),
        dollars=None if listed else _dollars(row),
        units=None if listed else number(row, "output_units", "billable_units"),
    )


def _dollars(row: Record) -> Decimal | None:
    """What is billed, after discounts; None where fal does not say (yet)."""
    _check_currency(row)
    total = number(row, "cost_total")
    if total is not None:
        return total
    nano = number(row, "cost_estimate_nano_usd")
    if nano is not None:
        return nano / NANO
    cost = number(row, "cost")
    units, price = number(row, "output_units", "quantity"), number(row, "unit_price")
    if cost is not None or units is None or price is None:
        return cost
    percent = number(row, "percent_discount") or Decimal(0)
    return units * price * (100 - percent) / 100


def _bucket(bucket: Record) -> Iterator[BilledSum]:
    start = milliseconds(bucket, "bucket")
    for row in _rows(bucket, "results"):
        yield _sum(row, start)


def _sum(row: Record, start: int | None) -> BilledSum:
    endpoint, dollars = text_of(row, "endpoint_id"), _dollars(row)
    if endpoint is None or start is None or dollars is None:
        raise ExportError(f"{row.where}: it has no endpoint_id, no time or no cost; {EXPECTED}")
    return BilledSum(name=endpoint, start=start, dollars=dollars, identity=_identity(row.fields))


def _identity(fields: Mapping[str, Any]) -> str:
    """Of an endpoint and a time there are several rows: by unit, by price, by key."""
    named = ("unit", "unit_price", "percent_discount", "auth_method", "auth_method_structured", "quantity")
    return "|".join(str(fields.get(name, "")) for name in named)


def _check_currency(row: Record) -> None:
    currency = text_of(row, "currency")
    if currency is not None and currency.upper() != "USD":
        raise ExportError(f"{row.where}: it is in {currency[:10]}, and only US dollars can be compared")
