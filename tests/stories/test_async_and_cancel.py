"""Long work: an answer at once, progress on the way, an end when it is no longer wanted."""

import pytest
from support.gateway_process import GatewayProcess, until

pytestmark = pytest.mark.slow

LONG = {"inputs": {"prompt": "x", "size": "512x512", "steps": 50, "n": 4}}
SHORT = {"inputs": {"prompt": "x", "size": "64x64", "steps": 2}}


def test_respond_async_answers_202_with_the_jobs_address(gateway: GatewayProcess) -> None:
    answer = gateway.generate(SHORT, Prefer="respond-async")
    assert answer.status_code == 202
    assert answer.headers["location"].endswith(f"/api/jobs/{answer.json()['jobId']}")
    assert answer.json()["status"] in ("queued", "running")
    assert gateway.ended(answer.json()["jobId"])["status"] == "completed"


def test_progress_shows_and_cancel_ends_the_job_uncharged(gateway: GatewayProcess) -> None:
    job_id = gateway.generate(LONG, Prefer="wait=0").json()["jobId"]

    def steps() -> bool:
        progress = gateway.job(job_id)["progress"] or {}
        return 0 < (progress.get("step") or 0) < progress["steps"]

    until("steps are counted", steps)
    canceled = gateway.http.delete(f"/api/jobs/{job_id}").json()
    assert canceled["status"] == "canceled"
    assert canceled["costMicros"] == 0
    assert canceled["error"]["code"] == "canceled"
    gateway.check_books()
    assert gateway.http.delete(f"/api/jobs/{job_id}").json() == gateway.job(job_id)
    assert gateway.generate(SHORT).status_code == 200


def test_a_canceled_job_that_waits_in_line_never_runs(gateway: GatewayProcess) -> None:
    first = gateway.generate(LONG, Prefer="respond-async").json()["jobId"]
    second = gateway.generate(LONG, Prefer="respond-async").json()["jobId"]
    until("the second waits", lambda: (gateway.job(second)["progress"] or {}).get("phase") == "queued")
    assert gateway.http.delete(f"/api/jobs/{second}").json()["status"] == "canceled"
    assert gateway.http.delete(f"/api/jobs/{first}").json()["status"] == "canceled"
