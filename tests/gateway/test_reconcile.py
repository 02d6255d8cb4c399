"""What the books have of a provider, read page by page on both databases, and what is entered in them."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec.structs import replace
from sqlalchemy import select
from support.people import BY
from support.planted import NOON, plant

from billing import ledger
from billing.reconcile import Comparison, Difference
from billing.recosts import request_reference
from billing.tables import ledger_entry
from gateway import reconcile
from gateway.ambient import Ambient
from gateway.db.engine import Database, open_database
from gateway.db.tables import audit
from gateway.problems import Problem
from gateway.reconcile import Source, add_ours, add_theirs, read_files, source_of
from gateway.recosts import Correction, SumOf, book

pytestmark = pytest.mark.every_database

DAY = 86_400_000
FAL = source_of("fal", {})
MODAL = source_of("diffusers_modal", {})
assert FAL is not None
assert MODAL is not None
FC = '{{"provider":"diffusers","remote_id":"fc-{0}","extra":{{"tier":"L40S"}}}}'


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    found = open_database(database_url)
    yield found
    await found.aclose()


def event(number: int, micros: int = 25_000) -> dict[str, object]:
    return {
        "request_id": f"r{number}",
        "endpoint_id": "fal-ai/flux/dev",
        "timestamp": "2024-10-04T12:00:05Z",
        "output_units": 1,
        "cost_total": micros / 1_000_000,
    }


async def compare(
    db: Database, folder: Path, *rows: object, provider: str = "fal", source: Source = FAL
) -> list[Difference]:
    (folder / "bill.jsonl").write_text("\n".join(map(json.dumps, rows)))
    now = NOON + 9 * DAY
    with Comparison(provider, now=now, name=source.name, idles=source.idles) as comparison:
        add_theirs(comparison, read_files(source, [folder / "bill.jsonl"]))
        await add_ours(comparison, db, provider, source)
        return list(comparison.differences())


async def enter(db: Database, *found: Difference, at: int = NOON) -> tuple[int, int]:
    corrections = [
        Correction(
            attempt_id=one.attempt_id,
            request_id=one.request_id,
            sum=SumOf(name=one.endpoint, start=one.at or 0) if one.request_id is None else None,
            total_micros=one.total_micros,
            note=one.words,
        )
        for one in found
    ]
    made = await db.write(lambda c: book(c, Ambient(), "fal", corrections, BY, at))
    return made.entered, made.micros


def kinds(found: list[Difference]) -> list[tuple[str, int]]:
    return [(one.kind, one.difference_micros) for one in found]


async def test_the_books_are_read_as_they_are(db: Database, tmp_path: Path) -> None:
    await db.write(
        lambda c: plant(
            c,
            {"number": 1},
            {"number": 2, "billable_units": "1.50", "listed_cost_micros": 20_000},
            {"number": 3, "status": "failed", "provider_cost_micros": None, "billable_units": None},
            {"number": 4, "provider": "other"},
            {
                "number": 5,
                "status": "unknown",
                "handle": None,
                "provider_cost_micros": None,
                "ended_at": None,
            },
        )
    )
    found = await compare(db, tmp_path, *map(event, (1, 2, 3, 9)))
    assert kinds(found) == [("units_differ", 0), ("failed_but_billed", 25_000), ("unknown_attempt", 25_000)]
    assert (found[0].ours_units, found[0].theirs_units) == ("1.5", "1")
    assert found[2].job_id == f"job_{5:032x}"


async def test_pages_make_no_difference(
    db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = range(1, 41)
    await db.write(lambda c: plant(c, *({"number": number} for number in numbers)))
    monkeypatch.setattr(reconcile, "PAGE", 7)
    found = await compare(db, tmp_path, *(event(number, 30_000) for number in numbers))
    assert await enter(db, *found) == (40, 200_000)
    assert await compare(db, tmp_path, *(event(number, 30_000) for number in numbers)) == []
    assert len(await compare(db, tmp_path, *(event(number, 31_000) for number in numbers))) == 40


async def test_what_is_far_from_the_bill_is_not_read(db: Database, tmp_path: Path) -> None:
    """The attempts of years are not gone through for the bill of a day, and none of them is missing there."""
    old = {"number": 2, "started_at": NOON - 30 * DAY, "ended_at": NOON - 30 * DAY}
    late = {"number": 3, "started_at": NOON + 30 * DAY, "ended_at": NOON + 30 * DAY}
    waited = {"number": 4, "started_at": NOON - 2 * DAY}
    await db.write(lambda c: plant(c, {"number": 1}, old, late, waited))
    assert kinds(await compare(db, tmp_path, event(1), event(4))) == []
    assert kinds(await compare(db, tmp_path, event(1), event(2), event(4))) == [("missing_here", 25_000)]


async def test_nothing_to_compare(db: Database, tmp_path: Path) -> None:
    await db.write(lambda c: plant(c, {"number": 1}))
    assert await compare(db, tmp_path) == []


async def test_modals_sums_are_of_its_own_calls(db: Database, tmp_path: Path) -> None:
    modal = {"provider": "diffusers", "endpoint": "sdxl"}
    await db.write(
        lambda c: plant(
            c,
            {"number": 1, **modal, "handle": FC.format(1)},
            {"number": 2, **modal, "handle": FC.format(2), "endpoint": "glm"},
            {"number": 3, **modal, "handle": '{"provider":"diffusers","remote_id":"att_3"}'},
            {"number": 4, **modal, "handle": None, "status": "failed", "provider_cost_micros": None},
        )
    )
    row = {
        "object_id": "ap-1",
        "description": "image-gateway-diffusers",
        "environment": "main",
        "interval_start": "2024-10-04T00:00:00",
        "cost": "0.75",
    }
    (found,) = await compare(db, tmp_path, row, provider="diffusers", source=MODAL)
    assert (found.kind, found.ours_micros, found.theirs_micros) == ("overhead", 50_000, 750_000)
    assert "of 2 attempts" in found.words


# -- what is entered ---------------------------------------------------------------------------------


async def test_after_what_differs_is_entered_nothing_does(db: Database, tmp_path: Path) -> None:
    books = [{"number": 1}, {"number": 2}, {"number": 3, "status": "failed", "provider_cost_micros": None}]
    await db.write(lambda c: plant(c, *books))
    rows = [event(1, 30_000), event(3), event(9)]
    found = await compare(db, tmp_path, *rows)
    assert sorted(kinds(found)) == [
        ("amount_differs", 5000),
        ("failed_but_billed", 25_000),
        ("missing_here", 25_000),
        ("missing_there", -25_000),
    ]
    assert await enter(db, *found) == (4, 30_000)
    assert await compare(db, tmp_path, *rows) == []
    assert await enter(db, *found) == (0, 0)
    assert await db.read(ledger.verify) == []
    query = select(ledger_entry.c.reference, ledger_entry.c.job_id).where(ledger_entry.c.kind == "recost")
    about = await db.read(lambda c: {tuple(row) for row in c.execute(query)})
    assert about == {
        *((f"att_{number:032x}", f"job_{number:032x}") for number in (1, 2, 3)),
        (request_reference("fal", "r9"), None),
    }
    told = await db.read(lambda c: c.execute(select(audit.c.action, audit.c.subject, audit.c.detail)).all())
    assert [tuple(row) for row in told] == [("billing.correct", "fal", '{"entered":4,"micros":30000}')]


async def test_what_is_asked_for_wrongly_is_refused(db: Database) -> None:
    await db.write(lambda c: plant(c, {"number": 1}, {"number": 2, "provider": "other"}))
    good = Correction(attempt_id=f"att_{1:032x}", total_micros=1, note="x")
    day = SumOf(name="app", start=1)
    for wrong, code in [
        (replace(good, attempt_id="att_none"), "not_found"),
        (replace(good, attempt_id=f"att_{2:032x}"), "not_found"),
        (replace(good, attempt_id=None), "invalid_body"),
        (replace(good, sum=day), "invalid_body"),
    ]:
        with pytest.raises(Problem) as raised:
            await db.write(lambda c, one=wrong: book(c, Ambient(), "fal", [good, one], BY, NOON))
        assert raised.value.document.code == code
    # All of them, or none.
    entries = select(ledger_entry.c.id).where(ledger_entry.c.kind == "recost")
    assert await db.read(lambda c: c.execute(entries).all()) == []


def test_what_a_provider_bills_is_read_by_its_type() -> None:
    assert source_of("openai_compatible", {}) is None
    assert FAL.by_request
    assert not MODAL.by_request
    assert [MODAL.bills(one) for one in ("fc-1", "att_1", None)] == [True, False, False]
    assert [FAL.bills(one) for one in ("r1", None)] == [True, True]
