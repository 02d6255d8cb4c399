"""Asks fal which endpoints there are, what they take and what they cost. Reads alone; nothing is spent.

With our key, below FAL_PLATFORM_URL: the endpoints with their documents
(`GET /models?endpoint_id=a&endpoint_id=b&expand=openapi-3.0`) and their prices
(`GET /models/pricing?endpoint_id=a,b`). Without it, below FAL_OPENAPI_URL: a document that is not in the
former (`GET /queue/openapi.json?endpoint_id=a`).
"""

import asyncio
from collections.abc import Sequence
from decimal import Decimal
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
import msgspec
from msgspec import Struct

from providers.fal.addresses import Addresses
from providers.fal.findings import CatalogueError
from providers.fal.price_diff import UnitPrice, read_unit
from providers.fal.replies import read_reply
from providers.http import create_client

__all__ = ["FalCatalogue", "Known"]

MOST_IDS = 50
"""Endpoints that one call may name."""
MOST_PAGES = 100
MOST_ASKING = 4
WITHIN_S = 60.0
"""Seconds for a request and its whole reply."""
MOST_DOLLARS = 1_000_000

T = TypeVar("T")
Query = list[tuple[str, str | int | float | bool | None]]


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


class FalCatalogue:
    """fal's lists, over one client; to be used in `async with`.

    Args:
        addresses: fal's.
        key: fal's, `id:secret`; None: only documents can be asked for.
        key_name: the variable that has it, for messages.
    """

    def __init__(self, addresses: Addresses, key: str | None, key_name: str = "FAL_KEY") -> None:
        self._addresses = addresses
        self._key = key
        self._key_name = key_name
        self._client = create_client(timeout_s=WITHIN_S, max_connections=MOST_ASKING)
        self._turns = asyncio.Semaphore(MOST_ASKING)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.aclose()

    async def look_up(self, endpoints: Sequence[str]) -> dict[str, Known]:
        """What fal says of some endpoints; one that it does not have is not in the answer.

        Raises:
            CatalogueError: there is no key, or fal could not be asked.
        """
        if self._key is None:
            raise CatalogueError(
                f"fal shows its list and its prices to a key alone: set {self._key_name} "
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
        url = f"{self._addresses.openapi}/queue/openapi.json"
        reply = await self._get(url, [("endpoint_id", endpoint)], with_key=False, setting="FAL_OPENAPI_URL")
        found = None if reply is None else self._decoded(reply, Any)
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
        pages: list[T] = []
        cursor: str | None = None
        for _ in range(MOST_PAGES):
            here = query if cursor is None else [*query, ("cursor", cursor)]
            url = self._addresses.platform + path
            reply = await self._get(url, here, with_key=True, setting="FAL_PLATFORM_URL")
            if reply is None:
                return None
            page: Any = self._decoded(reply, kind)
            pages.append(page)
            if not page.has_more or page.next_cursor in (None, "", cursor):
                return pages
            cursor = page.next_cursor
        raise CatalogueError(f"fal's list does not end after {MOST_PAGES} pages: try again later")

    async def _get(self, url: str, query: Query, *, with_key: bool, setting: str) -> httpx.Response | None:
        """A reply of 2xx; None for 404."""
        headers = {"Authorization": f"Key {self._key}"} if with_key else {}
        host = httpx.URL(url).host
        try:
            async with self._turns, asyncio.timeout(WITHIN_S):
                reply = await self._client.get(url, params=httpx.QueryParams(query), headers=headers)
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            raise CatalogueError(
                f"fal could not be reached at {host}: see that this machine has a network, and that "
                f"{setting} is right"
            ) from error
        if reply.status_code == 404:
            return None
        if not reply.is_success:
            raise self._refused(reply, host, setting)
        return reply

    def _refused(self, reply: httpx.Response, host: str, setting: str) -> CatalogueError:
        said = read_reply(reply, self._key or "")
        if said.status in (401, 403):
            return CatalogueError(
                f"fal refused the key (HTTP {said.status}): set {self._key_name} to one that works "
                "(https://fal.ai/dashboard/keys)"
            )
        if said.status == 429:
            wait = "a minute" if said.retry_after is None else f"{said.retry_after:g} seconds"
            return CatalogueError(f"fal takes no more requests at the moment: try again in {wait}")
        if said.status < 500:
            words = f": {said.text}" if said.text and said.is_json else ""
            return CatalogueError(f"{host} answered HTTP {said.status}{words}. Is {setting} right?")
        return CatalogueError(f"{host} answered HTTP {said.status}: try again later")

    def _decoded(self, reply: httpx.Response, kind: type[T]) -> T:
        try:
            return msgspec.json.decode(reply.content, type=kind)
        except (msgspec.DecodeError, RecursionError) as error:
            raise CatalogueError(
                f"an answer of {reply.url.host} cannot be read ({error}): fal's API may have changed"
            ) from error


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
