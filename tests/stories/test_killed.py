"""Processes die in the middle of work: the job ends, the books are right, the next one is served."""

import ctypes
import os
import signal
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from support.gateway_process import GatewayProcess, until

pytestmark = pytest.mark.slow

# Some seconds of work on one core.
LONG = {"inputs": {"prompt": "x", "size": "384x384", "steps": 50, "n": 2}}
SHORT = {"inputs": {"prompt": "x", "size": "64x64", "steps": 2}}


def start_long(gateway: GatewayProcess) -> str:
    """A job that the engine is at work on."""
    job_id = str(gateway.generate(LONG, Prefer="respond-async").json()["jobId"])
    until("the engine draws", lambda: ((gateway.job(job_id)["progress"] or {}).get("step") or 0) > 1)
    return job_id


def test_the_engine_killed_in_mid_job_runs_that_job_once_more(
    own_gateway: Callable[..., GatewayProcess],
) -> None:
    gateway = own_gateway().start()
    job_id = start_long(gateway)
    os.kill(gateway.engine_pid(), signal.SIGKILL)
    job = gateway.ended(job_id)
    assert job["status"] == "completed"
    lost, drawn = job["attempts"]
    assert (lost["status"], lost["error"]) == ("failed", "provider_lost_job")
    assert drawn["status"] == "succeeded"
    gateway.check_books()
    assert gateway.generate(SHORT).json()["status"] == "completed"


def test_the_gateway_killed_in_mid_job_ends_it_after_the_restart(
    own_gateway: Callable[..., GatewayProcess],
) -> None:
    gateway = own_gateway().start()
    job_id = start_long(gateway)
    gateway.kill()
    gateway.start()
    job = gateway.ended(job_id)
    assert job["status"] == "completed"
    assert len(job["images"]) == 2
    assert len(job["attempts"]) == 1  # resumed from the stored handle: the engine drew it once
    for image in job["images"]:
        assert gateway.http.get(image["url"]).status_code == 200
    gateway.check_books()


def test_gateway_and_engine_killed_together_run_the_job_once_more(
    own_gateway: Callable[..., GatewayProcess],
) -> None:
    gateway = own_gateway().start()
    job_id = start_long(gateway)
    engine = gateway.engine_pid()
    gateway.kill()
    os.kill(engine, signal.SIGKILL)
    gateway.start()
    job = gateway.ended(job_id, seconds=90)
    assert job["status"] == "completed"
    assert [a["status"] for a in job["attempts"]] == ["failed", "succeeded"]
    gateway.check_books()


def test_a_stop_leaves_nothing_running_and_the_next_start_ends_the_job(
    own_gateway: Callable[..., GatewayProcess],
) -> None:
    gateway = own_gateway().start()
    job_id = start_long(gateway)
    engine = gateway.engine_pid()
    assert gateway.stop() == 0
    with pytest.raises(ProcessLookupError):
        os.kill(engine, 0)
    gateway.check_books()
    gateway.start()
    assert gateway.ended(job_id, seconds=90)["status"] == "completed"
    gateway.check_books()


def test_a_stop_answers_who_waits(own_gateway: Callable[..., GatewayProcess]) -> None:
    gateway = own_gateway().start()
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(gateway.generate, LONG)
        until("the job is in", lambda: gateway.query("select 1 from job"))
        assert gateway.stop() == 0
        assert waiting.result().status_code == 202
    gateway.start()
    assert gateway.ended(waiting.result().json()["jobId"], seconds=90)["status"] == "completed"


@pytest.mark.skipif(sys.platform != "linux", reason="names a thread of another process")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_gateway_ends_whichever_of_its_threads_gets_the_signal(
    own_gateway: Callable[..., GatewayProcess], number: signal.Signals
) -> None:
    # The system chooses, and not the main one when the process was suspended as the signal came:
    # Ctrl-Z and `kill %1`, say.
    gateway = own_gateway().start()
    assert gateway.process is not None
    main = gateway.process.pid
    others = {int(path.name) for path in Path(f"/proc/{main}/task").iterdir()} - {main}
    assert ctypes.CDLL(None).tgkill(main, min(others), number) == 0
    assert gateway.process.wait(60) == 0
    assert not (gateway.data_dir / "operator.json").exists()


def has_images(gateway: GatewayProcess, least: int) -> bool:
    return bool(gateway.query("select count(*) from image") >= [(least,)])


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_twenty_kills_at_any_moment_lose_no_job(own_gateway: Callable[..., GatewayProcess]) -> None:
    gateway = own_gateway()
    accepted: list[str] = []
    for turn in range(20):
        gateway.start()
        for _ in range(3):
            accepted.append(gateway.generate(SHORT, Prefer="respond-async").json()["jobId"])
        # A moment that moves through the jobs' steps from turn to turn.
        until("some are done", partial(has_images, gateway, 3 * turn - 2 * (turn % 3)))
        gateway.kill()
    gateway.start()
    ended = [gateway.ended(job_id) for job_id in accepted]
    assert {job["status"] for job in ended} == {"completed"}
    gateway.check_books()
    assert len(gateway.query("select id from image")) == len(accepted) == 60
    assert gateway.query("select count(*) from hold where status = 'captured'") == [(60,)]
