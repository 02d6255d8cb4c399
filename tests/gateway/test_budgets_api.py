"""Budgets over HTTP, what a 402 says, and what `allow_downgrade` answers."""

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.closed_app import client, closed_app, litestar
from support.people import BY

from gateway.accounts.scopes import SCOPES
from gateway.core import Core
from gateway.guard import Guard

ASK = {"model": "flux-dev", "inputs": {"prompt": "x", "size": "1024x1024"}}
FOUR = {"model": "flux-dev", "inputs": {"prompt": "x", "size": "1024x1024", "n": 4}}


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[Guard]:
    """A gateway that asks for keys, where jobs of normal accounts wait for a window that never comes."""
    async with closed_app(tmp_path, FAL_KEY="unused", GATEWAY_BATCH_WINDOW_S="86400") as app:
        yield app


@pytest.fixture
def core(app: Guard) -> Core:
    found: Core = litestar(app).state.core
    return found


@pytest.fixture
async def ann(core: Core) -> str:
    made = await core.accounts.create(
        "Ann", tier="normal", admin=False, postpaid=False, balance=Decimal("0.10"), by=BY
    )
    return made.account.id


async def key_of(core: Core, account_id: str, **more: Any) -> tuple[str, str]:
    """A key's id and text."""
    scopes = frozenset(SCOPES) - {"admin"}
    row, key = await core.accounts.create_key(
        account_id, "k", expires_in_days=None, scopes=scopes, by=BY, **more
    )
    return row.id, key.text


@pytest.fixture
async def http(app: Guard, core: Core, ann: str) -> AsyncIterator[httpx.AsyncClient]:
    """Calls with a key of Ann's."""
    async with client(app, (await key_of(core, ann))[1]) as opened:
        yield opened


@pytest.fixture
async def admin(app: Guard, core: Core) -> AsyncIterator[httpx.AsyncClient]:
    """Calls with an admin's key."""
    made = await core.accounts.create("root", tier="normal", admin=True, postpaid=True, balance=None, by=BY)
    _, key = await core.accounts.create_key(
        made.account.id, "k", expires_in_days=None, scopes=frozenset(SCOPES), by=BY
    )
    async with client(app, key.text) as opened:
        yield opened


async def generate(http: httpx.AsyncClient, body: dict[str, Any], **options: Any) -> httpx.Response:
    return await http.post("/api/images/generate", json={**body, "options": options})


async def test_402_says_how_much_is_missing(http) -> None:
    answer = await generate(http, FOUR)
    assert answer.status_code == 402
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    said = {name: body[name] for name in ("code", "needed", "available", "missing", "currency")}
    assert said == {
        "code": "insufficient_funds", "needed": 0.12, "available": 0.1, "missing": 0.02, "currency": "USD"
    }  # fmt: skip
    assert (body["neededMicros"], body["availableMicros"], body["missingMicros"]) == (
        120_000,
        100_000,
        20_000,
    )
    assert body["detail"] == (
        "0.12 USD needed, 0.10 USD available. Nothing was charged. Add 0.02 USD or more to the balance. Or ask "
        "for less: `options.allow_downgrade: true` asks for the nearest settings that can be paid"
    )
    assert "budget" not in body


@pytest.mark.parametrize("kind", ["account", "key", "user"])
async def test_402_says_which_budget_and_when_it_starts_anew(http, admin, core, ann, kind) -> None:
    key_id = (await core.accounts.keys(ann))[0].id
    subject = {"account": None, "key": key_id, "user": "*"}[kind]
    mine = {**ASK, "userId": "u1"}
    path = f"/api/admin/accounts/{ann}/budgets"
    put = {"kind": kind, "limit": "0.05"} | ({} if subject is None else {"subject": subject})
    assert (await admin.put(path, json=put)).status_code == 200
    assert (await generate(http, mine)).status_code == 202
    answer = await generate(http, mine)
    body = answer.json()
    assert (answer.status_code, body["code"]) == (402, "budget_exhausted")
    assert (body["needed"], body["available"], body["missing"]) == (0.03, 0.02, 0.01)
    ends = body["budget"].pop("startsAnew")
    assert ends.endswith("-01T00:00:00.000Z")
    assert body["budget"] == {
        "kind": kind, "subject": {"user": "u1"}.get(kind, subject), "period": "month",
        "limit": 0.05, "limitMicros": 50_000, "used": 0.03, "usedMicros": 30_000,
        "left": 0.02, "leftMicros": 20_000,
    }  # fmt: skip
    assert ends in body["detail"]
    assert ("An admin" in body["detail"]) == (kind == "account")


