"""Endpoints and deliveries over HTTP, in this process: a normal account's job that is canceled while it waits
tells its end.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.closed_app import client, closed_app, litestar
from support.hook_server import HookServer, status
from support.people import BY

from gateway.accounts.scopes import SCOPES, Scope
from gateway.core import Core
from gateway.delivery.service import TESTS
from gateway.guard import Guard

ASK = {"model": "embedded-mini", "inputs": {"prompt": "a red circle"}}
EVERY = frozenset(SCOPES)


@pytest.fixture
async def app(tmp_path: Path, hooks: HookServer) -> AsyncIterator[Guard]:
    async with closed_app(tmp_path / "data", GATEWAY_FETCH_ALLOW=hooks.allow) as app:
        yield app


async def key_of(
    app: Guard, *, admin: bool = False, scopes: frozenset[Scope] = EVERY, account: str = ""
) -> str:
    core: Core = litestar(app).state.core
    if not account:
        made = await core.accounts.create("x", tier="normal", admin=admin, postpaid=True, balance=None, by=BY)
        account = made.account.id
    _, key = await core.accounts.create_key(account, "x", expires_in_days=None, scopes=scopes, by=BY)
    return key.text


@pytest.fixture
async def ann(app: Guard) -> AsyncIterator[httpx.AsyncClient]:
    async with client(app, await key_of(app)) as http:
        yield http


@pytest.fixture
async def bob(app: Guard) -> AsyncIterator[httpx.AsyncClient]:
    async with client(app, await key_of(app)) as http:
        yield http


@pytest.fixture
async def admin(app: Guard) -> AsyncIterator[httpx.AsyncClient]:
    async with client(app, await key_of(app, admin=True)) as http:
        yield http


async def ok(answer: httpx.Response, expected: int = 200) -> Any:
    assert answer.status_code == expected, answer.text
    return answer.json()


def code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


async def canceled(http: httpx.AsyncClient, **delivery: Any) -> str:
    """A job of an account whose jobs wait, canceled."""
    job = await ok(await http.post("/api/images/generate", json=ASK | {"delivery": delivery}), 202)
    assert job["status"] == "scheduled"
    assert (await ok(await http.delete(f"/api/jobs/{job['jobId']}")))["status"] == "canceled"
    return str(job["jobId"])


async def one(http: httpx.AsyncClient, path: str = "/api/deliveries", **settled: Any) -> dict[str, Any]:
    """The only delivery, once it is so."""
    for _ in range(600):
        (found,) = (await ok(await http.get(path)))["deliveries"]
        if all(found[name] == value for name, value in settled.items()):
            return dict(found)
        await asyncio.sleep(0.05)
    raise AssertionError(f"never so: {found}")


async def test_from_a_url_to_a_call(ann, hooks) -> None:
    job_id = await canceled(ann, webhook={"url": hooks.url("/ann")})
    call = await asyncio.to_thread(hooks.to, "/ann")
    (made,) = (await ok(await ann.get("/api/webhooks")))["webhooks"]
    assert made["url"] == hooks.url("/ann")
    assert "secret" not in made
    secret = (await ok(await ann.get(f"/api/webhooks/{made['id']}/secret")))["secret"]
    told = call.verified(secret)
    assert (told["type"], told["data"]["jobId"]) == ("job.canceled", job_id)
    assert told["data"]["delivery"] == {"email": False, "webhookId": made["id"]}
    shown = await one(ann, state="sent")
    assert (shown["id"], shown["type"], shown["jobId"], shown["statusCode"]) == (
        call.id, "job.canceled", job_id, 204,
    )  # fmt: skip
    assert (shown["recipient"], shown["webhookId"]) == (hooks.url("/ann"), made["id"])
    assert (await ok(await ann.get(f"/api/jobs/{job_id}")))["delivery"]["webhookId"] == made["id"]


async def test_making_listing_and_deleting(ann, hooks) -> None:
    answer = await ann.post("/api/webhooks", json={"url": hooks.url()})
    made = await ok(answer)
    assert answer.headers["cache-control"] == "no-store"
    assert made["secret"].startswith("whsec_")
    again = await ok(await ann.post("/api/webhooks", json={"url": hooks.url()}))
    assert again == made
    assert (await ok(await ann.delete(f"/api/webhooks/{made['id']}")))["id"] == made["id"]
    assert (await ok(await ann.get("/api/webhooks")))["webhooks"] == []
    assert code(await ann.get(f"/api/webhooks/{made['id']}/secret")) == (404, "not_found")
    # What is made anew has another secret.
    assert (await ok(await ann.post("/api/webhooks", json={"url": hooks.url()})))["secret"] != made["secret"]


NO_ENDPOINTS = [
    "http://example.com/",
    "https://127.0.0.1/",
    "https://localhost/",
    "x",
    f"https://a.org/{'x' * 2000}",
]


@pytest.mark.parametrize("url", NO_ENDPOINTS)
async def test_who_may_not_be_called(ann, url) -> None:
    answer = await ann.post("/api/webhooks", json={"url": url})
    assert code(answer) == (422, "invalid_webhook")
    assert answer.json()["errors"][0]["pointer"] == "/url"
    refused = await ann.post("/api/images/generate", json=ASK | {"delivery": {"webhook": {"url": url}}})
    assert code(refused) == (422, "invalid_inputs")
    assert refused.json()["errors"][0]["pointer"] == "/delivery/webhook/url"
    assert (await ok(await ann.get("/api/jobs")))["jobs"] == []


async def test_a_test(ann, hooks) -> None:
    made = await ok(await ann.post("/api/webhooks", json={"url": hooks.url()}))
    path = f"/api/webhooks/{made['id']}/test"
    answer = await ok(await ann.post(path, json={}))
    (call,) = hooks.calls
    told = call.verified(made["secret"])
    assert (told["type"], told["data"]) == ("webhook.test", {"webhookId": made["id"]})
    assert answer == {"messageId": call.id, "delivered": True, "statusCode": 204, "error": None}
    hooks.answers["/hook"].append(status(500))
    answer = await ok(await ann.post(path, json={}))
    assert (answer["delivered"], answer["statusCode"], answer["error"]) == (False, 500, "it answered 500")
    # It is no delivery, and is not made again.
    assert (await ok(await ann.get("/api/deliveries")))["deliveries"] == []
    for _ in range(TESTS.burst):
        answer = await ann.post(path, json={})
    assert code(answer) == (429, "too_many_requests")


async def test_gone_enabled_and_sent_again(ann, hooks) -> None:
    hooks.answers["/hook"].append(status(410))
    await canceled(ann, webhook={"url": hooks.url()})
    shown = await one(ann, state="failed")
    assert (shown["statusCode"], shown["tries"]) == (410, 1)
    (made,) = (await ok(await ann.get("/api/webhooks")))["webhooks"]
    assert (made["disabledBecause"], made["disabledAt"] is None) == ("it answered 410 Gone", False)
    path = f"/api/deliveries/{shown['id']}/redeliver"
    assert code(await ann.post(path, json={})) == (409, "webhook_disabled")
    refused = await ann.post("/api/images/generate", json=ASK | {"delivery": {"webhook": {"id": made["id"]}}})
    assert "disabled" in refused.json()["detail"]
    assert (await ok(await ann.post(f"/api/webhooks/{made['id']}/enable", json={})))["disabledAt"] is None
    assert (await ok(await ann.post(path, json={}), 202))["state"] == "open"
    second = await asyncio.to_thread(hooks.to, "/hook", 2)
    assert second.id == hooks.calls[0].id == shown["id"]
    await one(ann, state="sent")
    # One that was sent may be sent once more.
    await ok(await ann.post(path, json={}), 202)
    assert (await asyncio.to_thread(hooks.to, "/hook", 3)).id == shown["id"]
    await ok(await ann.delete(f"/api/webhooks/{made['id']}"))
    assert code(await ann.post(path, json={})) == (409, "webhook_disabled")


async def test_what_is_anothers_is_not_there(ann, bob, hooks) -> None:
    await canceled(ann, webhook={"url": hooks.url()})
    shown = await one(ann, state="sent")
    hook = shown["webhookId"]
    for method, path in (
        ("GET", f"/api/webhooks/{hook}/secret"),
        ("POST", f"/api/webhooks/{hook}/test"),
        ("POST", f"/api/webhooks/{hook}/enable"),
        ("DELETE", f"/api/webhooks/{hook}"),
        ("POST", f"/api/deliveries/{shown['id']}/redeliver"),
    ):
        body = {"json": {}} if method == "POST" else {}
        assert code(await bob.request(method, path, **body)) == (404, "not_found"), path
    assert (await ok(await bob.get("/api/webhooks")))["webhooks"] == []
    assert (await ok(await bob.get("/api/deliveries")))["deliveries"] == []
    refused = await bob.post("/api/images/generate", json=ASK | {"delivery": {"webhook": {"id": hook}}})
    assert refused.json()["errors"][0]["pointer"] == "/delivery/webhook/id"
    assert len(hooks.calls) == 1


async def test_what_an_admin_sees_and_does(ann, admin, hooks) -> None:
    job_id = await canceled(ann, webhook={"url": hooks.url("/T0KEN")})
    await one(ann, state="sent")
    path = f"/api/admin/outbox?state=sent&kind=webhook&jobId={job_id}"
    shown = await one(admin, path, state="sent")
    me = (await ok(await ann.get("/api/account")))["accountId"]
    # What stands in a URL's path may be a secret of its owner's.
    assert (shown["accountId"], shown["recipient"]) == (me, hooks.url(""))
    await ok(await admin.post(f"/api/admin/outbox/{shown['id']}/redeliver", json={}), 202)
    assert (await asyncio.to_thread(hooks.to, "/T0KEN", 2)).id == shown["id"]
    assert code(await ann.get("/api/admin/outbox")) == (403, "admin_required")
    audit = await ok(await admin.get(f"/api/admin/audit?subject={me}"))
    assert "webhook.create" in [entry["action"] for entry in audit["entries"]]
    assert "T0KEN" not in str(audit)


async def test_deliveries_come_in_pages(ann, hooks) -> None:
    jobs = [await canceled(ann, webhook={"url": hooks.url()}) for _ in range(3)]
    seen, cursor = [], ""
    for _ in range(3):
        page = await ok(await ann.get(f"/api/deliveries?limit=1{cursor}"))
        seen += [row["jobId"] for row in page["deliveries"]]
        cursor = f"&cursor={page['nextCursor']}"
    assert seen == jobs[::-1]
    assert page["nextCursor"] is None
    for query in ("limit=0", "cursor=x", "state=odd", "kind=pigeon"):
        assert code(await ann.get(f"/api/deliveries?{query}")) == (400, "bad_request")


@pytest.mark.parametrize(
    ("delivery", "pointer"),
    [({"mail": True}, "/delivery/mail"), ({"email": "yes"}, "/delivery/email"), ([], "/delivery"),
     ({"webhook": "https://example.com/"}, "/delivery/webhook"),
     ({"webhook": {"url": "x", "secret": "y"}}, "/delivery/webhook/secret")],
)  # fmt: skip
async def test_a_delivery_is_read_strictly(ann, delivery, pointer) -> None:
    for path, body in (
        ("/api/images/generate", ASK),
        ("/api/templates/billboard", {"variables": {"headline": "x"}}),
    ):
        answer = await ann.post(path, json=body | {"delivery": delivery})
        assert code(answer) == (400, "invalid_body"), answer.text
        assert answer.json()["errors"][0]["pointer"] == pointer


async def test_a_key_that_only_makes_pictures(app, ann, hooks) -> None:
    """It may have its jobs told, and manages no endpoint."""
    me = (await ok(await ann.get("/api/account")))["accountId"]
    scopes: frozenset[Scope] = frozenset(("generate", "read"))
    async with client(app, await key_of(app, scopes=scopes, account=me)) as http:
        await canceled(http, webhook={"url": hooks.url()})
        assert code(await http.get("/api/webhooks")) == (403, "missing_scope")
        hook = (await one(http, state="sent"))["webhookId"]
        assert code(await http.get(f"/api/webhooks/{hook}/secret")) == (403, "missing_scope")


async def test_email_needs_an_address(ann) -> None:
    refused = await ann.post("/api/images/generate", json=ASK | {"delivery": {"email": True}})
    assert code(refused) == (422, "invalid_inputs")
    assert refused.json()["errors"][0]["pointer"] == "/delivery/email"
