"""A gateway's log is one JSON object a line, and tells which request and which job each line is of."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.gateway_process import GatewayProcess, clean_environment, until
from support.loopback_fal import LoopbackFal

Own = Callable[..., GatewayProcess]
NO_ENGINE = {"GATEWAY_ENGINE": "127.0.0.1:9"}
PROMPT = "a brass telescope that no line may tell of"
ASKED = {"model": "flux-dev", "inputs": {"prompt": PROMPT, "size": "128x128"}}


def lines(path: Path) -> list[dict[str, Any]]:
    """Every line of a log, each an object with the four fields that all have."""
    found = [json.loads(line) for line in path.read_text().split("\n") if line]
    assert [line for line in found if list(line)[:4] != ["time", "level", "logger", "event"]] == []
    return found


@pytest.fixture(scope="module")
def gateway(fal: LoopbackFal, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    folder = tmp_path_factory.mktemp("logged") / "data"
    running = GatewayProcess(folder, **fal.env(), **NO_ENGINE).start()
    yield running
    running.close()


def test_each_line_of_a_request_and_of_its_job_has_their_ids(gateway: GatewayProcess) -> None:
    answer = gateway.generate(ASKED)
    assert answer.status_code == 200, answer.text
    job_id, request_id = answer.json()["jobId"], answer.headers["x-request-id"]
    found = until("the request's line", lambda: [one for one in lines(gateway.log) if one.get("status")])
    (request,) = [one for one in found if one["request_id"] == request_id]
    assert {
        name: request[name] for name in ("logger", "level", "method", "route", "status", "account_id")
    } == {
        "logger": "gateway.requests",
        "level": "info",
        "method": "POST",
        "route": "/api/images/generate",
        "status": 200,
        "account_id": "acc_local_operator",
    }
    assert (request["event"], request["job_id"]) == ("POST /api/images/generate 200", job_id)
    assert request["ms"] > 0
    # What its job said, in a task of its own, its calls of the provider among it.
    of_job = [one for one in lines(gateway.log) if one.get("job_id") == job_id and one is not request]
    assert {one["request_id"] for one in of_job} == {request_id}
    called = [one for one in of_job if one["logger"] == "httpx"]
    assert len(called) >= 3
    assert {(one["attempt"], one["account_id"]) for one in called} == {(1, "acc_local_operator")}
    (ended,) = [one for one in of_job if one["logger"] == "gateway.jobs.drive"]
    assert "is completed: 1 pictures" in ended["event"]
    assert PROMPT not in gateway.log.read_text()


def test_a_refused_request_is_told_by_its_code_and_its_route(gateway: GatewayProcess) -> None:
    asked = [
        gateway.http.post("/api/images/generate", json={"model": "none", "inputs": {}}),
        gateway.http.get("/api/jobs/job_that_is_not_there"),
        gateway.http.get("/a/path/that/somebody/makes/up"),
        gateway.http.get("/api/models", headers={"host": "elsewhere.example.org"}),
        gateway.http.post("/webhooks/fal/a-secret-of-somebody", json={"request_id": "1", "status": "OK"}),
    ]
    ids = {answer.headers["x-request-id"]: answer for answer in asked}
    found = {one["request_id"]: one for one in lines(gateway.log) if one["logger"] == "gateway.requests"}
    told = [(found[i]["route"], found[i]["status"], found[i]["code"]) for i in ids]
    assert told == [
        ("/api/images/generate", 400, "unknown_model"),
        ("/api/jobs/{job_id}", 404, "not_found"),
        ("unmatched", 404, "not_found"),
        ("unmatched", 403, "foreign_host"),
        ("/webhooks/fal/{secret}", 404, "not_found"),
    ]
    log = gateway.log.read_text()
    assert [
        said for said in ("a-secret-of-somebody", "makes/up", "elsewhere.example.org") if said in log
    ] == []


def test_who_asks_whether_it_lives_is_not_told(gateway: GatewayProcess) -> None:
    assert gateway.http.get("/health/live").status_code == 200
    assert gateway.http.get("/api/intents").status_code == 200
    routes = {one.get("route") for one in lines(gateway.log)}
    assert "/api/intents" in routes
    assert [route for route in routes if route and route.startswith("/health")] == []


@pytest.mark.slow
def test_what_the_server_and_python_say_is_json_too(own_gateway: Own, fal: LoopbackFal) -> None:
    gateway = own_gateway(**fal.env(), **NO_ENGINE).start()
    assert gateway.process is not None
    children = subprocess.run(
        ["pgrep", "-P", str(gateway.process.pid)], capture_output=True, text=True, check=True
    ).stdout.split()
    for child in children:
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(child), signal.SIGKILL)
    said = until(
        "the server says so", lambda: [one for one in lines(gateway.log) if one["logger"] == "_granian"]
    )
    assert said[0]["level"] == "error"
    assert "Unexpected exit from worker-1" in said[0]["event"]


UNCAUGHT = """
import threading, warnings
from gateway.observe.logs import configure_logs
from gateway.settings import load_settings
configure_logs(load_settings())
warnings.warn("something is old")
thread = threading.Thread(target=lambda: 1 / 0, name="a thread")
thread.start(); thread.join()
try:
    {}["igw_abcdefghijkl_" + "Zz9" * 16]
