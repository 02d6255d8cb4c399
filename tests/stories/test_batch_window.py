"""seeds/003's other half: a normal account's jobs wait for the next window, and run there as one group."""

import contextlib
import json
import sqlite3
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import httpx
import pytest
from support.gateway_process import GatewayProcess, until

SMALL = {"size": "64x64", "steps": 2}
FAR = {"GATEWAY_BATCH_WINDOW_S": "86400"}


Normal = Callable[[GatewayProcess], httpx.Client]


@pytest.fixture
def normal() -> Iterator[Normal]:
    """Makes a new normal account, and a client with its key."""
    made: list[httpx.Client] = []

    def make(gateway: GatewayProcess) -> httpx.Client:
        account = gateway.done("account", "create", "Norm", "--postpaid")
        key = gateway.done("keys", "create", account)
        headers = {"Authorization": f"Bearer {key}"}
        made.append(httpx.Client(base_url=gateway.url, headers=headers, timeout=60, trust_env=False))
        return made[-1]

    yield make
    for http in made:
        http.close()


@pytest.fixture
def gateways(own_gateway: Callable[..., GatewayProcess]) -> Iterator[Callable[..., GatewayProcess]]:
    """Gateways that ask for keys; their books are checked."""
    made: list[GatewayProcess] = []

    def make(**env: str) -> GatewayProcess:
        made.append(own_gateway(GATEWAY_AUTH="required", **env))
        return made[-1]

    yield make
    for gateway in made:
        gateway.check_books()


def ask(http: httpx.Client, prompt: str, **inputs: Any) -> dict[str, Any]:
    """A request that waits: the answer to it."""
    body = {"model": "embedded-mini", "inputs": {"prompt": prompt, **SMALL, **inputs}}
    answer = http.post("/api/images/generate", json=body)
    assert answer.status_code == 202, answer.text
    job: dict[str, Any] = answer.json()
    assert answer.headers["location"].endswith(f"/api/jobs/{job['jobId']}")
    assert int(answer.headers["retry-after"]) >= 1
    return job


def in_one_window(http: httpx.Client) -> list[dict[str, Any]]:
    """Two jobs of one shape and one of another, which all wait for the same window."""

    def try_it() -> list[dict[str, Any]] | None:
        jobs = [ask(http, "a red circle"), ask(http, "a blue square"), ask(http, "a cat", size="96x64")]
        if len({job["runsAt"] for job in jobs}) == 1:
            return jobs
        for job in jobs:
            http.delete(f"/api/jobs/{job['jobId']}")
        return None

    found: list[dict[str, Any]] = until("three jobs are let in within one window", try_it)
    return found


def ended(http: httpx.Client, job: dict[str, Any]) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        now: dict[str, Any] = http.get(f"/api/jobs/{job['jobId']}").json()
        return now if now["status"] in ("completed", "failed", "canceled") else None

    found: dict[str, Any] = until(f"{job['jobId']} ends", look, 90)
    return found


def status(http: httpx.Client, job: dict[str, Any]) -> str:
    return str(http.get(f"/api/jobs/{job['jobId']}").json()["status"])


def attempts(gateway: GatewayProcess, jobs: list[dict[str, Any]]) -> list[str]:
    names = ", ".join(f"'{job['jobId']}'" for job in jobs)
    return [found for (found,) in gateway.query(f"select id from attempt where job_id in ({names})")]


def shared_calls(gateway: GatewayProcess) -> list[set[str]]:
    """The attempts that the engine says it drew in one call of the pipeline, call by call."""
    log = (gateway.data_dir / "engine.log").read_text()
    lines = [json.loads(line)["event"] for line in log.splitlines() if line.startswith("{")]
    return [set(line.rpartition("share a call: ")[2].split(", ")) for line in lines if "share a call" in line]


@pytest.mark.slow
def test_two_jobs_join_the_window_and_run_as_one_group(
    gateways: Callable[..., GatewayProcess], normal: Normal
) -> None:
    gateway = gateways(GATEWAY_BATCH_WINDOW_S="3", GATEWAY_BATCH_DISCOUNT="50").start()
    http = normal(gateway)
    jobs = in_one_window(http)
    assert [job["status"] for job in jobs] == ["scheduled"] * 3
    assert [job["place"] for job in jobs] == [1, 2, 3]
    # The embedded model costs nothing, now or then.
    assert jobs[0]["schedule"] == {"costNow": 0, "costThen": 0}
    window = datetime.fromisoformat(jobs[0]["runsAt"])
    assert window.timestamp() % 3 == 0
    assert datetime.fromisoformat(jobs[0]["createdAt"]) < window

    done = [ended(http, job) for job in jobs]
    assert [job["status"] for job in done] == ["completed"] * 3
    assert [(job["runsAt"], job["place"]) for job in done] == [(jobs[0]["runsAt"], None)] * 3
    for job in done:
        assert job["attempts"][0]["startedAt"] < job["runsAt"] <= job["completedAt"]
        assert httpx.get(job["imageUrl"], trust_env=False).content.startswith(b"\x89PNG")
    # One batch for the two, one for the other; and the engine drew the two in one call.
    ms = int(window.timestamp() * 1000)
    rows = until(
        "both batches have ended",
        lambda: (
            gateway.query(
                f"select jobs, model from batch where window_at = {ms} and ended_at is not null order by jobs"
            )[1:]
            and gateway.query(f"select jobs, model from batch where window_at = {ms} order by jobs")
        ),
    )
    assert rows == [(1, "embedded-mini"), (2, "embedded-mini")]
    assert set(attempts(gateway, jobs[:2])) in shared_calls(gateway)
    assert not any(set(attempts(gateway, jobs[2:])) & call for call in shared_calls(gateway))


