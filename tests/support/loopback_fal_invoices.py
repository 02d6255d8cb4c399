"""fal's bills on loopback: its platform API over the invoices of a loopback fal, strict and in pages.

with LoopbackFal() as fal, LoopbackInvoices(fal) as bill:
    env = fal.env() | bill.env()
    ...
    bill.bill(fal.jobs[0], units="2")          # fal bills it, whatever the gateway knows
    assert bill.violations == []               # what the client did against the API
"""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
from support.loopback_fal import Job, LoopbackFal
from support.loopback_fal_faults import said
from support.loopback_fal_http import HttpServer, Reply, Request
from support.loopback_fal_platform import PRICES

__all__ = ["ADMIN_KEY", "LoopbackInvoices"]

ADMIN_KEY = "admin-id:admin-secret"
MOST_SPAN = timedelta(days=90)
MOST_ROWS = 10_000


class LoopbackInvoices(HttpServer):
    """See the module.

    Args:
        fal: whose invoices it bills.
        page: rows of a page at most.
    """

    def __init__(self, fal: LoopbackFal, *, page: int = 1000) -> None:
        super().__init__()
        self.fal = fal
        self.page = page
        self.units: dict[str, Decimal] = {}
        """What is billed in the place of what the result said, by request."""
        self.more: list[dict[str, Any]] = []
        """Rows of what nobody here asked for."""
        self.replies: dict[str, Reply] = {}
        self.requests: list[Request] = []
        self.violations: list[str] = []

    def env(self) -> dict[str, str]:
        """The environment that makes a gateway ask this fal for its bills."""
        return {"FAL_ADMIN_KEY": ADMIN_KEY, "FAL_PLATFORM_URL": f"{self.url}/v1"}

    def bill(self, job: Job, units: str) -> None:
        """Bill so many units of a job."""
        self.units[job.id] = Decimal(units)

    async def respond(self, request: Request) -> Reply:
        self.requests.append(request)
        path = request.path.removeprefix("/v1/models/")
        if request.method != "GET" or request.body:
            self._wrong(request, "is no GET without a body")
        if path in self.replies:
            return self.replies[path]
        if request.headers.get("authorization") != f"Key {ADMIN_KEY}":
            return said(403, "An admin key is required", error_type="authorization_error")
        if path == "billing-events":
            return self._listed(
                request, "billing_events", self._events(request), {"endpoint_id", "request_id"}
            )
        if path == "usage":
            if request.query.get("expand") != ["time_series"] or request.query.get("timeframe") != ["day"]:
                self._wrong(request, "does not ask for sums by day")
            return self._listed(
                request, "time_series", self._days(request), {"expand", "timeframe", "timezone"}
            )
        if path == "requests/by-endpoint":
            if "endpoint_id" not in request.query:
                return said(422, "endpoint_id is required")
            return self._listed(
                request, "items", self._requests(request), {"endpoint_id", "status", "request_id"}
            )
        self._wrong(request, "is no path of fal's")
        return said(404, "Not found")

    def _wrong(self, request: Request, what: str) -> None:
        self.violations.append(f"{request.method} {request.target} {what}")

    def _within(self, request: Request) -> tuple[datetime, datetime]:
        start, end = (
            datetime.fromisoformat(request.query[name][0]).astimezone(UTC) for name in ("start", "end")
        )
        if not timedelta() < end - start <= MOST_SPAN:
            self._wrong(request, "asks for more than 90 days, or for none")
        return start, end

    def _billed(self, request: Request) -> list[tuple[Job, datetime, Decimal]]:
        """The jobs that are billed within the time that is asked about."""
        start, end = self._within(request)
        found = []
        for job in self.fal.jobs:
            units, at = self.units.get(job.id, Decimal(job.units)), datetime.fromtimestamp(job.at, UTC)
            if units and start <= at < end:
                found.append((job, at, units))
        return found

    def _events(self, request: Request) -> list[dict[str, Any]]:
        rows = []
        for job, at, units in self._billed(request):
            price = Decimal(PRICES[job.endpoint][0])
            rows.append(
                {
                    "request_id": job.id,
                    "endpoint_id": job.endpoint,
                    "timestamp": _iso(at),
                    "output_units": units,
                    "unit_price": price,
                    "percent_discount": None,
                    "cost_subtotal": units * price,
                    "cost_discount": Decimal(0),
                    "cost_total": units * price,
                    "cost_estimate_nano_usd": int(units * price * 10**9),
                }
            )
        # The newest first, as fal has them.
        return [*self.more, *reversed(rows)]

    def _days(self, request: Request) -> list[dict[str, Any]]:
        sums: dict[tuple[str, str], Decimal] = {}
        for job, at, units in self._billed(request):
            key = f"{at:%Y-%m-%dT00:00:00Z}", job.endpoint
            sums[key] = sums.get(key, Decimal(0)) + units
        days: dict[str, list[dict[str, Any]]] = {}
        for (day, endpoint), units in sorted(sums.items()):
            price, unit = PRICES[endpoint]
            days.setdefault(day, []).append(
                {
                    "endpoint_id": endpoint,
                    "unit": unit,
                    "quantity": units,
                    "unit_price": Decimal(price),
                    "cost": units * Decimal(price),
                    "cost_total": units * Decimal(price),
                    "currency": "USD",
                }
            )
        return [{"bucket": day, "results": rows} for day, rows in days.items()]

    def _requests(self, request: Request) -> list[dict[str, Any]]:
        wanted = [name for text in request.query["endpoint_id"] for name in text.split(",")]
        return [
            {
                "request_id": job.id,
                "endpoint_id": job.endpoint,
                "sent_at": _iso(datetime.fromtimestamp(job.at, UTC)),
                "started_at": _iso(datetime.fromtimestamp(job.at, UTC)),
                "status_code": 200 if job.units else 500,
            }
            for job in self.fal.jobs
            if job.endpoint in wanted
        ]

    def _listed(self, request: Request, name: str, rows: list[Any], known: set[str]) -> Reply:
        query = request.query
        unknown = set(query) - known - {"start", "end", "limit", "cursor"}
        limit = int(query.get("limit", ["50"])[0])
        if unknown or not 1 <= limit <= MOST_ROWS:
            self._wrong(request, "is not how it is asked for")
        start = int(query.get("cursor", ["0"])[0])
        ending = start + min(limit, self.page)
        more = ending < len(rows)
        value = {name: rows[start:ending], "has_more": more, "next_cursor": str(ending) if more else None}
        return Reply(200, msgspec.json.Encoder(decimal_format="number").encode(value))


def _iso(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
