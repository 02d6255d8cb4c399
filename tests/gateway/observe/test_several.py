"""Several processes of one server count together, by real files and real processes."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from prometheus_client.metrics_core import Metric

from gateway.observe.several import FOLDER, Shared, prepare, shared

WORKER = """
import sys
from gateway.observe.metrics import Metrics

metrics = Metrics()
number = int(sys.argv[1])
for _ in range(number):
    metrics.request("GET", "/api/jobs/{job_id}", 200, 0.03)
    metrics.attempt("fal", "flux-dev", "succeeded", 2.0)
metrics.show_jobs(number, 200)
metrics.show_shut("fal", "", shut=number == 2)
metrics.show_findings(number)
print("counted", flush=True)
sys.stdin.readline()
"""


@contextmanager
def worker(env: dict[str, str], number: int) -> Iterator[subprocess.Popen[str]]:
    """A process that has counted so many requests, and lives."""
    process = subprocess.Popen(
        [sys.executable, "-c", WORKER, str(number)],
        env={**os.environ, **env}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "counted\n"
    yield process
    process.kill()
    process.wait(10)
    for pipe in (process.stdin, process.stdout):
        assert pipe is not None
        pipe.close()


def values(families: object) -> dict[str, float]:
    """Samples without the buckets, by name."""
    found: dict[str, float] = {}
    for family in families:  # type: ignore[attr-defined]  # of metrics
        assert isinstance(family, Metric)
        for sample in family.samples:
            if "le" not in sample.labels:
                found[sample.name] = sample.value
    return found


def test_what_each_counts_is_summed_and_what_the_dead_show_is_gone(tmp_path: Path) -> None:
    env: dict[str, str] = {}
    prepare(tmp_path, 2, env)
    together = shared(env)
    assert together is not None
    with worker(env, 3) as first:
        with worker(env, 2) as second:
            found = values(together.collect())
            assert found["gateway_http_requests_total"] == 5
            assert found["gateway_http_request_seconds_count"] == 5
            assert found["gateway_http_request_seconds_sum"] == pytest.approx(0.15)
            assert (found["gateway_jobs_driven"], found["gateway_jobs_at_once"]) == (5, 400)
            # One of them leaves it alone; the second looked at the books last.
            assert found["gateway_provider_shut"] == 1
            assert found["gateway_books_findings"] == 2
            assert together.alive() == {first.pid, second.pid}
            alone = values(Shared(tmp_path / FOLDER).usage())
            assert alone["process_resident_memory_bytes"] > 2 * 10_000_000
            assert alone["process_open_fds"] >= 2 * 3
        # It has died: what it did stays, what it was is no more.
        found = values(together.collect())
        assert found["gateway_http_requests_total"] == 5
        assert (found["gateway_jobs_driven"], found["gateway_jobs_at_once"]) == (3, 200)
        assert found["gateway_provider_shut"] == 0
        assert found["gateway_books_findings"] == 3
        assert together.alive() == {first.pid}


def test_a_start_begins_from_nothing(tmp_path: Path) -> None:
    env: dict[str, str] = {}
    prepare(tmp_path, 2, env)
    with worker(env, 1):
        assert Shared(tmp_path / FOLDER).processes()
    prepare(tmp_path, 3, env)
    assert Shared(tmp_path / FOLDER).processes() == set()
    # One alone needs none, whatever the environment says.
    prepare(tmp_path, 1, env)
    assert env == {}
    assert shared(env) is None
    assert not (tmp_path / FOLDER).exists()
