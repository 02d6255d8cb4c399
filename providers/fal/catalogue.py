"""Asks fal which endpoints there are, what they take and what they cost. Reads alone; nothing is spent.

With our key, below FAL_PLATFORM_URL: the endpoints with their documents
(`GET /models?endpoint_id=a&endpoint_id=b&expand=openapi-3.0`) and their prices
(`GET /models/pricing?endpoint_id=a,b`). Without it, below FAL_OPENAPI_URL: a document that is not in the
former (`GET /queue/openapi.json?endpoint_id=a`).
"""

import asyncio
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, TypeVar

from msgspec import Struct

from providers.fal.findings import CatalogueError
from providers.fal.platform import Platform, Query
from providers.fal.price_diff import UnitPrice, read_unit

__all__ = ["FalCatalogue", "Known"]

MOST_IDS = 50
"""Endpoints that one call may name."""
MOST_PAGES = 100
MOST_DOLLARS = 1_000_000

T = TypeVar("T")


class Known(Struct, frozen=True, kw_only=True):
    """What fal says of an endpoint that it has."""

    endpoint: str
    status: str = ""
    """`active`, `deprecated`, or another word of fal's."""
    title: str = ""
    category: str = ""
    document: Any = None
    """OpenAPI, decoded; None when fal shows none."""
    price: UnitPrice | None = None


class _Model(Struct, frozen=True):
    endpoint_id: str
    metadata: dict[str, Any] | None = None
    openapi: Any = None


class _Models(Struct, frozen=True):
    models: list[_Model]
    has_more: bool | None = None
    next_cursor: str | None = None


class _Price(Struct, frozen=True):
    endpoint_id: str
    unit_price: Decimal | None = None
    unit: str | None = None
    currency: str | None = None


class _Prices(Struct, frozen=True):
    prices: list[_Price]
    has_more: bool | None = None
    next_cursor: str | None = None


class FalCatalogue(Platform):
    """fal's lists, over one client; to be used in `async with`. Takes what `Platform` takes."""

    async def look_up(self, endpoints: Sequence[str]) -> dict[str, Known]:
        """What fal says of some endpoints; one that it does not have is not in the answer.

        Raises:
            CatalogueError: there is no key, or fal could not be asked.
        """
        if self.key is None:
            raise CatalogueError(
                f"fal shows its list and its prices to a key alone: set {self.key_name} "
                "(https://fal.ai/dashboard/keys)"
            )
        listed = await self._models(endpoints)
        prices = await self._prices(list(listed))
        lacking = [name for name, model in listed.items() if not _is_document(model.openapi)]
        shown = dict(zip(lacking, await asyncio.gather(*map(self.document, lacking)), strict=True))
        return {
            name: Known(
                endpoint=name,
                status=_text(model, "status"),
                title=_text(model, "display_name"),
                category=_text(model, "category"),
                document=shown.get(name, model.openapi),
                price=prices.get(name),
            )
            for name, model in listed.items()
        }

    async def document(self, endpoint: str) -> Any:
        """An endpoint's OpenAPI document, which needs no key; None when fal has none.

        Raises:
            CatalogueError: fal could not be asked.
        """
        url = f"{self.addresses.openapi}/queue/openapi.json"
        reply = await self.get(url, [("endpoint_id", endpoint)], with_key=False, setting="FAL_OPENAPI_URL")
        found = None if reply is None else self.decoded(reply, Any)
        return found if _is_document(found) else None

    async def _models(self, endpoints: Sequence[str]) -> dict[str, _Model]:
        found: dict[str, _Model] = {}
        for batch in _batches(endpoints):
            named: Query = [("endpoint_id", name) for name in batch]
            pages = await self._pages("/models", [*named, ("expand", "openapi-3.0")], _Models)
            if pages is None and len(batch) > 1:
                # One that fal does not know may make it say 404 to all of them.
                for half in _halves(batch):
                    found |= await self._models(half)
            found |= {one.endpoint_id: one for page in pages or () for one in page.models}
        return {name: found[name] for name in endpoints if name in found}

    async def _prices(self, endpoints: Sequence[str]) -> dict[str, UnitPrice]:
        found: dict[str, UnitPrice] = {}
        for batch in _batches(endpoints):
            pages = await self._pages("/models/pricing", [("endpoint_id", ",".join(batch))], _Prices)
            if pages is None and len(batch) > 1:
                for half in _halves(batch):
                    found |= await self._prices(half)
            for one in (one for page in pages or () for one in page.prices):
                amount = one.unit_price
                if amount is not None and amount.is_finite() and 0 <= amount < MOST_DOLLARS:
                    currency = (one.currency or "USD").upper()
                    unit = read_unit(one.unit or "")
                    found[one.endpoint_id] = UnitPrice(amount=amount, unit=unit, currency=currency)
        return found

    async def _pages(self, path: str, query: Query, kind: type[T]) -> list[T] | None:
        """Every page of a list; None for a 404."""
        pages = [page async for page in self.pages(path, query, kind, MOST_PAGES)]
        found = [page for page in pages if page is not None]
        return found if len(found) == len(pages) else None


def _batches(endpoints: Sequence[str]) -> list[Sequence[str]]:
    return [endpoints[at : at + MOST_IDS] for at in range(0, len(endpoints), MOST_IDS)]


def _halves(batch: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    middle = len(batch) // 2
    return batch[:middle], batch[middle:]


def _is_document(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("paths"), dict)


def _text(model: _Model, name: str) -> str:
    value = (model.metadata or {}).get(name)
    return " ".join(value.split()) if isinstance(value, str) else ""
