"""The benchmark of the engine still runs; its figures are nobody's test."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_the_engines_benchmark_runs() -> None:
    arguments = ["--rounds", "2", "--size", "64", "--steps", "2", "--levers", "channels_last"]
    done = subprocess.run(
        [sys.executable, "-m", "bench.engine", *arguments],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    assert "together" in done.stdout
    assert "channels_last" in done.stdout