async def test_the_nearest_that_can_be_paid_in_place_of_a_402(http) -> None:
    answer = await generate(http, FOUR, allow_downgrade=True)
    assert answer.status_code == 202, answer.text
    job = answer.json()
    assert job["quote"]["ceilingMicros"] == 90_000
    (row,) = [row for row in job["report"] if row["how"] == "clamped"]
    assert (row["name"], row["requestedAs"], row["requested"], row["sent"]) == ("num_images", "n", 4, 3)
    assert row["why"].startswith("allow_downgrade: as asked for it may cost 0.12 USD, and the balance allows")
    assert job["warnings"][0].startswith("allow_downgrade: 3 pictures in place of 4: it may cost 0.09 USD in")
    # One cent is left: the least is three.
    short = await generate(http, FOUR, allow_downgrade=True)
    body = short.json()
    assert (short.status_code, body["code"]) == (402, "insufficient_funds")
    assert (body["needed"], body["available"], body["missing"], body["asked"]) == (0.03, 0.01, 0.02, 0.12)
    assert "It is the least that the job may cost, in place of 0.12 USD" in body["detail"]


async def test_many_at_once_share_what_there_is_and_none_gets_more(http, core, ann) -> None:
    """Each was planned by what there was before; what decides is the hold."""
    answers = await asyncio.gather(*(generate(http, FOUR, allow_downgrade=True) for _ in range(20)))
    assert {answer.status_code for answer in answers} == {202, 402}
    held = sum(a.json()["quote"]["ceilingMicros"] for a in answers if a.status_code == 202)
    balance = (await core.accounts.find(ann)).balance
    assert (balance.held_micros, balance.available_micros) == (held, 100_000 - held)
    assert held > 0
    assert {a.json()["code"] for a in answers if a.status_code == 402} == {"insufficient_funds"}


async def test_an_estimate_is_of_what_can_be_paid_now(http, admin, ann) -> None:
    asked = {**FOUR, "userId": "u1", "options": {"allow_downgrade": True}}
    found = (await http.post("/api/images/estimate", json=asked)).json()
    assert (found["numImages"], found["ceilingMicros"]) == (3, 90_000)
    assert "the balance allows 0.10 USD" in found["warnings"][0]
    put = {"kind": "user", "subject": "*", "limit": 0.06}
    assert (await http.put("/api/billing/budgets", json=put)).status_code == 200
    found = (await http.post("/api/images/generate?dryRun=true", json=asked)).json()
    assert found["numImages"] == 2
    assert "the user u1's budget for 20" in found["warnings"][0]
    put = {"kind": "account", "limit": 0.01}
    assert (await admin.put(f"/api/admin/accounts/{ann}/budgets", json=put)).status_code == 200
    found = (await http.post("/api/images/estimate", json=asked)).json()
    # Not even the least.
    assert (found["numImages"], found["ceilingMicros"]) == (1, 30_000)
    assert "the account's budget for 20" in found["warnings"][0]
    # Nothing of it was spent, and without leave it is told as it is.
    plain = (await http.post("/api/images/estimate", json={**asked, "options": {}})).json()
    assert (plain["numImages"], plain["warnings"]) == (4, [])
    assert (await http.get("/api/account")).json()["balance"]["availableMicros"] == 100_000


async def test_who_pays_afterwards_is_limited_by_budgets_alone(app, core) -> None:
    made = await core.accounts.create("Bob", tier="normal", admin=False, postpaid=True, balance=None, by=BY)
    _, key = await key_of(core, made.account.id)
    async with client(app, key) as http:
        job = (await generate(http, FOUR, allow_downgrade=True)).json()
        assert (job["quote"]["ceilingMicros"], job["warnings"]) == (120_000, [])
        put = {"kind": "user", "subject": "u1", "limit": 0.06}
        assert (await http.put("/api/billing/budgets", json=put)).status_code == 200
        job = (await generate(http, {**FOUR, "userId": "u1"}, allow_downgrade=True)).json()
        assert job["quote"]["ceilingMicros"] == 60_000


async def test_a_budget_from_its_making_to_its_end(http, ann) -> None:
    path = "/api/billing/budgets"
    made = await http.put(path, json={"kind": "user", "subject": "u1", "period": "all", "limit": 0.05})
    assert made.status_code == 200
    one = {
        "kind": "user", "subject": "u1", "period": "all", "limit": 0.05, "limitMicros": 50_000, "used": 0,
        "usedMicros": 0, "left": 0.05, "leftMicros": 50_000, "startsAnew": None,
    }  # fmt: skip
    assert made.json() == one
    assert (await generate(http, {**ASK, "userId": "u1"})).status_code == 202
    used = {**one, "used": 0.03, "usedMicros": 30_000, "left": 0.02, "leftMicros": 20_000}
    assert (await http.get(path)).json() == {"budgets": [used]}
    assert (await http.get(path, params={"userId": "u2"})).json() == {"budgets": []}
    gone = {"kind": "user", "subject": "u1", "period": "all"}
    removed = await http.delete(path, params=gone)
    assert (removed.status_code, removed.json()) == (200, used)
    again = await http.delete(path, params=gone)
    assert (again.status_code, again.json()["code"]) == (404, "not_found")
    assert (await http.get(path)).json() == {"budgets": []}


