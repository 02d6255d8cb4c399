"""A thousand requests at once with money for ten: ten are let in, the others are told what is missing."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from support.databases import connected
from support.gateway_process import GatewayProcess, until
from support.loopback_fal import LoopbackFal

from billing import ledger

# A thousand requests of one account take a minute and a half, by its limit on requests.
pytestmark = [pytest.mark.every_database, pytest.mark.slow, pytest.mark.timeout(500)]

PAID_FOR = 10
ASK = {"model": "flux-dev", "inputs": {"prompt": "a fox", "size": "128x128"}, "userId": "u1"}
PRICE = 30_000
AT_ONCE = 110
"""Below what an account may send at once (120)."""


@pytest.fixture
def closed(
    own_gateway: Callable[..., GatewayProcess], database_env: dict[str, str], fal: LoopbackFal
) -> GatewayProcess:
    """A gateway that asks for keys."""
    return own_gateway(GATEWAY_AUTH="required", **database_env, **fal.env()).start()


def operator(gateway: GatewayProcess, method: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """A call of whoever runs the gateway."""
    key = json.loads((gateway.data_dir / "operator.json").read_text())["key"]
    answer = gateway.http.request(method, path, json=body, headers={"Authorization": f"Bearer {key}"})
    assert answer.is_success, answer.text
    found: dict[str, Any] = answer.json()
    return found


def someone(gateway: GatewayProcess, **more: Any) -> tuple[str, str]:
    """A premium account and a key of it."""
    made = operator(gateway, "POST", "/api/admin/accounts", {"name": "Ann", "tier": "premium", **more})
    path = f"/api/admin/accounts/{made['accountId']}/keys"
    return made["accountId"], operator(gateway, "POST", path, {"name": "k"})["key"]


async def one(http: httpx.AsyncClient, dice: random.Random, sent: Counter[str]) -> dict[str, Any]:
    """Ask until there is an answer: who is told to come back does, and waits longer each time."""
    longest = 1
    # A client whose connection breaks sends the same once more, as this key allows.
    headers = {"Prefer": "respond-async", "Idempotency-Key": f"{dice.getrandbits(128):032x}"}
    while True:
        sent["requests"] += 1
        try:
            answer = await http.post("/api/images/generate", json=ASK, headers=headers)
        except httpx.TransportError:
            sent["broken"] += 1
            await asyncio.sleep(dice.uniform(1, 3))
            continue
        if answer.status_code == 409:
            assert answer.json()["code"] == "idempotency_in_flight"
            await asyncio.sleep(dice.uniform(1, 3))
            continue
        if answer.status_code != 429:
            return answer.json() | {"status": answer.status_code}
        assert answer.json()["code"] == "too_many_requests"
        sent["429"] += 1
        longest = min(2 * longest, 32)
        await asyncio.sleep(int(answer.headers["retry-after"]) * dice.uniform(1, longest))


async def crowd(gateway: GatewayProcess, key: str, many: int, sent: Counter[str]) -> list[dict[str, Any]]:
    """Everybody at once."""
    dice = random.Random(7)
    headers = {"Authorization": f"Bearer {key}"}
    limits = httpx.Limits(max_connections=many, max_keepalive_connections=many)
    async with httpx.AsyncClient(
        base_url=gateway.url, headers=headers, limits=limits, timeout=100, trust_env=False
    ) as http:
        return await asyncio.gather(*(one(http, dice, sent) for _ in range(many)))


def outcomes(answers: list[dict[str, Any]]) -> Counter[str]:
    """Let in, or why not."""
    return Counter(
        "let in" if answer["status"] in (200, 202) else f"{answer['status']} {answer['code']}"
        for answer in answers
    )


def ended(gateway: GatewayProcess, account: str) -> None:
    """Every job that was let in was made and charged, and the books say the same."""
    mine = f"account_id = '{account}'"
    until(
        "the jobs end",
        lambda: (
            gateway.query(f"select count(*) from job where {mine} and status = 'completed'") == [(PAID_FOR,)]
        ),
    )
    assert gateway.query(f"select count(*), sum(charge_micros) from job where {mine}") == [
        (PAID_FOR, PAID_FOR * PRICE)
    ]
    assert gateway.query(f"select count(*) from hold where {mine} and status = 'captured'") == [(PAID_FOR,)]
    gateway.check_books()
    url = gateway.env.get("GATEWAY_DATABASE_URL", f"sqlite:///{gateway.data_dir / 'gateway.db'}")
    with connected(url) as conn:
        assert ledger.verify(conn) == []


async def test_a_balance_for_ten_and_a_thousand_requests(
    closed: GatewayProcess, figures: Callable[[str], None]
) -> None:
    """An account may send 120 at once and 10 a second; the others are told when to come back, and do."""
    account, key = someone(closed, balance=0.3)
    sent: Counter[str] = Counter()
    answers = await crowd(closed, key, 1_000, sent)
    found = outcomes(answers)
    assert found == {"let in": PAID_FOR, "402 insufficient_funds": 1_000 - PAID_FOR}
    assert {answer["missing"] for answer in answers if answer["status"] == 402} <= {0.03}
    ended(closed, account)
    assert closed.query(
        f"select available_micros, held_micros from wallet where account_id = '{account}'"
    ) == [(0, 0)]
    figures(f"1,000 requests at once, a balance for 10: {dict(found)}; {dict(sent)}")


async def test_monthly_budgets_for_ten_and_more_requests_at_once(
    closed: GatewayProcess, figures: Callable[[str], None]
) -> None:
    for kind in ("account", "key", "user"):
        account, key = someone(closed, postpaid=True)
        subject = {"account": {}, "key": {"subject": key[4:16]}, "user": {"subject": "*"}}[kind]
        path = f"/api/admin/accounts/{account}/budgets"
        operator(closed, "PUT", path, {"kind": kind, "limit": 0.31, **subject})
        answers = await crowd(closed, key, AT_ONCE, Counter())
        found = outcomes(answers)
        assert found == {"let in": PAID_FOR, "402 budget_exhausted": AT_ONCE - PAID_FOR}
        refused = {(a["budget"]["kind"], a["budget"]["left"], a["missing"]) for a in answers if "budget" in a}
        assert refused == {(kind, 0.01, 0.02)}
        ended(closed, account)
        used = closed.query(f"select used_micros from spend where account_id = '{account}'")
        assert used == [(PAID_FOR * PRICE,)]
        figures(f"{AT_ONCE} requests at once, a monthly budget of the {kind} for 10: {dict(found)}")
