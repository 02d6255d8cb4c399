"""The operator's routes of money, over HTTP."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from msgspec.structs import replace
from sqlalchemy import text
from support.closed_app import client, closed_app, litestar
from support.new_jobs import new_job
from support.paid_jobs import other_candidate, share_of
from support.people import BY

from billing import ledger
from gateway.accounts import rows
from gateway.core import Core
from gateway.guard import Guard
from gateway.jobs import admit, store
from gateway.jobs.records import Admitted


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[Guard]:
    async with closed_app(tmp_path) as app:
        yield app


@pytest.fixture
def core(app: Guard) -> Core:
    found: Core = litestar(app).state.core
    return found


@pytest.fixture
async def admin(app: Guard, core: Core) -> AsyncIterator[httpx.AsyncClient]:
    """An admin's client; Ann has paid 100 micro-dollars in and was charged 40 for `job1`."""

    def begin(conn) -> None:
        at = core.ambient.now_ms()
        rows.ensure_account(conn, account_id="ann", name="Ann", postpaid=False, at=1)
        ledger.top_up(conn, account_id="ann", amount_micros=100, reference="pay1", at=1)
        shown = Admitted(inputs={"prompt": "x"}, options={}, candidates=(other_candidate(),))
        admit.admit(conn, replace(new_job(), admitted=shown), at)
        store.complete(conn, "job1", [share_of("job1", "att1.1", range(1), 7)], 40, at)

    await core.db.write(begin)
    made = await core.accounts.create("Root", tier="premium", admin=True, postpaid=True, balance=None, by=BY)
    scopes = frozenset(("admin", "read"))
    _, key = await core.accounts.create_key(made.account.id, "x", expires_in_days=None, scopes=scopes, by=BY)
    async with client(app, key.text) as http:
        yield http


async def send(http: httpx.AsyncClient, what: str, **body: object) -> httpx.Response:
    return await http.post(f"/api/admin/{what}", json=body)


async def test_a_refund(admin, core) -> None:
    answer = await send(admin, "refund", jobId="job1", amount=0.00001, reference="r1", note="blurred")
    assert answer.status_code == 200
    found = answer.json()
    assert (found["kind"], found["reference"], found["jobId"]) == ("refund", "r1", "job1")
    assert (found["amount"], found["amountMicros"], found["refunded"]) == (0.00001, 10, 0.00001)
    assert found["account"]["balance"]["availableMicros"] == 70
    job = (await admin.get("/api/admin/jobs/job1")).json()
    assert (job["cost"], job["refunded"]) == (0.00004, 0.00001)
    again = await send(admin, "refund", jobId="job1", amount="0.00001", reference="r1")
    assert (again.status_code, again.json()["code"]) == (409, "reference_used")
    other = await send(admin, "refund", jobId="job1", reference="r1", amount="0.00002")
    assert (other.status_code, other.json()["code"]) == (409, "reference_conflict")
    much = await send(admin, "refund", jobId="job1", amount="0.00004")
    assert (much.status_code, much.json()["code"], much.json()["jobId"]) == (409, "refund_too_large", "job1")
    rest = await send(admin, "refund", jobId="job1")
    assert (rest.status_code, rest.json()["refunded"]) == (200, 0.00004)
    none = await send(admin, "refund", jobId="job1")
    assert (none.status_code, none.json()["code"]) == (409, "nothing_to_refund")
    assert (await send(admin, "refund", jobId="job9")).status_code == 404


async def test_credit_pay_out_and_adjustment(admin) -> None:
    credit = await send(admin, "credit", accountId="ann", amount=2)
    assert (credit.status_code, credit.json()["kind"], credit.json()["amount"]) == (200, "promotion", 2)
    out = await send(admin, "payout", accountId="ann", amount="1.5")
    assert (out.status_code, out.json()["amountMicros"]) == (200, -1_500_000)
    less = await send(admin, "adjust", accountId="ann", amount=-0.5, note="entered twice")
    assert (less.status_code, less.json()["account"]["balance"]["availableMicros"]) == (200, 60)
    for what in ("payout", "adjust"):
        sign, more = (1, {}) if what == "payout" else (-1, {"note": "x"})
        refused = await send(admin, what, accountId="ann", amount=sign, **more)
        assert (refused.status_code, refused.json()["code"]) == (402, "insufficient_funds")
    audit = (await admin.get("/api/admin/audit?subject=ann")).json()["entries"]
    assert [row["action"] for row in audit] == ["account.adjust", "account.payout", "account.credit"]


async def test_what_is_not_taken(admin) -> None:
    for what, body in (
        ("refund", {"jobId": "job1", "amount": 0}),
        ("refund", {"jobId": "job1", "amount": -1}),
        ("refund", {"amount": 1}),
        ("credit", {"accountId": "ann", "amount": -1}),
        ("payout", {"accountId": "ann", "amount": -1}),
        ("adjust", {"accountId": "ann", "amount": 0, "note": "x"}),
        ("adjust", {"accountId": "ann", "amount": 1}),
        ("adjust", {"accountId": "ann", "amount": 1, "note": ""}),
        ("credit", {"accountId": "ann", "amount": 1, "reference": "x" * 41}),
    ):
        answer = await send(admin, what, **body)
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_body"), (what, body)


async def test_the_books_are_looked_at_when_somebody_asks(admin, core) -> None:
    # The look of the start is in the background.
    first = (await admin.get("/api/admin/billing/verify")).json()
    assert (first["ok"], first["findings"]) == (True, [])
    harm = text("update wallet set available_micros = 61 where account_id = 'ann'")
    await core.db.write(lambda c: c.execute(harm))
    kept = (await admin.get("/api/admin/billing/verify")).json()
    assert kept["ok"] is True
    now = (await admin.get("/api/admin/billing/verify?now=true")).json()
    assert now["ok"] is False
    (finding,) = now["findings"]
    assert (finding["code"], finding["subject"]) == ("wallet_sum", "ann")
    assert "available 61, entries say 60" in finding["detail"]
    assert (await admin.get("/api/admin/billing/verify")).json() == now
