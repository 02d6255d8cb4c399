"""fal is asked for its bills as its documents say, to the last page, and its failures have a next step."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from support.loopback_fal import Job, LoopbackFal
from support.loopback_fal_faults import said
from support.loopback_fal_http import Reply, answer
from support.loopback_fal_invoices import ADMIN_KEY, LoopbackInvoices

from providers.exports import Billed, BilledSum, ExportError
from providers.fal.addresses import read_addresses
from providers.fal.billing import FalBilling
from providers.fal.findings import CatalogueError

DAY = datetime(2026, 11, 20, tzinfo=UTC)
DEV = "fal-ai/flux/dev"


def job(number: int, at: datetime, units: int = 1, endpoint: str = DEV) -> Job:
    made = Job(f"r{number}", endpoint, {}, {}, None, [], units=units)
    made.at = at.timestamp()
    return made


@pytest.fixture
def bill() -> Iterator[LoopbackInvoices]:
    # The queue is not asked: its invoices are all that is taken of it.
    with LoopbackFal() as fal, LoopbackInvoices(fal, page=3) as server:
        fal.jobs = [job(number, DAY + timedelta(hours=number)) for number in range(10)]
        yield server
        assert server.violations == []


async def ask(
    bill: LoopbackInvoices, days: float = 1, key: str = ADMIN_KEY, by_day: bool = False
) -> list[Billed | BilledSum]:
    async with FalBilling(read_addresses(bill.env()), key, "FAL_ADMIN_KEY") as found:
        pages = (found.days if by_day else found.requests)(DAY, DAY + timedelta(days=days))
        return [row async for page in pages for row in page]


async def test_every_page_is_read(bill: LoopbackInvoices) -> None:
    rows = await ask(bill)
    assert sorted(row.request_id for row in rows) == [f"r{number}" for number in range(10)]
    assert (rows[-1].endpoint, rows[-1].dollars, rows[-1].units) == (DEV, Decimal("0.025"), 1)
    assert rows[-1].at == int(DAY.timestamp() * 1000)
    assert len(bill.requests) == 4
    assert {request.path for request in bill.requests} == {"/v1/models/billing-events"}


async def test_what_is_asked_about_is_the_time(bill: LoopbackInvoices) -> None:
    assert len(await ask(bill, days=0.25)) == 6
    assert await ask(bill, days=0) == []


async def test_more_than_ninety_days_are_asked_for_in_parts(bill: LoopbackInvoices) -> None:
    bill.fal.jobs.append(job(99, DAY + timedelta(days=199, hours=23)))
    assert len(await ask(bill, days=200)) == 11
    spans = {(request.query["start"][0], request.query["end"][0]) for request in bill.requests}
    assert len(spans) == 3


async def test_sums_by_day(bill: LoopbackInvoices) -> None:
    bill.fal.jobs += [job(20, DAY + timedelta(days=1), 4), job(21, DAY, 2, "fal-ai/nano-banana")]
    rows = await ask(bill, days=2, by_day=True)
    assert [(row.name, row.start, row.dollars) for row in rows] == [
        (DEV, int(DAY.timestamp() * 1000), Decimal("0.25")),
        ("fal-ai/nano-banana", int(DAY.timestamp() * 1000), Decimal("0.0796")),
        (DEV, int(DAY.timestamp() * 1000) + 86_400_000, Decimal("0.1")),
    ]


async def test_a_key_without_the_scope_is_said(bill: LoopbackInvoices) -> None:
    with pytest.raises(
        CatalogueError, match=r"HTTP 403.*set FAL_ADMIN_KEY to one that works and has the scope"
    ):
        await ask(bill, key="a:b")


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (said(429, "Slow down", Retry_After="17"), "try again in 17 seconds"),
        (said(500, "Oh"), "HTTP 500: try again later"),
        (said(404, "Not found"), "Is FAL_PLATFORM_URL right|is FAL_PLATFORM_URL right"),
        (Reply(200, b"<html>", content_type="text/html"), "cannot be read"),
        (answer(200, {"events": []}), "is FAL_PLATFORM_URL right"),
        (answer(200, {"billing_events": [], "has_more": True, "next_cursor": None}), "breaks off"),
        (answer(200, {"billing_events": [], "has_more": True, "next_cursor": "x"}), "breaks off"),
        (Reply(wire="reset"), "could not be reached"),
    ],
)
async def test_a_list_that_is_not_whole_is_none(bill: LoopbackInvoices, reply: Reply, words: str) -> None:
    bill.replies["billing-events"] = reply
    with pytest.raises(CatalogueError, match=words):
        await ask(bill)
    assert len(bill.requests) <= 2  # and it is not asked again and again


async def test_a_row_that_says_nothing_is_an_error(bill: LoopbackInvoices) -> None:
    bill.replies["billing-events"] = answer(200, {"billing_events": [{"request_id": "x"}]})
    with pytest.raises(
        ExportError, match=r"fal's /models/billing-events, record|billing_events 1: it has no"
    ):
        await ask(bill)
