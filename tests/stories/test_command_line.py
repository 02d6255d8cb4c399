"""`gateway generate "a red circle" -o out.png`, with a gateway running and without."""

import json
import os
import pty
import re
import select
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from support.gateway_process import GatewayProcess, clean_environment

pytestmark = pytest.mark.slow

COMMAND = [sys.executable, "-m", "gateway", "generate"]


def run(env: dict[str, str], cwd: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([*COMMAND, *arguments], env=env, cwd=cwd, capture_output=True, timeout=100)


def size_of(path: Path) -> tuple[int, int]:
    with Image.open(path) as picture:
        return picture.size


def test_an_image_through_the_running_gateway(gateway: GatewayProcess, tmp_path: Path) -> None:
    ended = run(gateway.env, tmp_path, "a red circle", "-o", "out.png", "--seed", "7", "--size", "128x64")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == b"out.png\n"
    assert b"embedded-mini" in ended.stderr
    assert size_of(tmp_path / "out.png") == (128, 64)


def test_json_is_the_job_and_nothing_else(gateway: GatewayProcess, tmp_path: Path) -> None:
    ended = run(gateway.env, tmp_path, "x", "-o", "a.png", "-n", "2", "-p", "size=64x64", "--json")
    job = json.loads(ended.stdout)
    assert gateway.job(job["jobId"])["images"] == job["images"]
    assert {p.name for p in tmp_path.glob("*.png")} == {"a-1.png", "a-2.png"}


def test_bytes_to_stdout(gateway: GatewayProcess, tmp_path: Path) -> None:
    ended = run(gateway.env, tmp_path, "x", "-o", "-", "--size", "64x64")
    assert ended.stdout.startswith(b"\x89PNG")


def test_faults_are_named_on_stderr_with_a_code(gateway: GatewayProcess, tmp_path: Path) -> None:
    wrong = run(gateway.env, tmp_path, "x", "--size", "9x9", "-p", "colour=red")
    assert wrong.returncode == 2
    assert wrong.stdout == b""
    assert b"/inputs/colour" in wrong.stderr
    missing = run(gateway.env, tmp_path, "x", "-m", "flux-dev")
    assert missing.returncode == 7
    assert b"FAL_KEY" in missing.stderr


def test_an_estimate(gateway: GatewayProcess, tmp_path: Path) -> None:
    ended = run(gateway.env, tmp_path, "x", "-m", "flux-dev", "--estimate")
    assert ended.stdout.startswith(b"0.03 USD with flux-dev")


def test_a_terminal_shows_a_progress_bar(gateway: GatewayProcess, tmp_path: Path) -> None:
    leader, follower = pty.openpty()
    env = {**gateway.env, "TERM": "xterm-256color", "COLUMNS": "100"}
    # Long enough for a look in between: some seconds.
    arguments = [*COMMAND, "x", "-o", "out.png", "-n", "4", "--steps", "50"]
    process = subprocess.Popen(arguments, env=env, cwd=tmp_path, stdout=follower, stderr=follower)
    os.close(follower)
    shown = b""
    while select.select([leader], [], [], 60)[0]:
        try:
            shown += os.read(leader, 65536)
        except OSError:  # the other end is closed
            break
    assert process.wait(60) == 0
    os.close(leader)
    assert re.search(rb"\d+/200", shown)


def test_without_a_gateway_it_opens_the_folder_itself(tmp_path: Path) -> None:
    env = clean_environment(GATEWAY_DATA_DIR=str(tmp_path / "data"), GATEWAY_PORT="1")
    ended = run(env, tmp_path, "a hill", "-o", "out.png", "--size", "64x64")
    assert ended.returncode == 0, ended.stderr
    assert size_of(tmp_path / "out.png") == (64, 64)
    assert b"no gateway runs here" in ended.stderr
    assert not (tmp_path / "data" / "engine.json").exists()
