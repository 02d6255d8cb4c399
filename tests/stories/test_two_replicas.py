"""Two gateways on one PostgreSQL database and one store: either goes on where the other stops."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.durability import check
from support.gateway_process import GatewayProcess, until
from support.loopback_fal import LoopbackFal
from support.sse import read_events

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

LONG = {"model": "flux-dev", "inputs": {"prompt": "a fox", "size": "128x128"}}


@pytest.fixture
def fal() -> Iterator[LoopbackFal]:
    """Its jobs wait until a test ends them."""
    with LoopbackFal(queued=1_000_000) as server:
        yield server


@pytest.fixture
def database_kind() -> str:
    return "postgresql"


Replica = Callable[[str], GatewayProcess]


@pytest.fixture
def replica(fal: LoopbackFal, database_env: dict[str, str], tmp_path: Path) -> Iterator[Replica]:
    """Starts a gateway of that name."""
    started: list[GatewayProcess] = []
    store = (tmp_path / "a" / "store").as_uri()

    def start(name: str) -> GatewayProcess:
        env = {**fal.env(), **database_env, "GATEWAY_STORAGE_URL": store, "GATEWAY_ENGINE": "127.0.0.1:9"}
        started.append(GatewayProcess(tmp_path / name, **env))
        started[-1].store = tmp_path / "a" / "store"
        return started[-1].start()

    yield start
    for running in started:
        assert running.process is not None
        if running.process.poll() is None:
            signal_all(running, signal.SIGCONT)
        running.close()


def signal_all(gateway: GatewayProcess, number: signal.Signals) -> None:
    """To the server and its workers."""
    assert gateway.process is not None
    os.killpg(gateway.process.pid, number)


def taken_by_fal(gateway: GatewayProcess, fal: LoopbackFal) -> str:
    """A job of that gateway's that waits at fal."""
    job_id = str(gateway.generate(LONG, Prefer="respond-async").json()["jobId"])
    until("it has its handle", lambda: gateway.job(job_id)["attempts"][0]["status"] == "accepted")
    return job_id


def owner(gateway: GatewayProcess, job_id: str) -> Any:
    return gateway.query(f"select owner from job where id = '{job_id}'")[0][0]


def test_one_is_held_up_for_longer_than_its_lease(replica: Replica, fal: LoopbackFal) -> None:
    one, two = replica("a"), replica("b")
    job_id = taken_by_fal(one, fal)
    former = owner(two, job_id)
    with two.http.stream("GET", f"/api/jobs/{job_id}/events", timeout=120) as stream:
        told = read_events(stream.iter_lines())
        assert next(told).name == "status"
        signal_all(one, signal.SIGSTOP)
        until("the other adopts it", lambda: owner(two, job_id) not in (None, former), 60)
        fal.finish(fal.jobs[0])
        rest = list(told)
    assert rest[-1].name == "done"
    assert rest[-1].data["status"] == "completed"
    assert "image" in [event.name for event in rest]
    before = two.job(job_id)

    signal_all(one, signal.SIGCONT)
    until("it notices", lambda: "too late" in one.log.read_text(), 60)
    assert one.job(job_id)["completedAt"] == before["completedAt"]
    assert one.http.get(before["imageUrl"].replace(two.url, one.url)).status_code == 200
    figures = check(one, fal, [job_id])
    assert (figures["completed"], figures["invoices"]) == (1, 1)


def test_a_stop_hands_the_jobs_over_at_once(replica: Replica, fal: LoopbackFal) -> None:
    one, two = replica("a"), replica("b")
    jobs = [taken_by_fal(one, fal) for _ in range(3)]
    former = owner(two, jobs[0])
    assert one.stop() == 0
    # Sooner than any lease of theirs could have run out, were it not for the machine: the log says why they moved.
    for job_id in jobs:
        until("the other has it", lambda j=job_id: owner(two, j) not in (None, former), 30)
    for job in fal.jobs:
        fal.finish(job)
    assert {two.ended(job_id)["status"] for job_id in jobs} == {"completed"}
    assert check(two, fal, jobs)["invoices"] == 3


def test_a_cancel_and_a_wait_reach_the_other(replica: Replica, fal: LoopbackFal) -> None:
    one, two = replica("a"), replica("b")
    job_id = taken_by_fal(one, fal)
    canceled = two.http.delete(f"/api/jobs/{job_id}").json()
    assert canceled["status"] == "canceled"
    assert fal.jobs[0].canceled

    key = {"Idempotency-Key": "k1"}
    first = one.generate(LONG, Prefer="respond-async", **key)
    until("it is at fal", lambda: len(fal.jobs) == 2)
    fal.finish(fal.jobs[1])
    again = two.generate(LONG, Prefer="wait=30", **key)
    assert (again.status_code, again.headers["idempotent-replayed"]) == (200, "true")
    assert again.json()["jobId"] == first.json()["jobId"]
    check(two, fal, [job_id, first.json()["jobId"]])
