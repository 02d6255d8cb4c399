"""The reports over HTTP, in one process: what they answer, what they refuse, and who sees what."""

import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.closed_app import client, closed_app, litestar
from support.people import BY

from billing import ledger
from billing.usage import DAY_MS, Ended, record_end
from gateway.ambient import Ambient
from gateway.core import Core
from gateway.routes import billing as routes

SECRETS = ("providerCost", "listedCost", "margin", "revenue", "funding", "payable", "promotions:")
NOON = 1_795_780_800_000
TODAY, MONTH, BEFORE = "2026-11-27", "2026-11", "2026-10"
MINUS = "\N{MINUS SIGN}"
EVIL = '<script>alert("x")</script>'


class World:
    """A closed gateway with Ann, who has a key and three jobs, Bob, who has one, and an admin."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self.http: dict[str, httpx.AsyncClient] = {}
        self.ids: dict[str, str] = {}

    async def add(self, name: str, key_name: str, admin: bool = False) -> tuple[str, str]:
        made = await self.core.accounts.create(
            name, tier="premium", admin=admin, postpaid=True, balance=None, by=BY
        )
        scopes = frozenset(("read", "admin")) if admin else frozenset(("read",))
        row, key = await self.core.accounts.create_key(
            made.account.id, key_name, expires_in_days=None, scopes=scopes, by=BY
        )
        self.ids[name] = made.account.id
        return row.id, key.text

    async def job(
        self, number: int, whose: str, key: str | None, charge: int, days_ago: int = 0, **more: str
    ) -> None:
        at = NOON - days_ago * DAY_MS
        ended = Ended(
            account_id=self.ids[whose], model=more.get("model", "flux-dev"), provider="fal", key_id=key,
            end_user=more.get("user"), status="completed", images=1, quote_micros=charge, charge_micros=charge,
            cost_micros=charge // 2, listed_micros=charge // 3,
        )  # fmt: skip

        def write(conn: Any) -> None:
            job_id = f"job_{number}"
            ledger.place_hold(
                conn, job_id=job_id, account_id=ended.account_id, amount_micros=charge, at=at - 1
            )
            ledger.capture(conn, job_id=job_id, amount_micros=charge, at=at)
            record_end(conn, ended, at)

        await self.core.db.write(write)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    ambient = Ambient(now_ms=lambda: NOON)
    async with closed_app(tmp_path, ambient) as app, AsyncExitStack() as stack:
        world = World(litestar(app).state.core)
        keys = {}
        for name, key_name in (("ann", EVIL), ("bob", "bobs"), ("root", "admins")):
            keys[name], text = await world.add(name, key_name, admin=name == "root")
            world.http[name] = await stack.enter_async_context(client(app, text))
        await world.job(1, "ann", keys["ann"], 30_000, user="=cmd()")
        await world.job(2, "ann", None, 4_000, user="u,2", model="flux-schnell")
        await world.job(3, "ann", keys["ann"], 30_000, days_ago=40)
        await world.job(4, "bob", keys["bob"], 50_000)
        yield world


async def get(world: World, who: str, path: str) -> Any:
    answer = await world.http[who].get(path)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_a_balance(world) -> None:
    await world.core.accounts.top_up(world.ids["ann"], Decimal(1), None, BY)
    found = await get(world, "ann", "/api/billing/balance")
    assert found == {
        "available": 0.936, "availableMicros": 936_000, "held": 0, "heldMicros": 0, "postpaid": True,
        "currency": "USD",
        "month": {"month": MONTH, "jobs": 2, "cost": 0.034, "costMicros": 34_000, "refundMicros": 0},
    }  # fmt: skip


async def test_usage_is_the_callers_own_and_says_no_cost_of_ours(world) -> None:
    found = await get(world, "ann", "/api/billing/usage?by=model")
    assert list(found) == ["total", "rows"]
    assert (found["total"]["costMicros"], found["total"]["jobs"], found["total"]["cost"]) == (
        64_000,
        3,
        0.064,
    )
    assert [(row["model"], row["jobs"], row["netMicros"]) for row in found["rows"]] == [
        ("flux-dev", 2, 60_000),
        ("flux-schnell", 1, 4_000),
    ]
    assert not {"day", "key", "keyName", "userId", "account"} & found["rows"][0].keys()
    for path in ("/api/billing/usage?by=day,key,userId", "/api/billing/ledger", "/api/billing/statements/{}"):
        text = (await world.http["ann"].get(path.format(MONTH))).text
        assert not [word for word in SECRETS if word in text], path
    refused = await world.http["ann"].get("/api/billing/usage?by=account")
    assert refused.status_code == 422


async def test_each_dimension_has_its_field(world) -> None:
    key = (await get(world, "ann", "/api/billing/usage?by=key"))["rows"]
    assert [(row["keyName"], row["jobs"]) for row in key] == [(EVIL, 2), (None, 1)]
    assert key[1]["key"] is None
    users = (await get(world, "ann", "/api/billing/usage?by=userId"))["rows"]
    assert [(row["userId"], row["jobs"]) for row in users] == [("=cmd()", 1), ("u,2", 1), (None, 1)]
    every = (await get(world, "ann", "/api/billing/usage?by=month&by=day,provider"))["rows"]
    assert [row["provider"] for row in every] == ["fal"] * len(every)
    assert all(row["day"].startswith(row["month"]) for row in every)
    assert [row["day"] for row in every] == sorted(row["day"] for row in every)


async def test_filters(world) -> None:
    key = (await get(world, "ann", "/api/billing/usage?by=key"))["rows"][0]["key"]
    for query, jobs in (
        ("model=flux-dev&model=flux-schnell", 3), ("model=never-was", 0),
        (f"key={key}", 2), (f"key=igw_{key}", 2), ("key=none", 1), ("provider=fal", 3), ("provider=own", 0),
        ("userId=u,2", 1), ("userId=%3Dcmd()&userId=u,2", 2), (f"from={TODAY}", 2), (f"to={TODAY}", 3),
        (f"from={TODAY}&to={TODAY}&key=none", 1),
    ):  # fmt: skip
        found = await get(world, "ann", f"/api/billing/usage?{query}")
        assert found["total"]["jobs"] == jobs, query
        assert sum(row["jobs"] for row in found["rows"]) == jobs


async def test_what_is_wrong_with_a_query_is_told_all_at_once(world) -> None:
    answer = await world.http["ann"].get(
        "/api/billing/usage?from=27.11.2026&to=2026-02-30&by=day,color&format=xml&groupBy=day&userId=%00"
    )
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_query")
    faults = {fault["pointer"]: fault.get("allowed", "") for fault in answer.json()["errors"]}
    assert faults.keys() == {
        "/query/from", "/query/to", "/query/by", "/query/format", "/query/groupBy", "/query/userId",
    }  # fmt: skip
    assert "2026-01-31" in faults["/query/from"]
    assert faults["/query/by"] == "day, month, model, provider, key, userId"
    assert faults["/query/format"] == "json, csv"
    turned = await world.http["ann"].get("/api/billing/usage?from=2026-02-01&to=2026-01-01")
    assert [fault["pointer"] for fault in turned.json()["errors"]] == ["/query/from"]
    kind = await world.http["ann"].get("/api/billing/ledger?kind=tip&limit=5")
    assert "topup" in kind.json()["errors"][0]["allowed"]
    form = await world.http["ann"].get("/api/billing/statements/2026-01?format=pdf")
    assert form.json()["errors"][0]["allowed"] == "json, html"


async def test_usage_as_csv(world) -> None:
    answer = await world.http["ann"].get("/api/billing/usage?by=userId,key&format=csv&from=2020-01-01")
    assert answer.headers["content-type"] == "text/csv; header=present; charset=utf-8"
    assert answer.headers["content-disposition"] == 'attachment; filename="usage-from-2020-01-01.csv"'
    lines = answer.text.split("\r\n")
    assert lines[0].startswith(
        "userId,key,keyName,jobs,completed,failed,canceled,images,quotedMicros,cost,costMicros,"
    )
    assert lines[1].startswith("'=cmd(),")
    assert lines[2].startswith('"u,2",,,1,1,0,0,1,4000,0.004,4000,')
    assert len(lines) == 5
    by_header = await world.http["ann"].get("/api/billing/usage", headers={"Accept": "text/csv"})
    assert by_header.text.startswith("day,jobs,")


async def test_an_admin_sees_everybodys_and_what_it_cost(world) -> None:
    found = await get(world, "root", "/api/admin/billing/usage?by=account")
    assert {row["account"]: (row["costMicros"], row["providerCostMicros"]) for row in found["rows"]} == {
        world.ids["ann"]: (64_000, 32_000),
        world.ids["bob"]: (50_000, 25_000),
    }
    total = found["total"]
    assert (total["marginMicros"], total["margin"], total["listedCostMicros"]) == (57_000, 0.057, 37_999)
    bob = await get(world, "root", f"/api/admin/billing/usage?account={world.ids['bob']}&by=key")
    assert [(row["keyName"], row["jobs"]) for row in bob["rows"]] == [("bobs", 1)]
    nobody = await world.http["root"].get("/api/admin/billing/usage?account=acc_none")
    assert nobody.status_code == 404
    table = await world.http["root"].get("/api/admin/billing/usage?by=account,day&format=csv")
    assert table.text.startswith("account,day,jobs,")
    assert "marginMicros" in table.text.splitlines()[0]


async def test_the_ledger_in_pages(world) -> None:
    whole = await get(world, "ann", "/api/billing/ledger?limit=100")
    assert whole["nextCursor"] is None
    assert [entry["kind"] for entry in whole["entries"]].count("capture") == 3
    one = next(entry for entry in whole["entries"] if entry["id"] == "job_1:capture")
    assert (one["text"], one["amount"], one["amountMicros"], one["heldMicros"], one["availableMicros"]) == (
        "Charge for a job", -0.03, -30_000, -30_000, 0,
    )  # fmt: skip
    assert (one["jobId"], one["reference"], one["note"]) == ("job_1", "job_1", None)
    found, cursor = [], ""
    while True:
        page = await get(world, "ann", f"/api/billing/ledger?limit=2{cursor}")
        found += page["entries"]
        if page["nextCursor"] is None:
            break
        cursor = f"&cursor={page['nextCursor']}"
    assert found == whole["entries"]
    of_job = await get(world, "ann", "/api/billing/ledger?jobId=job_2&kind=hold,capture")
    assert [entry["id"] for entry in of_job["entries"]] == ["job_2:capture", "job_2:hold"]
    assert (await get(world, "ann", "/api/billing/ledger?jobId=job_4"))["entries"] == []
    theirs = await get(world, "root", f"/api/admin/accounts/{world.ids['ann']}/ledger?limit=100")
    assert theirs == whole


async def test_the_ledger_as_csv_is_all_of_it(world) -> None:
    answer = await world.http["ann"].get("/api/billing/ledger?format=csv")
    lines = answer.text.split("\r\n")
    assert lines[0] == "at,id,kind,text,amount,amountMicros,availableMicros,heldMicros,jobId,reference,note"
    assert len(lines) == 1 + 6 + 1
    assert sum(int(line.split(",")[5]) for line in lines[1:-1]) == -64_000


async def test_a_report_that_is_too_large_says_so(world, monkeypatch) -> None:
    monkeypatch.setattr(routes, "MOST_ROWS", 2)
    for path in ("usage?by=day,userId", "ledger?format=csv"):
        answer = await world.http["ann"].get(f"/api/billing/{path}")
        assert (answer.status_code, answer.json()["code"]) == (422, "report_too_large"), path
    assert (await world.http["ann"].get("/api/billing/usage?by=model")).status_code == 200


async def test_statements(world) -> None:
    this, then = MONTH, BEFORE
    listed = (await get(world, "ann", "/api/billing/statements"))["statements"]
    assert listed[0] == {"month": this, "provisional": True, "url": f"/api/billing/statements/{this}"}
    assert (listed[-1]["month"], listed[-1]["provisional"]) == (then, False)
    old, now = [await get(world, "ann", f"/api/billing/statements/{month}") for month in (then, this)]
    assert (old["provisional"], now["provisional"]) == (False, True)
    assert (old["opening"]["amountMicros"], old["closing"]["amountMicros"]) == (0, -30_000)
    assert (old["dueMicros"], now["dueMicros"], now["due"]) == (30_000, 64_000, 0.064)
    for view in (old, now):
        for side in ("amountMicros", "availableMicros", "heldMicros"):
            assert view["opening"][side] + sum(m[side] for m in view["movements"]) == view["closing"][side]
        charged = sum(m["amountMicros"] for m in view["movements"] if m["kind"] == "capture")
        assert sum(row["costMicros"] for row in view["models"]) == -charged
        assert sum(row["costMicros"] for row in view["keys"]) == -charged
    assert now["keys"][0]["keyName"] == EVIL
    theirs = await get(world, "root", f"/api/admin/accounts/{world.ids['ann']}/statements/{then}")
    assert theirs | {"madeAt": ""} == old | {"madeAt": ""}


@pytest.mark.parametrize("month", ["2026-13", "2026-1", "x", "9999-01", "2026-11-01", "0001-01", "2026-12"])
async def test_a_month_that_there_is_not(world, month) -> None:
    answer = await world.http["ann"].get(f"/api/billing/statements/{month}")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_a_statement_as_a_page_runs_nothing_and_needs_nothing(world) -> None:
    path = f"/api/billing/statements/{MONTH}"
    answer = await world.http["ann"].get(
        path, headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    )
    page = answer.text
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert page == (await world.http["ann"].get(f"{path}?format=html")).text
    assert "<script" not in page
    assert "&lt;script&gt;alert" in page
    assert not re.search(r"(src|href)=|url\(|@import", page)
    assert "Provisional." in page
    assert "To pay so far" in page
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert policy.count("sha256-") == 1
    assert "style=" not in page  # which the policy would not let through
    assert (await world.http["ann"].get(path)).headers["content-type"] == "application/json"


async def test_amounts_on_the_page_are_exact_and_of_one_width(world) -> None:
    page = (await world.http["ann"].get(f"/api/billing/statements/{MONTH}?format=html")).text
    shown = re.findall(rf'class="number">({MINUS}?[0-9,]+\.[0-9]+)', page)
    assert {len(amount.rpartition(".")[2]) for amount in shown} == {3}
    assert f"{MINUS}0.034" in shown