except KeyError:
    raise RuntimeError("FAL_KEY is fal-key-of-somebody")
"""


@pytest.mark.parametrize("log_format", ["json", "auto"])
def test_errors_that_nobody_caught_are_a_line_each(tmp_path: Path, log_format: str) -> None:
    env = clean_environment(GATEWAY_LOG_FORMAT=log_format, FAL_KEY="fal-key-of-somebody")
    done = subprocess.run(
        [sys.executable, "-c", UNCAUGHT], env=env, capture_output=True, text=True, timeout=60, cwd=tmp_path
    )
    assert done.returncode == 1
    path = tmp_path / "log"
    path.write_text(done.stderr)
    warned, thread, error = lines(path)
    assert warned["logger"] == "py.warnings"
    assert "something is old" in warned["event"]
    assert (thread["level"], thread["event"]) == ("critical", "the thread a thread ended with an error")
    assert thread["exception"].endswith("ZeroDivisionError: division by zero")
    assert error["event"] == "an error that nobody caught"
    assert error["exception"].startswith("Traceback (most recent call last):\n")
    assert "RuntimeError: FAL_KEY is [redacted]" in error["exception"]
    assert "KeyError: 'igw_abcdefghijkl_[redacted]'" in error["exception"]


def test_a_person_reads_plain_lines(tmp_path: Path) -> None:
    code = """
import logging
from structlog.contextvars import bind_contextvars
from gateway.observe.logs import configure_logs
from gateway.settings import load_settings
configure_logs(load_settings())
bind_contextvars(request_id="req_1")
logging.getLogger("gateway.x").warning("the %s is away", "store", extra={"job_id": "job_1"})
"""
    env = clean_environment(GATEWAY_LOG_FORMAT="text")
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60)
    _, _, said = done.stderr.partition(" ")
    assert said == "WARNING gateway.x: the store is away request_id=req_1 job_id=job_1\n"


@pytest.mark.slow
def test_the_engines_log_is_json_and_a_commands_words_are_not(own_gateway: Own) -> None:
    gateway = own_gateway().start()
    gateway.engine_ready()
    assert gateway.generate({"model": "embedded-mini", "inputs": {"prompt": PROMPT}}).status_code == 200
    found = lines(gateway.data_dir / "engine.log")
    assert "the engine listens on" in found[0]["event"]
    assert PROMPT not in (gateway.data_dir / "engine.log").read_text()
    lines(gateway.log)
    assert gateway.done("models").startswith("model ")
    refused = gateway.command("generate", "x", "--model", "none")
    assert refused.stderr.startswith("error: No model is called 'none'")
