"""A gateway that works is backed up and restored elsewhere: all is well there, and nothing is paid twice."""

import itertools
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.gateway_process import GatewayProcess, until
from support.loopback_fal import LoopbackFal
from support.postgres import PG_BIN, PostgresServer
from support.s3_server import S3Server, make_bucket

pytestmark = pytest.mark.slow

NO_ENGINE = {"GATEWAY_ENGINE": "127.0.0.1:1"}
"""Nobody is there, and none is started."""
SECRET = "s" * 32
NUMBERS = itertools.count()
LEDGER = "select id, ledger_account, amount_micros from ledger_entry"


def paid(prompt: str, number: int = 0) -> dict[str, object]:
    """A request whose picture is like that of no other number."""
    size = f"{128 + 8 * (number % 32)}x{128 + 8 * (number // 32)}"
    return {"model": "flux-dev", "inputs": {"prompt": prompt, "size": size}}


class Load:
    """Callers who ask for a picture as soon as they have the last one; `jobs` are those that they got."""

    def __init__(self, gateway: GatewayProcess, callers: int = 3) -> None:
        self._gateway = gateway
        self._numbers = itertools.count()
        self._stop = threading.Event()
        self.jobs: list[dict[str, Any]] = []
        self.refused: list[str] = []
        self._threads = [threading.Thread(target=self._call) for _ in range(callers)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _call(self) -> None:
        with httpx.Client(base_url=self._gateway.url, timeout=60, trust_env=False) as http:
            while not self._stop.is_set():
                number = next(self._numbers)
                answer = http.post("/api/images/generate", json=paid(f"picture {number}", number))
                if answer.status_code == 200:
                    self.jobs.append(answer.json())
                else:
                    self.refused.append(answer.text)


@pytest.fixture(params=["sqlite and a folder", "postgresql and a bucket"])
def places(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[str], dict[str, str]]]:
    """The settings of a place for a gateway, by its name: an empty database and an empty store."""
    with ExitStack() as stack:
        if request.param.startswith("sqlite"):
            yield lambda name: {}
            return
        postgres: PostgresServer = request.getfixturevalue("postgres")
        s3 = stack.enter_context(S3Server())

        def make(name: str) -> dict[str, str]:
            make_bucket(s3.env, name, {})
            url = stack.enter_context(postgres.database(migrated=False))
            return {
                **s3.env,
                "GATEWAY_DATABASE_URL": url,
                "GATEWAY_STORAGE_URL": f"s3://{name}/igw",
                "GATEWAY_PG_BIN": str(PG_BIN),
            }

        yield make


@contextmanager
def gateway_in(folder: Path, **env: str) -> Iterator[GatewayProcess]:
    gateway = GatewayProcess(folder, **env)
    try:
        yield gateway
    finally:
        gateway.close()


def restored_ones(there: GatewayProcess) -> dict[str, str]:
    return dict(there.query("select id, status from job"))


@pytest.mark.timeout(300)
def test_a_backup_under_load_is_restored_elsewhere(
    places: Callable[[str], dict[str, str]], tmp_path: Path, fal: LoopbackFal, figures: Callable[[str], None]
) -> None:
    folder = str(tmp_path / "backups")
    env = {**fal.env(), **NO_ENGINE, "GATEWAY_SECRET": SECRET}
    number = next(NUMBERS)
    with gateway_in(tmp_path / "data", **env, **places(f"source-{number}")) as gateway:
        gateway.start()
        # One that its provider has, and goes on having, while the backup is made.
        prompt = f"long {number}"
        fal.fail("job", "endless")
        long = str(gateway.generate(paid(prompt), Prefer="respond-async").json()["jobId"])
        until(
            "the long job's handle is kept",
            lambda: gateway.query(f"select 1 from attempt where job_id = '{long}' and handle is not null"),
        )
        with Load(gateway) as load:
            until("pictures are made", lambda: len(load.jobs) >= 5)
            before = list(load.jobs)
            begun = time.monotonic()
            first = json.loads(gateway.done("backup", folder, "--json"))
            took_s = time.monotonic() - begun
            during = len(load.jobs) - len(before)
            until("more are made", lambda: len(load.jobs) >= len(before) + during + 3)
        assert load.refused == []
        assert first["counts"]["pictures"] == first["copied"] >= len(before)
        assert (first["counts"]["missing"], first["counts"]["broken"], first["counts"]["removed"]) == (
            0,
            0,
            0,
        )
        assert during > 0
        source_ledger = set(gateway.query(LEDGER))
        pictures = {job["jobId"]: gateway.http.get(job["imageUrl"]).content for job in before}

        # The second takes what has come since, and nothing else.
        second = json.loads(gateway.done("backup", folder, "--json"))
        assert second["counts"]["pictures"] == len(load.jobs)
        assert second["copied"] == len(load.jobs) - first["copied"]

        assert "all is well" in gateway.done("doctor")
        gateway.kill()  # that machine is lost

        with gateway_in(tmp_path / "there", **env, **places(f"there-{number}")) as there:
            told = json.loads(there.done("restore", folder, "--backup", first["backup"], "--json"))
            assert told["doctor"]["findings"] == []
            assert "all is well" in there.done("doctor")
            # All that was acknowledged before is there; money is that of one moment.
            jobs = restored_ones(there)
            assert {job["jobId"] for job in before} <= {
                one for one, status in jobs.items() if status == "completed"
            }
            assert len(jobs) == first["counts"]["jobs"]
            assert set(there.query(LEDGER)) < source_ledger
            held = there.query("select held_micros from wallet where held_micros > 0")
            under_way = [
                one for one, status in jobs.items() if status not in ("completed", "failed", "canceled")
            ]
            assert held == [(30_000 * len(under_way),)]
            assert (told["restored"]["unknown"], told["restored"]["followed"]) == (
                len([one for one in under_way if jobs[one] == "unknown"]),
                len([one for one in under_way if jobs[one] != "unknown"]),
            )
            invoices = len(fal.jobs)
            there.start()
            for job_id, data in pictures.items():
                shown = there.job(job_id)
                assert there.http.get(shown["imageUrl"]).content == data
            # The long job is brought home here, and was paid once.
            (invoice,) = fal.invoices(prompt)
            fal.finish(invoice)
            assert there.ended(long)["status"] == "completed"
            until(
                "what could be followed has ended",
                lambda: (
                    {status for status in restored_ones(there).values()} <= {"completed", "failed", "unknown"}
                ),
            )
            assert (len(fal.jobs), len(fal.invoices(prompt))) == (invoices, 1)
            # An operator settles the others.
            for job_id in [one for one, status in restored_ones(there).items() if status == "unknown"]:
                there.done("jobs", "fail", job_id)
            assert there.query("select sum(held_micros) from wallet") == [(0,)]
            assert there.generate(paid("after the restore")).status_code == 200
            assert "all is well" in there.done("doctor")
            assert there.stop() == 0
    figures(
        f"{first['counts']['jobs']} jobs and {first['copied']} pictures in {took_s:.1f} s, {during} jobs done meanwhile; "
        f"{len(under_way)} under way, {told['restored']['unknown']} of them unknown"
    )


def test_a_move_to_another_machine_goes_on_where_it_was(tmp_path: Path, fal: LoopbackFal) -> None:
    """Stopped, backed up, restored: as a restart, with the same links."""
    folder, prompt = str(tmp_path / "backups"), f"moving {next(NUMBERS)}"
    env = {**fal.env(), **NO_ENGINE}
    with gateway_in(tmp_path / "data", **env) as gateway:
        gateway.start()
        before = gateway.generate(paid("before the move")).json()
        fal.fail("job", "endless")
        under_way = str(gateway.generate(paid(prompt), Prefer="respond-async").json()["jobId"])
        until(
            "its handle is kept",
            lambda: gateway.query(
                f"select 1 from attempt where job_id = '{under_way}' and handle is not null"
            ),
        )
        assert gateway.stop() == 0
        gateway.done("backup", folder)
        picture = (gateway.store / "images" / f"{before['images'][0]['id']}.png").read_bytes()
    fal.finish(fal.invoices(prompt)[0])
    with gateway_in(tmp_path / "there", **env) as there:
        there.done("restore", folder, "--resume", "--deliver")
        there.start()
        assert there.ended(under_way)["status"] == "completed"
        assert there.http.get(there.job(before["jobId"])["imageUrl"]).content == picture
        assert len(fal.invoices(prompt)) == 1
        there.check_books()
        assert there.stop() == 0
        assert (there.data_dir / "secret").read_bytes() == (tmp_path / "data" / "secret").read_bytes()


def test_a_backup_that_is_killed_leaves_none_and_the_next_goes_on(tmp_path: Path, fal: LoopbackFal) -> None:
    folder = tmp_path / "backups"
    with S3Server() as s3:
        bucket = f"killed-{next(NUMBERS)}"
        make_bucket(s3.env, bucket, {})
        env = {**fal.env(), **NO_ENGINE, **s3.env, "GATEWAY_STORAGE_URL": f"s3://{bucket}"}
        with gateway_in(tmp_path / "data", **env) as gateway:
            gateway.start()
            for number in range(4):
                assert gateway.generate(paid(f"kill {number}", number)).status_code == 200
            s3.go_away()
            with closing(silent_server(int(s3.env["AWS_ENDPOINT_URL"].rpartition(":")[2]))):
                # It has copied the database, and waits for the store.
                command = [sys.executable, "-m", "gateway", "backup", str(folder)]
                process = subprocess.Popen(command, env=gateway.env, stderr=subprocess.PIPE)
                until("the database is copied", lambda: list(folder.glob("unfinished-*/wanted.jsonl")))
                process.send_signal(signal.SIGKILL)
                process.communicate(timeout=20)
            s3.come_back()
            assert [path.name for path in folder.glob("2*")] == []
            refused = gateway.command("restore", str(folder), GATEWAY_DATA_DIR=str(tmp_path / "there"))
            assert "has no whole backup" in refused.stderr
            done = json.loads(gateway.done("backup", str(folder), "--json"))
            assert (done["copied"], list(folder.glob("unfinished-*"))) == (4, [])


def silent_server(port: int) -> Any:
    """Takes connections and says nothing."""
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind(("127.0.0.1", port))
    server.listen()
    return server