@pytest.mark.slow
def test_what_waits_is_told_and_can_be_taken_back(
    gateways: Callable[..., GatewayProcess], normal: Normal
) -> None:
    gateway = gateways(GATEWAY_BATCH_DISCOUNT="50", FAL_KEY="no-call-is-made", **FAR).start()
    http = normal(gateway)
    paid = {"model": "flux-dev", "inputs": {"prompt": "a fox", "size": "128x128"}}
    estimate = http.post("/api/images/estimate", json=paid).json()
    assert (estimate["cost"], estimate["schedule"]) == (0.015, {"costNow": 0.03, "costThen": 0.015})
    job = http.post("/api/images/generate", json=paid).json()
    assert (job["quote"]["cost"], job["schedule"]) == (0.015, {"costNow": 0.03, "costThen": 0.015})
    assert job["runsAt"] == estimate["runsAt"]
    assert http.get("/api/account").json()["balance"]["held"] == 0.015

    free = ask(http, "a red circle")
    listed = http.get("/api/jobs", params={"status": "scheduled"}).json()["jobs"]
    assert [(found["jobId"], found["place"]) for found in listed] == [(free["jobId"], 2), (job["jobId"], 1)]
    assert http.delete(f"/api/jobs/{job['jobId']}").json()["status"] == "canceled"
    assert http.get(f"/api/jobs/{free['jobId']}").json()["place"] == 1
    assert http.get("/api/account").json()["balance"]["held"] == 0

    now = http.post("/api/images/generate", json={**paid, "schedule": "now"})
    assert (now.status_code, now.json()["code"]) == (403, "premium_required")
    assert job["runsAt"] in now.json()["detail"]
    key = {"GATEWAY_API_KEY": http.headers["authorization"].split()[1], "GATEWAY_PUBLIC_URL": gateway.url}
    waits = gateway.command("generate", "x", "--size", "64x64", **key)
    assert (waits.returncode, f"runs at {job['runsAt']}, as number 2" in waits.stderr) == (8, True)
    # The operator's run at once, or in the window if that is said.
    waits = gateway.command("generate", "x", "--size", "64x64", "--schedule", "window")
    assert (waits.returncode, "waits for its turn" in waits.stderr) == (8, True)
    everybodys = json.loads(gateway.done("jobs", "--status", "scheduled", "--json"))["jobs"]
    assert len(everybodys) == 3


@pytest.mark.slow
def test_a_kill_while_jobs_wait_and_while_their_window_runs_loses_none(
    gateways: Callable[..., GatewayProcess], normal: Normal
) -> None:
    gateway = gateways(**FAR).start()
    http = normal(gateway)
    # Some seconds of work: two groups, and only one of them at once.
    waiting = [ask(http, f"number {n}", size="384x384", steps=50) for n in range(4)]
    gateway.kill()
    gateway.start()
    assert [status(http, job) for job in waiting] == ["scheduled"] * 4
    gateway.kill()
    # Its window comes while nobody runs.
    gateway.env["GATEWAY_BATCH_SIDE_BY_SIDE"] = "2"
    missed(gateway)
    gateway.start()
    until("the first group draws", lambda: [status(http, job) for job in waiting].count("running") == 2, 60)
    assert [status(http, job) for job in waiting].count("scheduled") == 2
    gateway.kill()
    gateway.start()
    done = [ended(http, job) for job in waiting]
    assert [job["status"] for job in done] == ["completed"] * 4
    assert [len(job["images"]) for job in done] == [1] * 4
    # Those that ran were adopted from the engine: nothing was drawn twice.
    assert [len(job["attempts"]) for job in done] == [1] * 4
    assert [jobs for (jobs,) in gateway.query("select jobs from batch")] == [2, 2]
    assert len(shared_calls(gateway)) == 2
    open_ones = "select count(*) from batch where ended_at is null"
    until("the batches are noted as ended", lambda: gateway.query(open_ones) == [(0,)], 60)


def missed(gateway: GatewayProcess) -> None:
    """Let the window of all that wait be past, in the file of a gateway that does not run."""
    with contextlib.closing(sqlite3.connect(gateway.data_dir / "gateway.db")) as db:
        db.execute("update job set runs_at = created_at where status = 'scheduled'")
        db.execute("update job set runs_at = (select min(runs_at) from job) where status = 'scheduled'")
        db.commit()
