"""A real gateway as its user runs it: `gateway serve`, or `gateway worker`, in a process of its own."""

import contextlib
import itertools
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
from support.databases import wrong_in

__all__ = ["GatewayProcess", "until"]

START_S = 60


def until(what: str, condition: Any, seconds: float = 30) -> Any:
    """Ask until the answer is true; the test fails when it never is."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < deadline, f"never happened: {what}"
        time.sleep(0.02)


# Below what the system gives to outgoing connections: one of those could take a port between two starts of
# the gateway that listens there. Test processes begin at different ones.
_PORTS = itertools.cycle(range(10_240, 32_000))
for _ in range(os.getpid() * 61 % 21_000):
    next(_PORTS)


def free_port() -> int:
    """A port that nobody listens on now, and that no connection is given."""
    for port in _PORTS:
        with contextlib.suppress(OSError), socket.socket() as found:
            found.bind(("127.0.0.1", port))
            return port
    raise AssertionError("the ports never end")


def clean_environment(**more: str) -> dict[str, str]:
    """An environment without a setting or key of the machine that runs the tests."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    return {**kept, "HF_HUB_OFFLINE": "1", **more}


class GatewayProcess:
    """Starts, kills and stops a gateway on one data folder."""

    def __init__(self, data_dir: Path, **env: str) -> None:
        self.data_dir = data_dir
        self.store = data_dir / "store"
        """Where its pictures are files, if they are."""
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.env = clean_environment(GATEWAY_DATA_DIR=str(data_dir), GATEWAY_PORT=str(self.port), **env)
        self.log = data_dir.parent / f"{data_dir.name}.log"
        self.role = "serve"
        """Or `worker`."""
        self.process: subprocess.Popen[bytes] | None = None
        self.http = httpx.Client(base_url=self.url, timeout=60, trust_env=False)

    def start(self) -> "GatewayProcess":
        """Start it and wait until it is ready."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gateway", self.role],
                env=self.env,
                stdout=log,
                stderr=log,
                cwd=self.data_dir.parent,
                start_new_session=True,
            )
        until("the gateway is ready", self.ready, START_S)
        return self

    def ready(self) -> bool:
        """Whether it answers that it can serve."""
        assert self.process is not None
        assert self.process.poll() is None, f"it ended:\n{self.log.read_text()}"
        with contextlib.suppress(httpx.TransportError):
            return self.http.get("/health/ready").status_code == 200
        return False

    def kill(self) -> None:
        """SIGKILL to the server, as a crash would be: nothing is cleaned up."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)

    def stop(self) -> int:
        """SIGTERM; its exit code."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(60)

    def close(self) -> None:
        """End whatever is left of it."""
        self.http.close()
        if self.process is not None and self.process.poll() is None:
            self.stop()
        with contextlib.suppress(ProcessLookupError, FileNotFoundError):
            os.kill(self.engine_pid(), signal.SIGKILL)

    def engine_pid(self) -> int:
        """The engine's process."""
        return int(json.loads((self.data_dir / "engine.json").read_text())["pid"])

    def engine_ready(self) -> None:
        """Wait until an engine has said where it listens."""
        until("the engine listens", (self.data_dir / "engine.json").exists, START_S)

    # -- what a caller does --------------------------------------------------------------

    def generate(self, body: dict[str, Any], **headers: str) -> httpx.Response:
        """POST /api/images/generate."""
        return self.http.post("/api/images/generate", json=body, headers=headers)

    def job(self, job_id: str) -> dict[str, Any]:
        """GET /api/jobs/{id}."""
        answer = self.http.get(f"/api/jobs/{job_id}")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def ended(self, job_id: str, seconds: float = 60) -> dict[str, Any]:
        """The job, once it has ended."""

        def look() -> dict[str, Any] | None:
            job = self.job(job_id)
            return job if job["status"] in ("completed", "failed", "canceled") else None

        found: dict[str, Any] = until(f"{job_id} ends", look, seconds)
        return found

    def command(self, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run a command of `gateway` beside it, on the same data."""
        return subprocess.run(
            [sys.executable, "-m", "gateway", *arguments],
            env={**self.env, **env},
            capture_output=True,
            text=True,
            timeout=100,
        )

    def done(self, *arguments: str, **env: str) -> str:
        """What a command that goes well prints."""
        ended = self.command(*arguments, **env)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout.strip()

    # -- what must hold, read from the files themselves ------------------------------------

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Rows of the database, read beside the gateway."""
        url = self.env.get("GATEWAY_DATABASE_URL", "")
        if url.startswith("postgresql:"):
            import psycopg

            with psycopg.connect(url) as server:
                return server.execute(sql).fetchall()  # type: ignore[arg-type]  # not a literal
        with contextlib.closing(
            sqlite3.connect(f"file:{self.data_dir / 'gateway.db'}?mode=ro", uri=True)
        ) as db:
            return db.execute(sql).fetchall()

    def execute(self, sql: str) -> None:
        """Change the database of a gateway that does not run."""
        assert self.process is None or self.process.poll() is not None
        with contextlib.closing(sqlite3.connect(self.data_dir / "gateway.db")) as db, db:
            db.execute(sql)

    def change(self, sql: str) -> None:
        """Change the database of a gateway that does not run."""
        url = self.env.get("GATEWAY_DATABASE_URL", "")
        if url.startswith("postgresql:"):
            import psycopg

            with psycopg.connect(url) as server:
                server.execute(sql)  # type: ignore[call-overload]  # not a literal
            return
        with contextlib.closing(sqlite3.connect(self.data_dir / "gateway.db")) as db, db:
            db.execute(sql)

    def check_books(self) -> None:
        """Every rule of the books holds, each image row has its file."""
        url = self.env.get("GATEWAY_DATABASE_URL") or f"sqlite:///{self.data_dir / 'gateway.db'}"
        assert wrong_in(url, round(time.time() * 1000)) == []
        files = {path.name for path in (self.store / "images").glob("*")}
        rows = {key.removeprefix("images/") for (key,) in self.query("select storage_key from image")}
        assert rows <= files
