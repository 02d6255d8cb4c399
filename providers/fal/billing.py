"""Asks fal what it billed, page by page. Reads alone; each request is sent once.

With a key of the scope Admin, below FAL_PLATFORM_URL: `GET /models/billing-events` (a row for each request)
and `GET /models/usage` (sums by day and endpoint).
"""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

from msgspec import Struct

from providers.exports import Billed, BilledSum, Record
from providers.fal.addresses import Addresses
from providers.fal.findings import CatalogueError
from providers.fal.platform import Platform, Query
from providers.fal.usage import read_usage

__all__ = ["FalBilling"]

PAGE = 5000
"""Rows of a page; fal gives 10,000 at most."""
MOST_PAGES = 2000
SPAN = timedelta(days=90)
"""What one question may ask for."""


class _Page(Struct, frozen=True):
    billing_events: list[dict[str, Any]] | None = None
    time_series: list[dict[str, Any]] | None = None
    has_more: bool | None = None
    next_cursor: str | None = None


class FalBilling(Platform):
    """fal's bills; to be used in `async with`.

    Args:
        addresses: fal's.
        key: fal's, `id:secret`, which has the scope Admin.
        key_name: the variable to set to another one, for messages.
    """

    def __init__(self, addresses: Addresses, key: str, key_name: str) -> None:
        super().__init__(addresses, key, key_name, " and has the scope Admin")

    def requests(self, start: datetime, end: datetime) -> AsyncIterator[list[Billed | BilledSum]]:
        """What each request cost that was billed in a time, a page at a time.

        Args:
            start: the first moment, with its zone.
            end: the first moment after.

        Raises:
            CatalogueError: fal could not be asked, or not to the end.
        """
        return self._pages("/models/billing-events", "billing_events", [], start, end)

    def days(self, start: datetime, end: datetime) -> AsyncIterator[list[Billed | BilledSum]]:
        """What was billed by day (UTC) and endpoint. Takes and raises what `requests` does."""
        query: Query = [("timeframe", "day"), ("timezone", "UTC"), ("expand", "time_series")]
        return self._pages("/models/usage", "time_series", query, start, end)

    async def _pages(
        self, path: str, name: str, query: Query, start: datetime, end: datetime
    ) -> AsyncIterator[list[Billed | BilledSum]]:
        while start < end:
            until = min(start + SPAN, end)
            spanned: Query = [*query, ("start", _iso(start)), ("end", _iso(until)), ("limit", PAGE)]
            async for rows in self._whole(path, name, spanned):
                yield list(read_usage([Record(f"fal's {path}", {name: rows})]))
            start = until

    async def _whole(self, path: str, name: str, query: Query) -> AsyncIterator[list[dict[str, Any]]]:
        """The rows of each page; a list that breaks off is an error: what it lacks would seem not billed."""
        seen: set[str] = set()
        async for page in self.pages(path, query, _Page, MOST_PAGES):
            rows = None if page is None else getattr(page, name)
            if page is None or rows is None:
                raise CatalogueError(
                    f"fal answers nothing of {path} that is known: is FAL_PLATFORM_URL right?"
                )
            if page.has_more and (not page.next_cursor or page.next_cursor in seen):
                raise CatalogueError(f"fal's list of {path} breaks off: try again later")
            seen.add(page.next_cursor or "")
            yield rows


def _iso(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")
