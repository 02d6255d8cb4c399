"""`gateway health`: what a container's health check asks, and what it is told."""

import asyncio
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
from click.testing import CliRunner

from gateway.cli.root import cli
from gateway.settings import SettingsError
from providers.diffusers_modal.address import EngineAddress, write_address
from providers.diffusers_modal.engine import Engine
from providers.diffusers_modal.server import EngineServer

TOKEN = "t0ken"


class Answers(BaseHTTPRequestHandler):
    """Says of itself what a test wants it to."""

    said: ClassVar[tuple[int, bytes]] = (200, b"")
    asked: ClassVar[list[tuple[str, str | None]]] = []

    def do_GET(self) -> None:
        self.asked.append((self.path, self.headers["Host"]))
        status, body = self.said
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@pytest.fixture
def process() -> Iterator[int]:
    """Something that answers as a gateway does, by its port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    Answers.asked.clear()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


def health(*arguments: str, **env: str) -> tuple[int, str]:
    result = CliRunner().invoke(cli, ["health", *arguments], env=env)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.stderr == ""
    assert result.stdout.count("\n") == 1
    return result.exit_code, result.stdout.strip()


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_a_process_that_is_well(process: int, host: str) -> None:
    Answers.said = 200, b'{"status":"ok","checks":{"database":"ok"}}'
    code, line = health(GATEWAY_PORT=str(process), GATEWAY_HOST=host)
    assert (code, line) == (0, f"http://127.0.0.1:{process}/health/ready: 200 ok (database: ok)")
    assert health("--live", GATEWAY_PORT=str(process))[0] == 0
    # By a name that every gateway answers to, also one that was told its own.
    assert Answers.asked == [("/health/ready", "localhost"), ("/health/live", "localhost")]


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (
            503,
            b'{"status":"unavailable","checks":{"database":"does not answer"}}',
            "503 unavailable (database: does not answer)",
        ),
        (500, b"<html>", "500"),
        (404, b'{"code":"not_found"}', "404"),
    ],
)
def test_one_that_is_not(process: int, status: int, body: bytes, told: str) -> None:
    Answers.said = status, body
    code, line = health(GATEWAY_PORT=str(process))
    assert (code, line) == (1, f"http://127.0.0.1:{process}/health/ready: {told}")


def test_one_that_is_not_there() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        code, line = health(GATEWAY_PORT=str(port))
    assert code == 1
    assert line.startswith(f"http://127.0.0.1:{port} does not answer: ConnectionRefusedError")


@pytest.fixture
def engine() -> Iterator[int]:
    """An engine that never had a job, by its port."""
    loop = asyncio.new_event_loop()
    server = EngineServer(Engine(), TOKEN, version="1")
    port = loop.run_until_complete(server.start("127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield port
    asyncio.run_coroutine_threadsafe(server.close(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def test_an_engine(engine: int, tmp_path: Path) -> None:
    well = (0, f"the engine at 127.0.0.1:{engine}: 0 running, 0 queued, no model yet on ?")
    where = {"GATEWAY_ENGINE": f"127.0.0.1:{engine}", "GATEWAY_DATA_DIR": str(tmp_path)}
    assert health("--engine", GATEWAY_ENGINE_TOKEN=TOKEN, **where) == well
    wrong = (1, f"the engine at 127.0.0.1:{engine} does not answer")
    assert health("--engine", GATEWAY_ENGINE_TOKEN="another", **where) == wrong

    here = {"GATEWAY_DATA_DIR": str(tmp_path)}
    code, line = health("--engine", **here)
    assert (code, line.startswith("no engine is here")) == (1, True)
    # It listens everywhere, and is asked on this machine.
    write_address(tmp_path, EngineAddress(host="0.0.0.0", port=engine, token=TOKEN))
    assert health("--engine", **here) == well
    assert health("--engine", GATEWAY_ENGINE="none", **here) == well
    elsewhere = {"GATEWAY_ENGINE": "127.0.0.1:9", "GATEWAY_ENGINE_TOKEN": TOKEN}
    assert health("--engine", "--data-dir", str(tmp_path), **elsewhere) == well
    assert health("--engine", **here, **elsewhere)[0] == 1


def test_it_takes_little_time() -> None:
    """A container runs it every few seconds: it brings none of what serves and stores."""
    script = (
        "import sys; sys.argv = ['gateway', 'health']\n"
        "from gateway.cli import main\n"
        "try: main()\n"
        "finally: print({'sqlalchemy', 'litestar', 'httpx', 'torch'} & sys.modules.keys())"
    )
    env = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}
    done = subprocess.run(
        [sys.executable, "-c", script], env={**env, "GATEWAY_PORT": "1"}, capture_output=True, text=True
    )
    line, modules = done.stdout.splitlines()
    assert (done.returncode, done.stderr, modules) == (1, "", "set()")
    assert "does not answer" in line


def test_alone_it_says_what_is_wrong_too() -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}
    for wrong in ({"GATEWAY_PORT": "none"}, {"GATEWAY_COLOUR": "red"}):
        done = subprocess.run(
            [sys.executable, "-m", "gateway", "health"], env={**env, **wrong}, capture_output=True, text=True
        )
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith("error: ")
        assert next(iter(wrong)) in done.stderr
        assert "Traceback" not in done.stderr


def test_a_setting_that_is_none() -> None:
    with pytest.raises(SettingsError, match="GATEWAY_ENGINE"):
        health("--engine", GATEWAY_ENGINE="gpu")
