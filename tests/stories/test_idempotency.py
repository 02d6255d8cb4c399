"""A request that is sent again is the same request: one job, one hold, one price."""

import asyncio
import collections
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import httpx
import pytest
from support.gateway_process import GatewayProcess, until

pytestmark = pytest.mark.slow

URL, RAW, TEMPLATE = "/api/images/generate", "/diffusers/generate", "/api/templates/billboard"
SHORT = {"model": "embedded-mini", "inputs": {"prompt": "x", "size": "64x64", "steps": 2}}
OTHER = {"model": "embedded-mini", "inputs": {"prompt": "y", "size": "64x64", "steps": 2}}
LONG = {"inputs": {"prompt": "x", "size": "512x512", "steps": 50, "n": 4}}
RAW_SHORT = {"model_id": "embedded-mini", "inputs": "a hill", "parameters": {"width": 64, "height": 64}}
BILLBOARD = {"variables": {"headline": "Winter Sale"}}


def send(
    gateway: GatewayProcess, body: Any, key: str | None, url: str = URL, **headers: str
) -> httpx.Response:
    keyed = {} if key is None else {"Idempotency-Key": key}
    return gateway.http.post(url, json=body, headers={**keyed, **headers})


def jobs(gateway: GatewayProcess) -> int:
    total: int = gateway.http.get("/api/jobs/counts").json()["total"]
    return total


