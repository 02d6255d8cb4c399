"""The benchmarks still run; their figures are nobody's test."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def run(name: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", f"bench.{name}", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_engines_benchmark_runs() -> None:
    said = run("engine", "--rounds", "2", "--size", "64", "--steps", "2", "--levers", "channels_last")
    assert "together" in said
    assert "channels_last" in said


@pytest.mark.slow
@pytest.mark.parametrize("more", [(), ("--postgresql",)])
def test_billings_benchmark_runs_on_rows_that_agree(more: tuple[str, ...]) -> None:
    said = run("billing", "--jobs", "2000", "--times", "1", "--rounds", "1", "--verify", *more)
    assert "usage by day and model" in said
    assert "admission" in said
    assert "verified: 0 findings" in said


def test_the_benchmark_of_being_watched_runs() -> None:
    said = run("observe", "--rounds", "1", "--times", "20")
    assert "spans of a job, off" in said
    assert "a line, json" in said
