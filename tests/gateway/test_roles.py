"""What a process is for: a gateway, a front that leaves jobs to workers, or a worker."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from litestar import Litestar
from support.postgres import PostgresServer

from gateway.app import create_app
from gateway.guard import Guard
from gateway.lifespan import running
from gateway.roles import role_of, worker_settings
from gateway.server import engine_supervisor
from gateway.settings import Settings, SettingsError, load_settings

SERVER = {"GATEWAY_DATABASE_URL": "postgresql://me:hush@host/db", "GATEWAY_SECRET": "s" * 32}
PUBLIC = {"GATEWAY_PUBLIC_URL": "https://images.example.org"}
GENERATE = {"model": "embedded-mini", "inputs": {"prompt": "a cat"}}


def settings(**env: str) -> Settings:
    return load_settings({**SERVER, **env})


def test_who_serves_and_does_not_run_jobs_is_a_front() -> None:
    assert role_of(load_settings({})) == role_of(settings()) == "serve"
    assert role_of(settings(GATEWAY_RUN_JOBS="no")) == "front"


def test_a_file_s_one_process_cannot_leave_its_jobs_to_another() -> None:
    with pytest.raises(SettingsError, match=r"GATEWAY_RUN_JOBS=no .*GATEWAY_DATABASE_URL"):
        load_settings({"GATEWAY_RUN_JOBS": "no"})


def test_a_worker_needs_a_server_and_the_fronts_address() -> None:
    with pytest.raises(SettingsError, match=r"`gateway worker`.*GATEWAY_DATABASE_URL"):
        worker_settings(load_settings(PUBLIC))
    with pytest.raises(SettingsError, match="GATEWAY_PUBLIC_URL") as caught:
        worker_settings(settings())
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    ("env", "auth"),
    [
        (PUBLIC, "required"),
        ({**PUBLIC, "GATEWAY_AUTH": "open"}, "open"),
        ({"GATEWAY_PUBLIC_URL": "http://127.0.0.1:8000"}, "open"),
        ({"GATEWAY_PUBLIC_URL": "http://127.0.0.1:8000", "GATEWAY_AUTH": "required"}, "required"),
        ({**PUBLIC, "GATEWAY_HOST": "0.0.0.0"}, "required"),
    ],
)
def test_links_of_a_worker_are_signed_as_those_of_the_fronts_are(env: dict[str, str], auth: str) -> None:
    """Whoever may call the gateway is no matter of where its worker listens."""
    assert worker_settings(settings(**env)).auth == auth


def test_a_worker_runs_jobs_whatever_the_environment_of_all_says() -> None:
    shared = settings(GATEWAY_RUN_JOBS="no", **PUBLIC)
    assert engine_supervisor(shared) is None
    mine = worker_settings(shared)
    assert mine.run_jobs
    assert "GATEWAY_RUN_JOBS" not in mine.env
    assert engine_supervisor(mine) is not None
    assert engine_supervisor(worker_settings(settings(GATEWAY_ENGINE="none", **PUBLIC))) is None


@pytest.fixture
def database(postgres: PostgresServer) -> Iterator[dict[str, str]]:
    with postgres.empty_database() as url:
        yield {"GATEWAY_DATABASE_URL": url, "GATEWAY_SECRET": "s" * 32}


def client(app: Any) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=app)
    return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000")


def core(app: Any) -> Any:
    assert isinstance(app, Guard)
    assert isinstance(app.app, Litestar)
    return app.app.state.core


async def test_a_front_lets_in_what_a_worker_runs(database: dict[str, str], tmp_path: Path) -> None:
    env = {**database, "GATEWAY_STORAGE_URL": (tmp_path / "store").as_uri()}
    front = create_app(
        load_settings({**env, "GATEWAY_DATA_DIR": str(tmp_path / "a"), "GATEWAY_RUN_JOBS": "no"})
    )
    async with running(front), client(front) as http:
        assert core(front).role == "front"
        answer = await http.post("/api/images/generate", json=GENERATE, headers={"Prefer": "respond-async"})
        url = f"/api/jobs/{answer.json()['jobId']}"
        assert (answer.status_code, (await http.get(url)).json()["status"]) == (202, "queued")
        assert core(front).runner.running() == []

        # No engine is in its folder: it finds the job, and the job finds no engine.
        mine = load_settings({**env, "GATEWAY_DATA_DIR": str(tmp_path / "b"), **PUBLIC})
        worker = create_app(worker_settings(mine), role="worker")
        async with running(worker), client(worker) as other:
            found = core(worker)
            assert (found.role, found.runner.at_once) == ("worker", 200)
            assert (await other.get("/health/ready")).json() == {"status": "ok", "checks": {"database": "ok"}}
            assert {(await other.get(path)).status_code for path in ("/api/models", "/schema")} == {404}
            ended = await core(front).wait(answer.json()["jobId"], None, 60)
            assert (ended.status, ended.error_code) == ("failed", "provider_unavailable")
            found.drain()
            ready = await other.get("/health/ready")
            assert (ready.status_code, ready.json()["checks"]["process"]) == (503, "stopping")
