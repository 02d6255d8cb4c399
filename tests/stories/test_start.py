"""A gateway that cannot serve says why, in one line, and does not start."""

import subprocess
import sys
from pathlib import Path

import pytest
from support.gateway_process import GatewayProcess, clean_environment

pytestmark = pytest.mark.slow


def serve(tmp_path: Path, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gateway", "serve"]
    given = clean_environment(GATEWAY_DATA_DIR=str(tmp_path / "data"), **env)
    return subprocess.run(command, env=given, capture_output=True, text=True, timeout=60, cwd=tmp_path)


def test_a_bad_registry_stops_the_start_with_its_line(tmp_path: Path) -> None:
    bad = tmp_path / "models.yaml"
    bad.write_text("providers: {}\nmodels:\n  a: {}\n  a: {}\n")
    ended = serve(tmp_path, GATEWAY_REGISTRY=str(bad))
    assert ended.returncode == 1
    assert f"{bad}:4: models.a: duplicate key 'a', first on line 3" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({"GATEWAY_HOST": "0.0.0.0", "GATEWAY_AUTH": "open"}, "GATEWAY_AUTH"),
        ({"GATEWAY_WORKERS": "2"}, "GATEWAY_WORKERS"),
        ({"GATEWAY_SYNC_WAIT": "5"}, "GATEWAY_SYNC_WAIT"),
        ({"GATEWAY_PORT": "eighty"}, "GATEWAY_PORT"),
        ({"GATEWAY_DATABASE_URL": "postgresql://x/y"}, "GATEWAY_SECRET"),
        ({"GATEWAY_DATABASE_URL": "mysql://x/y"}, "mysql"),
        ({"GATEWAY_STORAGE_URL": "ftp://bucket"}, "GATEWAY_STORAGE_URL"),
    ],
)
def test_a_bad_setting_stops_the_start(tmp_path: Path, env: dict[str, str], said: str) -> None:
    ended = serve(tmp_path, **env)
    assert ended.returncode == 1
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr


def test_two_gateways_never_share_a_folder(gateway: GatewayProcess) -> None:
    command = [sys.executable, "-m", "gateway", "serve"]
    ended = subprocess.run(
        command, env={**gateway.env, "GATEWAY_PORT": "1"}, capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 1
    assert "another gateway" in ended.stderr
    assert gateway.ready()


def test_a_taken_port_is_said(gateway: GatewayProcess, tmp_path: Path) -> None:
    ended = serve(tmp_path, GATEWAY_PORT=str(gateway.port))
    assert ended.returncode == 1
    assert str(gateway.port) in ended.stderr
    assert "Traceback" not in ended.stderr
