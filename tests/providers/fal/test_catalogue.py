"""fal's lists are asked for as its documents say, over real sockets, and its failures have a next step."""

from collections.abc import Iterator
from decimal import Decimal

import pytest
from support.loopback_fal import ENDPOINTS, KEY
from support.loopback_fal_faults import said
from support.loopback_fal_http import Reply, answer
from support.loopback_fal_platform import LoopbackPlatform

from providers.fal.addresses import read_addresses
from providers.fal.catalogue import FalCatalogue, Known
from providers.fal.findings import CatalogueError

DEV, SWAP = "fal-ai/flux/dev", "fal-ai/face-swap"


@pytest.fixture
def fal() -> Iterator[LoopbackPlatform]:
    with LoopbackPlatform() as server:
        yield server
        assert server.violations == []


async def ask(fal: LoopbackPlatform, *endpoints: str, key: str | None = KEY) -> dict[str, Known]:
    async with FalCatalogue(read_addresses(fal.env()), key) as catalogue:
        return await catalogue.look_up(endpoints)


async def test_one_endpoint(fal) -> None:
    found = (await ask(fal, DEV))[DEV]
    assert (found.status, found.category) == ("active", "text-to-image")
    assert found.document == fal.documents[DEV]
    assert found.price is not None
    assert (found.price.amount, found.price.unit) == (Decimal("0.025"), "megapixel")
    assert len(fal.requests) == 2


async def test_a_price_keeps_every_digit(fal) -> None:
    fal.bill(DEV, "0.1234567890123456789", "images")
    found = (await ask(fal, DEV))[DEV].price
    assert found is not None
    assert found.amount == Decimal("0.1234567890123456789")


async def test_the_order_is_that_of_the_question(fal) -> None:
    assert list(await ask(fal, SWAP, DEV)) == [SWAP, DEV]


@pytest.mark.parametrize("page", [1, 7, 1000])
async def test_every_page_is_read(page) -> None:
    with LoopbackPlatform(page=page) as fal:
        found = await ask(fal, *ENDPOINTS)
        assert list(found) == list(ENDPOINTS)
        assert sum(one.price is not None for one in found.values()) == len(fal.prices)
        assert fal.violations == []


async def test_at_most_fifty_in_a_call(fal) -> None:
    fal.documents |= {f"fal-ai/more/{number}": fal.documents[DEV] for number in range(103)}
    wanted = [name for name in fal.documents if name.startswith("fal-ai/more")]
    assert list(await ask(fal, *wanted)) == wanted
    assert len([request for request in fal.requests if request.path.endswith("/models")]) == 3


@pytest.mark.parametrize("unknown_is_404", [False, True])
async def test_an_endpoint_that_fal_does_not_have_is_not_in_the_answer(fal, unknown_is_404) -> None:
    fal.unknown_is_404 = unknown_is_404
    del fal.documents[SWAP]
    found = await ask(fal, DEV, SWAP, "fal-ai/flux/schnell", "fal-ai/none")
    assert list(found) == [DEV, "fal-ai/flux/schnell"]
    assert all(one.price is not None for one in found.values())


async def test_a_document_that_the_list_lacks_is_asked_for_in_public(fal) -> None:
    fal.not_listed = {DEV, SWAP}
    found = await ask(fal, DEV, SWAP, "fal-ai/flux/schnell")
    assert all(one.document == fal.documents[name] for name, one in found.items())
    public = [request for request in fal.requests if request.path.endswith("openapi.json")]
    assert [request.headers.get("authorization") for request in public] == [None, None]


async def test_a_document_that_is_nowhere_is_none(fal) -> None:
    fal.documents[DEV] = {"error": "not ready"}
    assert (await ask(fal, DEV))[DEV].document is None


async def test_a_document_needs_no_key(fal) -> None:
    async with FalCatalogue(read_addresses(fal.env()), None) as catalogue:
        assert await catalogue.document(DEV) == fal.documents[DEV]
        assert await catalogue.document("fal-ai/none") is None


async def test_a_row_without_what_we_could_do_without(fal) -> None:
    fal.replies["/v1/models"] = answer(200, {"models": [{"endpoint_id": DEV, "metadata": None, "new": 1}]})
    fal.replies["/v1/models/pricing"] = answer(200, {"prices": [{"endpoint_id": DEV, "unit_price": None}]})
    found = (await ask(fal, DEV))[DEV]
    assert (found.status, found.title, found.price) == ("", "", None)
    assert found.document == fal.documents[DEV]


async def test_a_price_that_is_none_is_no_price(fal) -> None:
    for amount in ("NaN", "Infinity", "-1", "1e30"):
        row = {"endpoint_id": DEV, "unit_price": amount, "unit": "images"}
        fal.replies["/v1/models/pricing"] = answer(200, {"prices": [row]})
        assert (await ask(fal, DEV))[DEV].price is None


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (said(403, "No access"), "set FAL_KEY to one that works"),
        (said(429, "Slow down", Retry_After="17"), "try again in 17 seconds"),
        (said(429, "Slow down"), "try again in a minute"),
        (said(400, f"Bad key {KEY}"), r"HTTP 400: Bad key \[key\]. Is FAL_PLATFORM_URL right"),
        (said(500, "Oh"), "HTTP 500: try again later"),
        (Reply(301, headers={"Location": "https://elsewhere.example/"}), "Is FAL_PLATFORM_URL right"),
        (Reply(200, b"<html>", content_type="text/html"), "cannot be read"),
        (answer(200, {"models": {}}), "cannot be read"),
        (answer(200, {"models": [{"id": DEV}]}), "cannot be read"),
        (answer(200, {"models": []})._replace(wire="half"), "could not be reached"),
        (answer(200, {"models": []})._replace(wire="reset"), "could not be reached"),
    ],
)
async def test_a_failure_says_what_to_do(fal, reply, words) -> None:
    fal.replies["/v1/models"] = reply
    with pytest.raises(CatalogueError, match=words) as error:
        await ask(fal, DEV)
    assert KEY not in str(error.value)


async def test_a_key_that_fal_refuses(fal) -> None:
    with pytest.raises(CatalogueError, match="set FAL_KEY to one that works"):
        await ask(fal, DEV, key="another:key")


async def test_without_a_key_nothing_is_asked(fal) -> None:
    with pytest.raises(CatalogueError, match="set FAL_KEY"):
        await ask(fal, DEV, key=None)
    assert fal.requests == []


async def test_a_fal_that_is_away() -> None:
    with LoopbackPlatform() as fal:
        fal.go_away()
        with pytest.raises(CatalogueError, match="has a network, and that FAL_PLATFORM_URL is right"):
            await ask(fal, DEV)
        fal.come_back()


async def test_a_list_without_an_end(fal) -> None:
    row = {"endpoint_id": DEV, "metadata": {}}
    fal.replies["/v1/models"] = answer(200, {"models": [row], "has_more": True, "next_cursor": "same"})
    assert list(await ask(fal, DEV)) == [DEV]  # a cursor that leads to itself is the end