@pytest.mark.parametrize(
    "query", ["kind=team", "kind=user&period=week", "", "kind=user", "kind=account&subject=x"]
)
async def test_what_names_no_budget(admin, query) -> None:
    answer = await admin.delete(f"/api/billing/budgets?{query}")
    assert answer.status_code == 400, answer.text
    assert answer.json()["code"] in ("bad_request", "invalid_body")


async def test_an_accounts_own_budget_is_an_admins_to_set(http, admin, ann) -> None:
    put = {"kind": "account", "limit": 100}
    for answer in (
        await http.put("/api/billing/budgets", json=put),
        await http.delete("/api/billing/budgets", params={"kind": "account"}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (403, "admin_required")
    path = f"/api/admin/accounts/{ann}/budgets"
    assert (await admin.put(path, json=put)).status_code == 200
    assert (await http.get("/api/billing/budgets")).json() == (await admin.get(path)).json()
    assert (await admin.delete(path, params={"kind": "account"})).status_code == 200
    # For its own account an admin needs no other path.
    assert (await admin.put("/api/billing/budgets", json=put)).status_code == 200


@pytest.mark.parametrize("bound", ["budget", "monthly_budget"])
async def test_a_key_with_a_budget_does_not_get_around_it(app, core, ann, http, bound) -> None:
    key_id, key = await key_of(core, ann, **{bound: Decimal(1)})
    other_id = (await core.accounts.keys(ann))[0].id
    async with client(app, key) as bounded:
        for answer in (
            await bounded.put("/api/billing/budgets", json={"kind": "key", "subject": key_id, "limit": 9}),
            await bounded.put("/api/billing/budgets", json={"kind": "key", "subject": other_id, "limit": 9}),
            await bounded.delete("/api/billing/budgets", params={"kind": "key", "subject": key_id}),
            await bounded.post("/api/keys", json={"name": "more"}),
        ):
            assert (answer.status_code, answer.json()["code"]) == (403, "missing_scope"), answer.text
        user = {"kind": "user", "subject": "u1", "limit": 9}
        assert (await bounded.put("/api/billing/budgets", json=user)).status_code == 200
    # One without a budget may, and then has one itself.
    put = {"kind": "key", "subject": other_id, "limit": 9}
    assert (await http.put("/api/billing/budgets", json=put)).status_code == 200
    assert (await http.put("/api/billing/budgets", json=put)).status_code == 403


async def test_a_key_shows_its_budgets(http, admin, ann) -> None:
    body = {"name": "x", "budget": 5, "monthlyBudget": "1.50"}
    made = (await http.post("/api/keys", json=body)).json()
    assert (made["budget"], made["monthlyBudget"]) == (5, 1.5)
    listed = {key["keyId"]: key for key in (await http.get("/api/keys")).json()["keys"]}
    assert (listed[made["keyId"]]["budget"], listed[made["keyId"]]["monthlyBudget"]) == (5, 1.5)
    assert {key["monthlyBudget"] for key in listed.values()} == {None, 1.5}
    for period, limit in (("all", 7), ("month", 2)):
        put = {"kind": "key", "subject": made["keyId"], "period": period, "limit": limit}
        assert (await http.put("/api/billing/budgets", json=put)).status_code == 200
    listed = {
        key["keyId"]: key for key in (await admin.get(f"/api/admin/accounts/{ann}/keys")).json()["keys"]
    }
    assert (listed[made["keyId"]]["budget"], listed[made["keyId"]]["monthlyBudget"]) == (7, 2)
    bad = await http.post("/api/keys", json={"name": "x", "monthlyBudget": 0})
    assert bad.json()["errors"][0]["pointer"] == "/monthlyBudget"


async def test_the_document_has_the_problems_money_as_numbers(http) -> None:
    document = (await http.get("/schema/openapi.json")).json()
    problem = document["components"]["schemas"]["Problem"]["properties"]
    assert problem["missing"]["type"] == ["number", "null"]
    assert document["components"]["schemas"]["BudgetView"]["properties"]["limit"] == {"type": "number"}
