"""`/api/admin/billing`: what is out of line, and corrections."""

import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select
from support.closed_app import client, closed_app, litestar
from support.people import BY
from support.planted import plant

from billing.tables import ledger_entry
from billing.usage import DAY_MS, Ended, record_end
from gateway.cleaning import Cleaner, Keep
from gateway.core import Core
from gateway.housekeeping import Housekeeper

DAY = 20_000  # 2024-10-04
ATTEMPT = f"att_{1:032x}"


class World:
    def __init__(self, core: Core, http: httpx.AsyncClient) -> None:
        self.core = core
        self.http = http

    async def end(self, cost: int, listed: int, day: int = DAY, model: str = "flux-dev") -> None:
        """A job ends on a day, and its provider has billed so much of what is listed."""
        ended = Ended(
            account_id="ann", model=model, provider="fal", key_id=None, end_user=None, status="completed",
            images=1, quote_micros=1, charge_micros=1, cost_micros=cost, listed_micros=listed,
        )  # fmt: skip
        await self.core.db.write(lambda c: record_end(c, ended, day * DAY_MS + 5))

    async def variance(self, **query: str) -> httpx.Response:
        return await self.http.get("/api/admin/billing/variance", params=query)

    async def correct(self, *corrections: dict[str, Any], provider: str = "fal") -> httpx.Response:
        body = {"provider": provider, "corrections": corrections}
        return await self.http.post("/api/admin/billing/corrections", json=body)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with closed_app(tmp_path) as app:
        core: Core = litestar(app).state.core
        made = await core.accounts.create("x", tier="premium", admin=True, postpaid=True, balance=None, by=BY)
        _, key = await core.accounts.create_key(
            made.account.id, "x", expires_in_days=None, scopes=frozenset({"admin"}), by=BY
        )
        async with client(app, key.text) as http:
            yield World(core, http)


async def test_what_is_out_of_line_in_some_days(world: World) -> None:
    await world.end(60_000, 30_000)
    await world.end(31_000, 30_000, model="flux-pro")
    await world.end(9, 1, day=DAY + 1)
    found = (await world.variance(**{"from": "2024-10-04", "to": "2024-10-04"})).json()
    assert found == {
        "from": "2024-10-04",
        "to": "2024-10-04",
        "total": {
            "jobs": 2,
            "costMicros": 91_000,
            "listedMicros": 60_000,
            "differenceMicros": 31_000,
            "reported": 2,
        },
        "rows": [
            row("flux-dev", 1, 60_000, 30_000, 100.0, True),
            row("flux-pro", 1, 31_000, 30_000, 3.3, False),
            row(None, 2, 91_000, 60_000, 51.7, True),
        ],
    }


def row(
    model: str | None, jobs: int, cost: int, listed: int, percent: float, reported: bool
) -> dict[str, Any]:
    return {
        "day": "2024-10-04", "provider": "fal", "model": model, "jobs": jobs, "costMicros": cost,
        "listedMicros": listed, "differenceMicros": cost - listed, "percent": percent, "reported": reported,
    }  # fmt: skip


async def test_without_days_it_is_the_last_month(world: World) -> None:
    today = world.core.ambient.now_ms() // DAY_MS
    for ago in (0, 30, 31):
        await world.end(9, 1, day=today - ago)
    found = (await world.variance()).json()
    assert [one["costMicros"] for one in found["rows"]] == [9, 9]


async def test_days_that_are_none(world: World) -> None:
    for query, words in [
        ({"from": "yesterday"}, "from: 'yesterday' is no day; write it like 2026-01-31"),
        ({"to": "2026-02-30"}, "to: '2026-02-30' is no day"),
        ({"from": "2026-02-02", "to": "2026-02-01"}, "give 1 to 366 days"),
        ({"from": "2020-01-01", "to": "2026-02-01"}, "give 1 to 366 days"),
        ({"to": "0001-01-02"}, "give 1 to 366 days"),
    ]:
        answer = await world.variance(**query)
        assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")
        assert words in answer.json()["detail"]


async def test_a_correction_is_entered_once(world: World) -> None:
    await world.core.db.write(lambda c: plant(c, {"number": 1}))
    one = {"attemptId": ATTEMPT, "requestId": "r1", "totalMicros": 30_000, "note": "the bill of October"}
    for entered in (1, 0):
        answer = await world.correct(one)
        assert (answer.status_code, answer.json()) == (200, {"entered": entered, "micros": 5000 * entered})
    rows = select(ledger_entry.c.ledger_account, ledger_entry.c.amount_micros, ledger_entry.c.note).where(
        ledger_entry.c.kind == "recost"
    )
    found = await world.core.db.read(lambda c: {tuple(row) for row in c.execute(rows)})
    note = "the bill of October"
    assert found == {("cost:fal", 5000, note), ("payable:fal", -5000, note)}
    log = (await world.http.get("/api/admin/audit", params={"subject": "fal"})).json()["entries"]
    assert [(one["action"], one["detail"]) for one in log] == [
        ("billing.correct", {"entered": 1, "micros": 5000})
    ]


async def test_a_correction_that_is_none(world: World) -> None:
    await world.core.db.write(lambda c: plant(c, {"number": 1}))
    good = {"attemptId": ATTEMPT, "totalMicros": 30_000, "note": "x"}
    for changed, code in [
        ({"attemptId": "att_none"}, "not_found"),
        ({"attemptId": None, "requestId": None}, "invalid_body"),
        ({"sum": {"name": "app", "start": 0}}, "invalid_body"),
        ({"totalMicros": 10**13}, "invalid_body"),
        ({"note": ""}, "invalid_body"),
        ({"more": 1}, "invalid_body"),
    ]:
        answer = await world.correct(good, good | changed)
        assert answer.json()["code"] == code, answer.text
    answer = await world.correct(good, provider="nobody")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    entries = select(ledger_entry.c.id).where(ledger_entry.c.kind == "recost")
    assert await world.core.db.read(lambda c: c.execute(entries).all()) == []


async def test_what_is_corrected_for_ever_is_refused(world: World) -> None:
    one = {"requestId": "r", "note": "x"}
    answers = [await world.correct(one | {"totalMicros": 1 + number % 2}) for number in range(21)]
    assert [answer.status_code for answer in answers] == [200] * 20 + [409]
    assert answers[-1].json()["code"] == "correction_refused"


async def test_a_gateway_looks_when_it_starts(world: World, caplog: pytest.LogCaptureFixture) -> None:
    await world.end(60_000, 30_000, day=world.core.ambient.now_ms() // DAY_MS - 1)
    with caplog.at_level(logging.WARNING, logger="gateway.variance"):
        core = world.core
        await Housekeeper(core.db, core.ambient, Cleaner(core.db, core.images, core.ambient, Keep())).round()
    assert "fal billed 0.06 USD for flux-dev" in caplog.text
