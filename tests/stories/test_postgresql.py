"""The same gateway on PostgreSQL, by its URL alone: jobs outlive it, and its database may go away for a while."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.gateway_process import GatewayProcess, until
from support.postgres import PostgresServer

pytestmark = pytest.mark.slow

LONG = {"inputs": {"prompt": "x", "size": "384x384", "steps": 50, "n": 2}}
SHORT = {"inputs": {"prompt": "x", "size": "64x64", "steps": 2}}


@pytest.fixture
def on_postgres(
    postgres: PostgresServer, own_gateway: Callable[..., GatewayProcess]
) -> Iterator[Callable[..., GatewayProcess]]:
    """Makes a gateway on an empty database."""
    with postgres.database(migrated=False) as url:
        yield lambda **env: own_gateway(GATEWAY_DATABASE_URL=url, GATEWAY_SECRET="s" * 32, **env)


def test_a_picture_and_a_job_that_outlives_the_gateway(on_postgres: Callable[..., GatewayProcess]) -> None:
    gateway = on_postgres().start()
    first = gateway.generate(SHORT).json()
    assert first["status"] == "completed"
    job_id = str(gateway.generate(LONG, Prefer="respond-async").json()["jobId"])
    until("the engine draws", lambda: ((gateway.job(job_id)["progress"] or {}).get("step") or 0) > 1)
    gateway.kill()
    gateway.start()
    job = gateway.ended(job_id)
    assert (job["status"], len(job["images"]), len(job["attempts"])) == ("completed", 2, 1)
    for image in (*first["images"], *job["images"]):
        assert gateway.http.get(image["url"]).status_code == 200
    gateway.check_books()
    assert not (gateway.data_dir / "gateway.db").exists()
    assert gateway.stop() == 0
    # Commands read the database themselves when nobody serves.
    listed = json.loads(gateway.done("jobs", "--json"))["jobs"]
    assert [one["jobId"] for one in listed] == [job_id, first["jobId"]]


def test_a_database_that_goes_away_and_comes_back(
    on_postgres: Callable[..., GatewayProcess], postgres: PostgresServer
) -> None:
    gateway = on_postgres().start()
    assert gateway.generate(SHORT).json()["status"] == "completed"
    job_id = str(gateway.generate(LONG, Prefer="respond-async").json()["jobId"])
    postgres.stop()
    try:
        assert gateway.http.get("/health/ready").status_code == 503
        refused = gateway.generate(SHORT)
        assert (refused.status_code, refused.json()["code"]) == (503, "database_unavailable")
        assert int(refused.headers["retry-after"]) > 0
        assert "postgres" not in refused.text
    finally:
        postgres.start()
    until("it is ready again", gateway.ready)
    # The job under way waited for its database.
    assert gateway.ended(job_id)["status"] == "completed"
    assert gateway.generate(SHORT).json()["status"] == "completed"
    assert len(gateway.query("select id from job")) == 3
    gateway.check_books()


def test_several_workers_serve_one_queue_of_jobs(on_postgres: Callable[..., GatewayProcess]) -> None:
    gateway = on_postgres(GATEWAY_WORKERS="2").start()
    with ThreadPoolExecutor(4) as callers:
        jobs = [answer.json() for answer in callers.map(gateway.generate, [SHORT] * 8)]
        assert [job["status"] for job in jobs] == ["completed"] * 8
        # Whichever worker is asked.
        seen = list(callers.map(gateway.job, [job["jobId"] for job in jobs] * 3))
    assert {job["status"] for job in seen} == {"completed"}
    assert len(gateway.query("select id from account")) == 1
    gateway.check_books()
    assert gateway.stop() == 0
