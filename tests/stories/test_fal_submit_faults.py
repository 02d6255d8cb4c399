"""A submit to fal goes wrong. What fal provably did not take costs nothing, and may be sent again;
what it may have taken is kept, answered 202, and never sent again: an operator settles it.
"""

import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
from support.gateway_process import GatewayProcess, until
from support.loopback_fal import LoopbackFal
from support.loopback_fal_faults import RETRY_AFTER_S

pytestmark = pytest.mark.slow

Own = Callable[..., GatewayProcess]
PRICE = 30_000
"""Of one small picture, in micro-dollars."""
UNAVAILABLE = ("failed", "provider_unavailable")


def body(prompt: str) -> dict[str, object]:
    return {"model": "flux-dev", "inputs": {"prompt": prompt, "size": "128x128"}}


def tries(job: dict[str, Any]) -> list[tuple[str, str | None]]:
    return [(attempt["status"], attempt["error"]) for attempt in job["attempts"]]


def hold(gateway: GatewayProcess, job_id: str) -> tuple[Any, ...]:
    """Its state and what was taken of it, in micro-dollars."""
    (found,) = gateway.query(f"select status, captured_micros from hold where job_id = '{job_id}'")
    return found


def submits(fal: LoopbackFal, prompt: str) -> int:
    """How often fal read a submit with that prompt to its end."""
    return sum(r.json()["prompt"] == prompt for r in fal.seen("POST", "/flux/dev"))


def check_failed(gateway: GatewayProcess, answer: Any, status: int, code: str) -> dict[str, Any]:
    """The answer is a problem; its job failed, is charged nothing and holds nothing."""
    assert (answer.status_code, answer.json().get("code")) == (status, code), answer.text
    job = gateway.job(answer.json()["jobId"])
    assert (job["status"], job["error"]["code"], job["costMicros"]) == ("failed", code, 0)
    assert hold(gateway, job["jobId"]) == ("released", None)
    return job


def check_unknown(gateway: GatewayProcess, job: dict[str, Any]) -> None:
    """Nobody knows whether it was taken: not charged yet, and its price is set aside."""
    assert (job["status"], job["costMicros"]) == ("unknown", None)
    assert tries(job) == [("unknown", "provider_submit_unknown")]
    assert hold(gateway, job["jobId"]) == ("open", None)


def check_charged(gateway: GatewayProcess, job: dict[str, Any]) -> None:
    assert (job["status"], job["costMicros"], len(job["images"])) == ("completed", PRICE, 1)
    assert hold(gateway, job["jobId"]) == ("captured", PRICE)


# -- refused: the job ends at once ----------------------------------------------------------

# what fal says -> status, code of the problem
REFUSALS = [
    ("401", 502, "provider_credentials_rejected"),
    ("403", 502, "provider_credentials_rejected"),
    ("403_balance", 503, "provider_quota"),
    ("404", 502, "provider_target_unavailable"),
    ("410", 502, "provider_target_unavailable"),
    ("not_ready", 422, "provider_rejected_request"),  # a plain 400
    ("422", 422, "provider_rejected_request"),
    ("422_flat", 422, "provider_rejected_request"),
    ("422_policy", 422, "content_policy"),
    ("422_policy_text", 422, "content_policy"),
    ("redirect", 502, "provider_bad_response"),
]


@pytest.mark.parametrize(("kind", "status", "code"), REFUSALS, ids=[r[0] for r in REFUSALS])
def test_a_refused_submit_costs_nothing(
    paid: GatewayProcess, fal: LoopbackFal, kind: str, status: int, code: str
) -> None:
    prompt = f"refused {kind}"
    fal.fail("submit", kind)
    job = check_failed(paid, paid.generate(body(prompt)), status, code)
    assert tries(job) == [("failed", code)]
    assert (submits(fal, prompt), fal.invoices(prompt)) == (1, [])


# -- not taken, for now: it is sent again ----------------------------------------------------

# what fal says -> the attempt's error, the seconds that it asks us to wait
NOT_NOW = [
    ("429", "provider_rate_limited", RETRY_AFTER_S),
    ("503_retry_after", "provider_unavailable", RETRY_AFTER_S),
    ("503_scheduling", "provider_unavailable", 0),
]


@pytest.mark.parametrize(("kind", "code", "wait_s"), NOT_NOW, ids=[n[0] for n in NOT_NOW])
def test_what_fal_did_not_take_is_sent_again_after_the_time_that_it_names(
    paid: GatewayProcess, fal: LoopbackFal, kind: str, code: str, wait_s: int
) -> None:
    prompt = f"not now {kind}"
    fal.fail("submit", kind, taken=False)
    started = time.monotonic()
    job = paid.generate(body(prompt)).json()
    assert time.monotonic() - started > wait_s
    check_charged(paid, job)
    assert tries(job) == [("failed", code), ("succeeded", None)]
    assert (submits(fal, prompt), len(fal.invoices(prompt))) == (2, 1)


