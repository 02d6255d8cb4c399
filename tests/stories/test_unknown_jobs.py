"""A job that nobody knows about is shown, and the operator settles it from the command line."""

import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.gateway_process import GatewayProcess

SHORT = {"inputs": {"prompt": "x", "size": "64x64", "steps": 2}}


def jobs(gateway: GatewayProcess, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gateway", "jobs", *arguments]
    return subprocess.run(command, env=gateway.env, capture_output=True, text=True, timeout=100)


def make_unknown(data_dir: Path, job_id: str) -> None:
    """What the books look like after a submit without an answer, on a stopped gateway."""
    with sqlite3.connect(data_dir / "gateway.db") as db:
        db.execute("update job set status = 'unknown' where id = ?", (job_id,))
        db.execute("update attempt set status = 'unknown', handle = null where job_id = ?", (job_id,))
    db.close()


@pytest.mark.slow
def test_the_operator_lists_and_fails_an_unknown_job(own_gateway: Callable[..., GatewayProcess]) -> None:
    gateway = own_gateway().start()
    long = {"inputs": {"prompt": "x", "size": "512x512", "steps": 50, "n": 4}}
    job_id = gateway.generate(long, Prefer="respond-async").json()["jobId"]
    gateway.stop()
    make_unknown(gateway.data_dir, job_id)

    # Nobody runs: the list reads the file, and resumes nothing.
    listed = jobs(gateway, "--status", "unknown", "--json")
    assert [job["jobId"] for job in json.loads(listed.stdout)["jobs"]] == [job_id]
    assert gateway.query("select status from hold") == [("open",)]

    gateway.start()
    assert job_id in jobs(gateway, "--status", "unknown").stdout
    assert gateway.job(job_id)["status"] == "unknown"
    ended = jobs(gateway, "fail", job_id)
    assert ended.returncode == 0, ended.stderr
    assert f"{job_id} is failed" in ended.stderr
    job = gateway.job(job_id)
    assert (job["status"], job["costMicros"], job["error"]["code"]) == ("failed", 0, "provider_not_taken")
    again = jobs(gateway, "fail", job_id)
    assert again.returncode == 2
    assert "job_not_unknown" in again.stderr
    gateway.check_books()


@pytest.mark.slow
def test_the_operator_adopts_a_job_that_was_taken(own_gateway: Callable[..., GatewayProcess]) -> None:
    gateway = own_gateway().start()
    job_id = gateway.generate(SHORT, Prefer="respond-async").json()["jobId"]
    gateway.ended(job_id)
    (attempt_id,) = gateway.query("select id from attempt")[0]
    # The engine keeps an ended job for an hour: a second job is said to be that one.
    second = gateway.generate(
        {"inputs": {"prompt": "x", "size": "512x512", "steps": 50}}, Prefer="respond-async"
    )
    second_id = second.json()["jobId"]
    engine = gateway.engine_pid()
    gateway.kill()
    make_unknown(gateway.data_dir, second_id)
    gateway.start()
    assert gateway.engine_pid() == engine
    ended = jobs(gateway, "adopt", second_id, "--request-id", attempt_id)
    assert ended.returncode == 0, ended.stderr
    assert "is completed" in ended.stderr
    assert gateway.job(second_id)["images"][0]["width"] == 64
    gateway.check_books()
