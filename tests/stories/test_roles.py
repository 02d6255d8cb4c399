"""A gateway that lets jobs in, and workers that run them: whichever stops, nothing is lost or paid for twice."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.durability import check
from support.gateway_process import GatewayProcess, until
from support.loopback_fal import Job, LoopbackFal
from support.sse import read_events

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

LONG = {"model": "flux-dev", "inputs": {"prompt": "a fox", "size": "128x128"}}
LOCAL = {"model": "embedded-mini", "inputs": {"prompt": "a red square", "size": "64x64", "steps": 2}}
BILLBOARD = {"template": "billboard", "variables": {"headline": "Winter Sale", "background_style": "snowy"}}

Start = Callable[..., GatewayProcess]


@pytest.fixture
def fal() -> Iterator[LoopbackFal]:
    """It calls loopback addresses, and its jobs wait until a test ends them."""
    with LoopbackFal(queued=1_000_000) as server:
        server.caller.calls_loopback = True
        yield server
        assert server.violations == []


@pytest.fixture
def database_kind() -> str:
    return "postgresql"


@pytest.fixture
def start(fal: LoopbackFal, database_env: dict[str, str], tmp_path: Path) -> Iterator[Start]:
    """Starts the front first, and then workers, by name; each on a data folder of its own."""
    made: list[GatewayProcess] = []
    store = tmp_path / "store"
    shared = {**fal.env(), **database_env, "GATEWAY_STORAGE_URL": store.as_uri(), "FAL_WEBHOOKS": "on"}

    def run(name: str, **env: str) -> GatewayProcess:
        if made:
            env = {"GATEWAY_PUBLIC_URL": made[0].url, "GATEWAY_ENGINE": "none", **env}
        else:
            env = {"GATEWAY_RUN_JOBS": "no", **env}
        made.append(GatewayProcess(tmp_path / name, **{**shared, **env}))
        made[-1].role = "worker" if len(made) > 1 else "serve"
        made[-1].store = store
        return made[-1].start()

    yield run
    for running in reversed(made):
        running.close()


def post(front: GatewayProcess, body: dict[str, Any] = LONG) -> str:
    """A job that is let in, and nothing more."""
    answer = front.generate(body, Prefer="respond-async")
    assert answer.status_code == 202, answer.text
    return str(answer.json()["jobId"])


def owner(front: GatewayProcess, job_id: str) -> Any:
    return front.query(f"select owner from job where id = '{job_id}'")[0][0]


def accepted(front: GatewayProcess, *jobs: str) -> None:
    """Wait until fal has jobs, and we have its word."""
    for job_id in jobs:
        until(f"fal has {job_id}", lambda j=job_id: front.job(j)["attempts"][0]["status"] == "accepted")


def finish(fal: LoopbackFal, jobs: list[Job]) -> None:
    """End jobs at fal, whose calls the front answers."""
    assert {fal.finish(job) for job in jobs} == {204}


def test_what_a_front_lets_in_a_worker_runs(start: Start, fal: LoopbackFal) -> None:
    front = start("front")
    assert not (front.data_dir / "engine.json").exists()
    alone = post(front)
    assert (front.job(alone)["status"], owner(front, alone)) == ("queued", None)
    # Nobody ever drove it: it ends where its end is asked for.
    assert front.http.delete(f"/api/jobs/{alone}").json()["status"] == "canceled"

    one = start("one")
    with front.http.stream("GET", f"/api/jobs/{(first := post(front))}/events", timeout=120) as stream:
        told = read_events(stream.iter_lines())
        assert next(told).name == "status"
        accepted(front, first)
        assert "goes on here" not in one.log.read_text()  # it is no stranger's that was left
        finish(fal, fal.jobs)
        rest = list(told)
    assert rest[-1].name == "done"
    assert rest[-1].data["status"] == "completed"
    assert "image" in [event.name for event in rest]
    link = rest[-1].data["imageUrl"]
    assert link.startswith(front.url)
    assert front.http.get(link).status_code == 200

    second = post(front)
    accepted(front, second)
    assert front.http.delete(f"/api/jobs/{second}").json()["status"] == "canceled"
    assert fal.jobs[1].canceled

    fal.queued = 1  # from here on its jobs end by themselves
    waited = front.generate(LONG, Prefer="wait=60")
    assert (waited.status_code, waited.json()["status"]) == (200, "completed")
    run = front.http.post("/api/templates/billboard", json=BILLBOARD, headers={"Prefer": "wait=60"})
    assert (run.status_code, run.json()["status"]) == (200, "completed"), run.text
    assert {role for (role,) in front.query("select parent_id is not null from job")} == {True, False}

    # A worker has no API, no page, and no place for commands.
    assert {one.http.get(path).status_code for path in ("/api/models", "/schema", "/")} == {404}
    assert one.http.get("/health/live").json() == {"status": "ok", "checks": {"role": "worker"}}
    assert one.done("health").endswith("200 ok (database: ok)")
    assert front.done("health", "--live").endswith("/health/live: 200 ok")
    assert one.stop() == 0
    assert one.command("health").returncode == 1
    assert front.http.get("/health/ready").status_code == 200


def test_who_is_promoted_or_signs_up_at_a_front(start: Start, fal: LoopbackFal) -> None:
    fal.queued = 1
    front = start("front", GATEWAY_AUTH="required", GATEWAY_BATCH_WINDOW_S="86400")
    one = start("one", GATEWAY_AUTH="required")
    account = front.done("account", "create", "Norm", "--postpaid")
    key = front.done("keys", "create", account)
    headers = {"Authorization": f"Bearer {key}"}
    with httpx.Client(base_url=front.url, headers=headers, timeout=60, trust_env=False) as norm:
        job_id = norm.post("/api/images/generate", json=LONG).json()["jobId"]
        url = f"/api/jobs/{job_id}"
        assert norm.get(url).json()["status"] == "scheduled"
        front.done("account", "change", account, "--tier", "premium")
        until("it has ended", lambda: norm.get(url).json()["status"] == "completed", 60)
        link = norm.get(url).json()["imageUrl"]
    assert httpx.get(link, trust_env=False).status_code == 200

    person = {"email": "ann@example.org", "password": "correct horse battery"}
    assert httpx.post(f"{front.url}/api/auth/signup", json=person, trust_env=False).is_success
    mail = until("the worker mails it", lambda: next((one.data_dir / "mail").glob("*.eml"), None))
    assert front.url in mail.read_text()
    check(front, fal, [job_id])


def test_a_model_of_the_workers_engine(start: Start) -> None:
    front = start("front")
    one = start("one", GATEWAY_ENGINE="")
    one.engine_ready()
    answer = front.generate(LOCAL, Prefer="wait=120")
    assert (answer.status_code, answer.json()["status"]) == (200, "completed"), answer.text
    said = one.done("health", "--engine")
    assert re.search(r"0 running, 0 queued, embedded:mini on cpu", said), said
    assert not (front.data_dir / "engine.json").exists()


def test_workers_take_what_they_have_room_for_and_hand_it_over(start: Start, fal: LoopbackFal) -> None:
    front = start("front")
    one = start("one", GATEWAY_JOBS_AT_ONCE="2")
    jobs = [post(front), post(front)]
    accepted(front, *jobs)
    jobs.append(post(front))
    # It is looked for what nobody drives several times a second; in so long a time it would have been taken.
    until("the leases were renewed", lambda: _renewed(front, jobs[0]))
    assert (front.job(jobs[2])["status"], owner(front, jobs[2]), len(fal.jobs)) == ("queued", None, 2)
    finish(fal, fal.jobs[:1])
    accepted(front, jobs[2])
    assert front.ended(jobs[0])["status"] == "completed"

    jobs.append(post(front))
    first = owner(front, jobs[1])
    two = start("two")
    accepted(front, jobs[3])
    second = owner(front, jobs[3])
    assert owner(front, jobs[2]) == first != second

    # A stop hands over itself, and leaves nothing to a lease that runs out.
    assert one.stop() == 0
    assert first not in {owner(front, job_id) for job_id in jobs[1:]}
    until("the other has them", lambda: {owner(front, j) for j in jobs[1:]} == {second}, 30)
    assert "was left by another process" in two.log.read_text()

    # Of one that is gone they go to the next, when their leases have run out.
    two.kill()
    start("three")
    until("the third has them", lambda: {owner(front, j) for j in jobs[1:]}.isdisjoint({second, None}), 60)
    assert len(fal.jobs) == 4
    finish(fal, fal.jobs[1:])
    assert {front.ended(job_id)["status"] for job_id in jobs} == {"completed"}
    assert check(front, fal, jobs)["invoices"] == 4


_leases: dict[str, int] = {}


def _renewed(front: GatewayProcess, job_id: str) -> bool:
    """Whether a job's lease is not the one of the first look any more."""
    until_ms = front.query(f"select lease_until from job where id = '{job_id}'")[0][0]
    return bool(until_ms != _leases.setdefault(job_id, until_ms))
