"""An operator looks after the gateway: what is old goes, nothing else does, and the doctor says how things stand."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from support.gateway_process import GatewayProcess, until
from support.loopback_fal import LoopbackFal
from support.scripted_provider import picture

from gateway.ambient import DAY_MS

pytestmark = pytest.mark.slow

Own = Callable[..., GatewayProcess]
NO_ENGINE = {"GATEWAY_ENGINE": "127.0.0.1:1"}
"""Nobody is there, and none is started."""


def paid(prompt: str) -> dict[str, object]:
    return {"model": "flux-dev", "inputs": {"prompt": prompt, "size": "128x128"}}


def store_of(gateway: GatewayProcess) -> Path:
    return gateway.data_dir / "store"


def age(gateway: GatewayProcess, days: int, *paths: Path) -> None:
    """Let days go by: in every row, and for files."""
    ms = days * DAY_MS
    gateway.execute("drop trigger if exists ledger_entry_no_update")
    for table, column, back in (
        ("job", "created_at", ms),
        ("job", "completed_at", ms),
        ("media", "created_at", ms),
        ("ledger_entry", "created_at", ms),
        ("usage_day", "day", days),
    ):
        gateway.execute(f"update {table} set {column} = {column} - {back}")
    for path in paths:
        os.utime(path, (path.stat().st_mtime - ms / 1000,) * 2)


def test_what_is_old_goes_at_a_start_and_nothing_else(own_gateway: Own, fal: LoopbackFal) -> None:
    gateway = own_gateway(**fal.env(), **NO_ENGINE, GATEWAY_IMAGE_DAYS="7", GATEWAY_UPLOAD_DAYS="7").start()
    old = gateway.generate(paid("old")).json()
    png = {"Content-Type": "image/png"}
    upload = gateway.http.post("/api/uploads", content=picture(), headers=png).json()["id"]
    orphan = store_of(gateway) / "images" / f"img_{'0' * 32}.png"
    stranger = store_of(gateway) / "images" / "holiday.png"
    for path in (orphan, stranger):
        path.write_bytes(b"x")
    assert gateway.stop() == 0
    age(gateway, 8, orphan, stranger)
    gateway.start()
    new = gateway.generate(paid("new")).json()
    until("what is old is gone", lambda: not orphan.exists())

    left = {path.name for path in store_of(gateway).rglob("*") if path.is_file()}
    assert left == {f"{new['images'][0]['id']}.png", "holiday.png"}
    job = gateway.job(old["jobId"])
    assert (job["status"], job["cost"], job["images"], job["imageUrl"]) == (
        "completed",
        old["cost"],
        [],
        None,
    )
    assert job["warnings"] == ["its pictures were removed: they are kept for 7 days"]
    answer = gateway.http.get(old["imageUrl"])
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert gateway.http.get(new["imageUrl"]).status_code == 200
    edit = {"model": "image-to-image", "inputs": {"prompt": "x", "image_url": upload}}
    refused = gateway.generate(edit)
    assert (refused.status_code, refused.json()["errors"][0]["code"]) == (422, "invalid_reference")
    gateway.check_books()
    assert "all is well" in gateway.done("doctor")


def test_the_doctor_beside_a_gateway_that_runs_and_without_one(own_gateway: Own, fal: LoopbackFal) -> None:
    gateway = own_gateway(**fal.env(), **NO_ENGINE).start()
    assert gateway.done("doctor").splitlines() == [
        "0 jobs",
        "0 pictures, 0 inputs, 0 files in the store",
        "all is well",
    ]
    job = gateway.generate(paid("a cat")).json()
    said = gateway.done("doctor").splitlines()
    assert said == ["1 job (1 completed)", "1 picture, 0 inputs, 1 file in the store", "all is well"]
    assert gateway.stop() == 0
    assert gateway.done("doctor").splitlines() == said

    (kept,) = (store_of(gateway) / "images").iterdir()
    moved = kept.rename(store_of(gateway) / "images" / f"img_{'0' * 32}.png")
    age(gateway, 2, moved)
    gateway.execute("update wallet set held_micros = 7")
    ended = gateway.command("doctor")
    assert ended.returncode == 1
    for words in (
        "missing_file",
        kept.name,
        "wallet_sum",
        "not well: 1 wallet_sum, 1 missing_file",
        "1 file that no row owns",
    ):
        assert words in ended.stdout
    found = json.loads(gateway.command("doctor", "--json").stdout)
    assert [finding["code"] for finding in found["findings"]] == ["wallet_sum", "missing_file"]
    assert (found["jobs"], found["orphans"]) == ({"completed": 1}, [f"images/{moved.name}"])
    assert found["findings"][1]["subject"] == f"images/{job['images'][0]['id']}.png"
    alone = json.loads(gateway.command("doctor", "--json", "--no-store").stdout)
    assert ([finding["code"] for finding in alone["findings"]], alone["files"]) == (["wallet_sum"], None)


def test_a_doctor_who_cannot_tell(own_gateway: Own, tmp_path: Path) -> None:
    gateway = own_gateway(**NO_ENGINE)
    ended = gateway.command("doctor")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "error: The database file cannot be read or written" in ended.stderr
    assert list(tmp_path.iterdir()) == []  # it makes nothing
    gateway.start().stop()
    away = gateway.command("doctor", GATEWAY_STORAGE_URL=(tmp_path / "none").as_uri())
    assert (away.returncode, away.stdout) == (2, "")
    assert "where pictures are kept, is not there" in away.stderr
    gateway.execute("drop table progress")
    gateway.execute("alter table job drop column delivery")
    older = gateway.command("doctor")
    assert (older.returncode, older.stdout) == (2, "")
    assert "cannot be read by this version" in older.stderr