def problem(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def test_the_same_key_twice_is_one_job_and_the_second_answer_says_so(gateway: GatewayProcess) -> None:
    key, before = str(uuid4()), jobs(gateway)
    first, again = send(gateway, SHORT, key), send(gateway, SHORT, f'"{key}"')
    assert (first.status_code, again.status_code) == (200, 200)
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert again.json()["jobId"] == first.json()["jobId"]
    assert jobs(gateway) == before + 1
    gateway.check_books()


def test_without_a_key_each_request_is_its_own(gateway: GatewayProcess) -> None:
    first, again = send(gateway, SHORT, None), send(gateway, SHORT, None)
    assert first.json()["jobId"] != again.json()["jobId"]


def test_a_key_is_good_for_one_request(gateway: GatewayProcess) -> None:
    key, before = str(uuid4()), jobs(gateway)
    first = send(gateway, SHORT, key).json()["jobId"]
    reused = [
        send(gateway, OTHER, key),
        send(gateway, RAW_SHORT, key, RAW),
        send(gateway, BILLBOARD, key, TEMPLATE),
    ]
    assert {problem(answer) for answer in reused} == {(422, "idempotency_key_reused")}
    assert {answer.json()["jobId"] for answer in reused} == {first}
    assert jobs(gateway) == before + 1


@pytest.mark.parametrize("key", ["", "two words", "k" * 256])
def test_what_is_no_key_is_refused_before_anything_is_made(gateway: GatewayProcess, key: str) -> None:
    before = jobs(gateway)
    for url, body in ((URL, SHORT), (RAW, RAW_SHORT), (TEMPLATE, BILLBOARD)):
        assert problem(send(gateway, body, key, url)) == (400, "bad_idempotency_key")
    assert jobs(gateway) == before


def test_a_request_that_is_refused_uses_no_key_up(gateway: GatewayProcess) -> None:
    key = str(uuid4())
    wrong = {"model": "embedded-mini", "inputs": {"prompt": "x", "steps": 9999999}}
    assert problem(send(gateway, wrong, key)) == (422, "invalid_inputs")
    assert problem(send(gateway, {"model": "nope", "inputs": {}}, key)) == (400, "unknown_model")
    right = send(gateway, SHORT, key)
    assert (right.status_code, "idempotent-replayed" in right.headers) == (200, False)


def test_the_raw_picture_is_answered_again(gateway: GatewayProcess) -> None:
    key = str(uuid4())
    first, again = send(gateway, RAW_SHORT, key, RAW), send(gateway, RAW_SHORT, key, RAW)
    assert first.headers["content-type"] == again.headers["content-type"] == "image/png"
    assert again.content == first.content
    assert again.headers["x-job-id"] == first.headers["x-job-id"]
    assert ("idempotent-replayed" in first.headers, again.headers["idempotent-replayed"]) == (False, "true")


def test_a_templates_picture_is_answered_again(gateway: GatewayProcess) -> None:
    key = str(uuid4())
    first, again = send(gateway, BILLBOARD, key, TEMPLATE), send(gateway, BILLBOARD, key, TEMPLATE)
    assert again.json()["jobId"] == first.json()["jobId"]
    assert again.headers["idempotent-replayed"] == "true"


def test_a_job_that_was_canceled_is_replayed_as_that(gateway: GatewayProcess) -> None:
    key = str(uuid4())
    started = send(gateway, LONG, key, Prefer="respond-async")
    again = send(gateway, LONG, key, Prefer="respond-async")
    assert (started.status_code, again.status_code) == (202, 202)
    assert again.headers["location"] == started.headers["location"]
    gateway.http.delete(f"/api/jobs/{started.json()['jobId']}")
    ended = send(gateway, LONG, key)
    assert problem(ended) == (409, "canceled")
    assert ended.headers["idempotent-replayed"] == "true"
    assert ended.json()["jobId"] == started.json()["jobId"]


def test_a_dry_run_uses_no_key_up(gateway: GatewayProcess) -> None:
    key = str(uuid4())
    assert send(gateway, OTHER, key, f"{URL}?dryRun=true").status_code == 200
    assert "idempotent-replayed" not in send(gateway, SHORT, key).headers


async def hundred(gateway: GatewayProcess, key: str, body: dict[str, Any]) -> list[httpx.Response]:
    limits = httpx.Limits(max_connections=100)
    async with httpx.AsyncClient(base_url=gateway.url, timeout=60, trust_env=False, limits=limits) as http:
        posts = (http.post(URL, json=body, headers={"Idempotency-Key": key}) for _ in range(100))
        return await asyncio.gather(*posts)


def test_a_hundred_equal_keys_at_once_are_one_job(gateway: GatewayProcess) -> None:
    key, before = str(uuid4()), jobs(gateway)
    answers = asyncio.run(hundred(gateway, key, SHORT))
    seen = collections.Counter(answer.status_code for answer in answers)
    assert seen.keys() <= {200, 409}
    (job_id,) = {answer.json()["jobId"] for answer in answers if answer.status_code == 200}
    first = [a for a in answers if a.status_code == 200 and "idempotent-replayed" not in a.headers]
    assert len(first) == 1
    for refused in (answer for answer in answers if answer.status_code == 409):
        assert refused.json()["code"] == "idempotency_in_flight"
        assert refused.headers["retry-after"] == "1"
    assert send(gateway, SHORT, key).json()["jobId"] == job_id
    assert jobs(gateway) == before + 1
    for table in ("attempt", "hold"):
        assert gateway.query(f"select count(*) from {table} where job_id = '{job_id}'") == [(1,)]
    assert gateway.query(f"select job_id from idempotency where key = 'key:{key}'") == [(job_id,)]
    gateway.check_books()


@pytest.fixture
def windowed(own_gateway: Callable[..., GatewayProcess]) -> GatewayProcess:
    """A gateway of accounts, with a resend window of a minute."""
    return own_gateway(GATEWAY_AUTH="required", GATEWAY_RESEND_WINDOW_S="60").start()


def test_accounts_have_their_own_keys_and_windows(windowed: GatewayProcess) -> None:
    def someone() -> tuple[str, dict[str, str]]:
        account = windowed.done("account", "create", "Ann", "--tier", "premium", "--postpaid")
        key = windowed.done("keys", "create", account, "--scope", "generate", "--scope", "read")
        return account, {"Authorization": f"Bearer {key}"}

    def job_of(who: dict[str, str], key: str | None = None) -> str:
        return str(send(windowed, SHORT, key, **who).json()["jobId"])

    (ann, as_ann), (_, as_bob) = someone(), someone()
    assert job_of(as_ann, "k") != job_of(as_bob, "k")
    assert job_of(as_ann, "k") == job_of(as_ann, "k")

    # Equal requests without a key are one, within the window.
    first = send(windowed, SHORT, None, **as_ann)
    again = send(windowed, SHORT, None, **as_ann)
    assert again.json()["jobId"] == first.json()["jobId"] != job_of(as_ann, "k")
    assert ("idempotent-replayed" in first.headers, again.headers["idempotent-replayed"]) == (False, "true")
    assert job_of(as_bob) != first.json()["jobId"]
    assert "resend window 0 s" in windowed.done("account", "change", ann, "--resend-window", "0")
    assert job_of(as_ann) != job_of(as_ann)
    assert "window" not in windowed.done("account", "change", ann, "--resend-window", "default")
    assert job_of(as_ann) == first.json()["jobId"]
    wrong = windowed.command("account", "change", ann, "--resend-window", "3601")
    assert (wrong.returncode, "0 to 3600" in wrong.stderr) == (2, True)


def test_a_client_that_asks_again_after_a_crash_finds_its_job(
    own_gateway: Callable[..., GatewayProcess],
) -> None:
    gateway = own_gateway().start()

    async def die_waiting() -> None:
        async with httpx.AsyncClient(base_url=gateway.url, timeout=60, trust_env=False) as http:
            headers = {"Idempotency-Key": "k", "Prefer": "wait=60"}
            asked = asyncio.create_task(http.post(URL, json=LONG, headers=headers))
            await asyncio.to_thread(until, "the job is in", lambda: gateway.query("select 1 from job"))
            await asyncio.to_thread(gateway.kill)
            with pytest.raises(httpx.TransportError):
                await asked

    asyncio.run(die_waiting())
    gateway.start()
    ((job_id,),) = gateway.query("select id from job")
    told: list[httpx.Response] = []

    def replayed() -> bool:
        told.append(send(gateway, LONG, "k"))
        return told[-1].status_code != 409

    until("the job's end is answered", replayed, 90)
    assert {problem(answer) for answer in told[:-1]} <= {(409, "idempotency_in_flight")}
    assert (told[-1].status_code, told[-1].headers["idempotent-replayed"]) == (200, "true")
    assert told[-1].json()["jobId"] == job_id
    assert gateway.query("select count(*) from job") == [(1,)]
    assert gateway.query("select count(*) from hold") == [(1,)]
    gateway.check_books()


def test_who_did_not_wait_finds_the_job_at_once_after_a_crash(
    own_gateway: Callable[..., GatewayProcess],
) -> None:
    gateway = own_gateway().start()
    first = send(gateway, LONG, "k", Prefer="respond-async")
    gateway.kill()
    gateway.start()
    again = send(gateway, LONG, "k", Prefer="respond-async")
    assert again.json()["jobId"] == first.json()["jobId"]
    assert (again.status_code, again.headers["idempotent-replayed"]) == (202, "true")