def test_fal_is_down(own_gateway: Own) -> None:
    with LoopbackFal() as fal:
        gateway = own_gateway(**fal.env()).start()
        fal.go_away()
        job = check_failed(gateway, gateway.generate(body("down")), 503, "provider_unavailable")
        assert tries(job) == [UNAVAILABLE] * 3
        again = gateway.generate(body("back"), Prefer="respond-async").json()["jobId"]
        until("it was tried", lambda: UNAVAILABLE in tries(gateway.job(again)))
        fal.come_back()
        job = gateway.ended(again)
        check_charged(gateway, job)
        assert set(tries(job)[:-1]) == {UNAVAILABLE}
        assert [invoice.payload["prompt"] for invoice in fal.jobs] == ["back"]
        gateway.check_books()


def test_what_speaks_no_tls_was_sent_nothing(own_gateway: Own) -> None:
    with LoopbackFal() as fal:
        secure = fal.url.replace("http:", "https:")
        gateway = own_gateway(**(fal.env() | {"FAL_QUEUE_URL": secure})).start()
        job = check_failed(gateway, gateway.generate(body("tls")), 503, "provider_unavailable")
        assert tries(job) == [UNAVAILABLE] * 3
        assert (fal.requests, fal.jobs) == ([], [])
        gateway.check_books()


# -- it may have been taken: kept, and never sent again --------------------------------------

# what happens to the submit -> submits that fal read whole, jobs that it took of them
UNKNOWN = [
    ("500", 1, 1),
    ("500_fal", 1, 1),
    ("502", 1, 1),
    ("503", 1, 1),
    ("503_disconnected", 1, 1),
    ("504", 1, 1),
    ("504_request_timeout", 1, 1),
    ("html", 1, 0),  # with 200
    ("empty_object", 1, 0),
    ("reset_before_body", 0, 0),
    ("close_before_body", 0, 0),
    ("reset", 1, 1),
    ("lost", 1, 1),
    ("half", 1, 1),
]


@pytest.mark.parametrize(("kind", "read", "taken"), UNKNOWN, ids=[u[0] for u in UNKNOWN])
def test_what_may_have_been_taken_is_kept_and_never_sent_again(
    paid: GatewayProcess, fal: LoopbackFal, kind: str, read: int, taken: int
) -> None:
    prompt = f"unknown {kind}"
    fal.fail("submit", kind)
    answer = paid.generate(body(prompt))
    assert answer.status_code == 202, answer.text
    job = answer.json()
    check_unknown(paid, job)
    assert answer.headers["location"].endswith(job["jobId"])
    settled = f"/api/admin/jobs/{job['jobId']}"
    if taken:
        (invoice,) = fal.invoices(prompt)
        said = paid.http.post(f"{settled}/adopt", json={"requestId": invoice.id})
        assert said.status_code == 200, said.text
        check_charged(paid, paid.ended(job["jobId"]))
    else:
        said = paid.http.post(f"{settled}/fail", json={})
        assert (said.status_code, said.json()["error"]["code"]) == (200, "provider_not_taken"), said.text
        assert (said.json()["status"], said.json()["costMicros"]) == ("failed", 0)
        assert hold(paid, job["jobId"]) == ("released", None)
    assert (submits(fal, prompt), len(fal.invoices(prompt))) == (read, taken)


@pytest.mark.timeout(180)
def test_no_reply_at_all_is_unknown_after_a_minute(paid: GatewayProcess, fal: LoopbackFal) -> None:
    fal.fail("submit", "silent")
    job_id = paid.generate(body("silent"), Prefer="respond-async").json()["jobId"]
    until("we lose patience", lambda: paid.job(job_id)["status"] == "unknown", 90)
    check_unknown(paid, paid.job(job_id))
    (invoice,) = fal.invoices("silent")
    assert paid.http.post(f"/api/admin/jobs/{job_id}/adopt", json={"requestId": invoice.id}).is_success
    check_charged(paid, paid.ended(job_id))
    assert submits(fal, "silent") == 1


def test_unknown_jobs_outlive_a_kill_and_are_settled_from_the_command_line(own_gateway: Own) -> None:
    with LoopbackFal() as fal:
        gateway = own_gateway(**fal.env()).start()
        fal.fail("submit", "lost")
        taken = gateway.generate(body("taken")).json()["jobId"]
        fal.fail("submit", "reset_before_body")
        lost = gateway.generate(body("not taken")).json()["jobId"]
        gateway.kill()
        gateway.start()
        for job_id in (taken, lost):
            check_unknown(gateway, gateway.job(job_id))
        (invoice,) = fal.jobs

        adopted = command(gateway, "jobs", "adopt", taken, "--request-id", invoice.id)
        assert f"{taken} is completed, {PRICE} micro-dollars charged" in adopted
        assert f"{lost} is failed, 0 micro-dollars charged" in command(gateway, "jobs", "fail", lost)
        check_charged(gateway, gateway.job(taken))
        assert hold(gateway, lost) == ("released", None)
        assert (submits(fal, "taken"), submits(fal, "not taken"), len(fal.jobs)) == (1, 0, 1)
        gateway.check_books()


def command(gateway: GatewayProcess, *arguments: str) -> str:
    """What `gateway ...` says beside its answer; it must end well."""
    done = subprocess.run(
        [sys.executable, "-m", "gateway", *arguments],
        env=gateway.env,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr
