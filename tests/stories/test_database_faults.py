"""The database is locked, or its disk is full: what can be served is, what cannot is told, nothing is half
done, and it goes on by itself.
"""

import contextlib
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import pytest
from support.gateway_process import GatewayProcess, until
from support.loopback_fal import LoopbackFal
from support.scripted_provider import picture

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

Own = Callable[..., GatewayProcess]
NO_ENGINE = {"GATEWAY_ENGINE": "127.0.0.1:1"}
"""Nobody is there, and none is started."""
PNG = {"Content-Type": "image/png"}


def send(gateway: GatewayProcess, prompt: str) -> httpx.Response:
    body = {"model": "flux-dev", "inputs": {"prompt": prompt, "size": "128x128"}}
    return gateway.generate(body, Prefer="respond-async")


def start_held(gateway: GatewayProcess, fal: LoopbackFal, prompt: str) -> str:
    """A job that runs at fal until fal is told to end it."""
    fal.fail("job", "endless")
    job_id = str(send(gateway, prompt).json()["jobId"])
    until("it runs", lambda: gateway.job(job_id)["status"] == "running")
    return job_id


def let_end(fal: LoopbackFal, prompt: str) -> None:
    for job in fal.invoices(prompt):
        job.finished = True


def readiness(gateway: GatewayProcess) -> tuple[int, str]:
    answer = gateway.http.get("/health/ready")
    return answer.status_code, answer.json()["checks"]["database"]


def check(gateway: GatewayProcess) -> None:
    gateway.check_books()
    assert "all is well" in gateway.done("doctor")


@contextmanager
def locked(gateway: GatewayProcess) -> Iterator[None]:
    """Another program holds the database for itself."""
    with closing(sqlite3.connect(gateway.data_dir / "gateway.db", timeout=30, isolation_level=None)) as other:
        other.execute("begin exclusive")
        yield
        other.execute("rollback")


def test_a_lock_of_four_seconds_is_waited_out(own_gateway: Own, fal: LoopbackFal) -> None:
    gateway = own_gateway(**fal.env(), **NO_ENGINE).start()
    held = start_held(gateway, fal, "four: held")
    with ThreadPoolExecutor(8) as pool:
        with locked(gateway):
            until_s = time.monotonic() + 4
            sent = [pool.submit(send, gateway, f"four: {number}") for number in range(7)]
            let_end(fal, "four: held")
            assert gateway.job(held)["status"] in ("running", "storing")  # reads are served meanwhile
            assert gateway.http.get("/health/live").status_code == 200
            time.sleep(max(0, until_s - time.monotonic()))
            assert not any(one.done() for one in sent)
        answers = [one.result() for one in sent]
    assert [answer.status_code for answer in answers] == [202] * 7
    ended = [gateway.ended(job_id) for job_id in (held, *(answer.json()["jobId"] for answer in answers))]
    assert {job["status"] for job in ended} == {"completed"}
    assert all(len(fal.invoices(f"four: {number}")) == 1 for number in range(7))
    check(gateway)


def test_a_lock_of_ten_seconds_is_told_and_nothing_is_half_done(own_gateway: Own, fal: LoopbackFal) -> None:
    gateway = own_gateway(**fal.env(), **NO_ENGINE).start()
    held = start_held(gateway, fal, "ten: held")
    calls = {
        "cancel": lambda: gateway.http.delete(f"/api/jobs/{held}"),
        "upload": lambda: gateway.http.post("/api/uploads", content=picture(), headers=PNG),
        "one": lambda: send(gateway, "ten: one"),
        "two": lambda: send(gateway, "ten: two"),
    }
    with ThreadPoolExecutor(len(calls)) as pool, locked(gateway):
        until_s = time.monotonic() + 10
        sent: dict[str, Future[httpx.Response]] = {name: pool.submit(call) for name, call in calls.items()}
        let_end(fal, "ten: held")
        answers = {name: one.result() for name, one in sent.items()}
        until("it says that it is not ready", lambda: readiness(gateway)[0] == 503)
        assert "takes no writes: The database is locked" in readiness(gateway)[1]
        time.sleep(max(0, until_s - time.monotonic()))
    for name, answer in answers.items():
        assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable"), name
        assert answer.headers["retry-after"] == "1"
        assert answer.json()["retryable"] is True
        assert "locked by another program" in answer.json()["detail"]
    # The job that ended meanwhile is brought home; of what was refused there is nothing.
    assert gateway.ended(held)["status"] == "completed"
    assert gateway.query("select count(*) from job") == [(1,)]
    assert gateway.query("select count(*) from media") == [(0,)]
    assert fal.invoices("ten: one") == fal.invoices("ten: two") == []
    until("it is ready again", lambda: readiness(gateway) == (200, "ok"))
    assert gateway.ended(send(gateway, "ten: after").json()["jobId"])["status"] == "completed"
    check(gateway)


# -- a full disk ------------------------------------------------------------------------------


class Disk:
    """A small disk for a data folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._filler = folder / "filler"

    def fill(self) -> None:
        """Take all the room that there is."""
        with self._filler.open("ab", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(b"x" * 4096)

    def make_room(self) -> None:
        self._filler.unlink()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """Mounted where `own_gateway` keeps its data."""
    folder = tmp_path / "data"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(folder)]
    if sys.platform != "linux":
        pytest.skip("a small disk is a tmpfs here, which Linux has")
    mounted = subprocess.run(command, capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {mounted.stderr.strip()}")
    yield Disk(folder)
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_is_told_and_got_over(disk: Disk, own_gateway: Own, fal: LoopbackFal) -> None:
    gateway = own_gateway(**fal.env(), **NO_ENGINE).start()
    before = gateway.ended(send(gateway, "full: before").json()["jobId"])
    held = start_held(gateway, fal, "full: held")
    disk.fill()
    answer = send(gateway, "full: one")
    assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable"), answer.text
    assert answer.headers["retry-after"] == "30"
    assert "The disk that holds the database is full" in answer.json()["detail"]
    upload = gateway.http.post("/api/uploads", content=picture(), headers=PNG)
    assert (upload.status_code, upload.json()["code"]) == (503, "storage_unavailable"), upload.text
    until("it says that it is not ready", lambda: readiness(gateway)[0] == 503)
    assert "The disk that holds the database is full" in readiness(gateway)[1]
    let_end(fal, "full: held")
    line = f"job {held}: a picture is not stored yet"
    until("the picture cannot be stored", lambda: line in gateway.log.read_text())
    # What is there is served.
    assert gateway.job(held)["status"] == "storing"
    assert gateway.http.get(before["imageUrl"]).status_code == 200

    disk.make_room()
    until("it is ready again", lambda: readiness(gateway) == (200, "ok"))
    assert gateway.ended(held, seconds=90)["status"] == "completed"
    assert gateway.ended(send(gateway, "full: after").json()["jobId"])["status"] == "completed"
    assert gateway.http.post("/api/uploads", content=picture(), headers=PNG).status_code == 201
    assert gateway.query("select count(*) from job") == [(3,)]
    assert fal.invoices("full: one") == []
    assert list((gateway.data_dir / "tmp").iterdir()) == []
    check(gateway)


@pytest.mark.parametrize("pictures", ["on the same disk", "elsewhere"])
def test_a_disk_that_fills_up_again_and_again_loses_and_doubles_nothing(
    disk: Disk, own_gateway: Own, fal: LoopbackFal, tmp_path: Path, pictures: str
) -> None:
    store = disk.folder / "store" if pictures == "on the same disk" else tmp_path / "pictures"
    gateway = own_gateway(**fal.env(), **NO_ENGINE, GATEWAY_STORAGE_URL=store.as_uri()).start()
    answers: dict[str, httpx.Response] = {}

    def ask() -> int:
        name = f"{pictures}: {len(answers)}"
        answers[name] = send(gateway, name)
        return answers[name].status_code

    for _ in range(3):
        # Jobs at every step of their lives when the disk is full, and some that come then.
        assert [ask() for _ in range(4)] == [202] * 4
        disk.fill()
        while ask() != 503:
            assert len(answers) < 500
        time.sleep(1)
        disk.make_room()
        until("it is ready again", lambda: readiness(gateway) == (200, "ok"))
    taken = {name: answer.json()["jobId"] for name, answer in answers.items() if answer.status_code == 202}
    assert {answer.status_code for answer in answers.values()} == {202, 503}
    ended = {name: gateway.ended(job_id, seconds=120) for name, job_id in taken.items()}
    assert {job["status"] for job in ended.values()} == {"completed"}
    assert {name: len(fal.invoices(name)) for name in answers} == {
        name: int(name in taken) for name in answers
    }
    assert gateway.query("select count(*) from job") == [(len(taken),)]
    waited = "a picture is not stored yet" if store.is_relative_to(disk.folder) else "the database is away"
    assert waited in gateway.log.read_text()
    files = {path.name for path in (store / "images").iterdir()}
    assert files == {f"{job['images'][0]['id']}.png" for job in ended.values()}
    assert "all is well" in gateway.done("doctor")
    assert gateway.stop() == 0
    assert gateway.query("pragma integrity_check") == [("ok",)]
