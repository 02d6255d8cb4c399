"""`gateway backup` and `gateway restore` as they are typed: what they print, and with what they end."""

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from support.databases import copy_of
from support.gateway_process import clean_environment


@pytest.fixture
def env(tmp_path: Path, migrated_file: Path) -> dict[str, str]:
    """The settings of a gateway that has a database and a store, without anything in them."""
    (tmp_path / "data" / "store").mkdir(parents=True)
    copy_of(migrated_file, tmp_path / "data" / "gateway.db")
    return clean_environment(GATEWAY_DATA_DIR=str(tmp_path / "data"))


def run(env: dict[str, str], *arguments: str, most: int | None = None) -> subprocess.CompletedProcess[str]:
    """A command; `most`: no file that it writes may have more bytes, as on a disk that is full."""

    def limit() -> None:
        assert most is not None
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))

    return subprocess.run(
        [sys.executable, "-m", "gateway", *arguments],
        env=env,
        capture_output=True,
        text=True,
        timeout=100,
        preexec_fn=None if most is None else limit,
    )


@pytest.mark.slow
def test_made_checked_and_restored(env: dict[str, str], tmp_path: Path) -> None:
    folder = str(tmp_path / "backups")
    made = run(env, "backup", folder, "--json")
    assert (made.returncode, made.stderr) == (0, "")
    first = json.loads(made.stdout)
    assert (first["counts"]["jobs"], first["copied"], first["pruned"]) == (0, 0, [])
    told = run(env, "backup", folder, "--keep", "1")
    assert told.returncode == 0, told.stderr
    assert f"removed: {first['backup']}" in told.stdout

    checked = run(env, "restore", folder, "--check")
    assert (checked.returncode, "is whole: 0 files of the store" in checked.stdout) == (0, True)
    there = {**env, "GATEWAY_DATA_DIR": str(tmp_path / "there")}
    done = run(there, "restore", folder, "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert (answer["doctor"]["findings"], answer["restored"]["unknown"]) == ([], 0)
    again = run(there, "restore", folder)
    assert again.returncode == 1
    assert again.stderr.startswith(f"error: {tmp_path / 'there' / 'gateway.db'} is there already")
    other = run({**env, "GATEWAY_DATA_DIR": str(tmp_path / "third")}, "restore", folder)
    assert other.returncode == 0
    assert "all is well" in other.stdout


@pytest.mark.slow
def test_what_is_refused_is_one_line(env: dict[str, str], tmp_path: Path) -> None:
    folder = tmp_path / "backups"
    assert run(env, "backup", str(folder)).returncode == 0
    for arguments, said in (
        (("restore", str(tmp_path / "none")), f"error: {tmp_path / 'none'} holds no backups of a gateway\n"),
        (("restore", str(folder), "--backup", "x"), f"error: {folder} has no backup x; there are 2"),
        (("backup", str(tmp_path / "data")), "is not empty and holds no backups of a gateway"),
    ):
        ended = run(env, *arguments)
        assert (ended.returncode, ended.stderr.count("\n")) == (1, 1)
        assert said in ended.stderr


@pytest.mark.slow
def test_a_disk_that_is_full_leaves_no_backup(env: dict[str, str], tmp_path: Path) -> None:
    full = run(env, "backup", str(tmp_path / "backups"), most=64 << 10)
    assert (full.returncode, full.stdout) == (1, "")
    assert full.stderr.count("\n") == 1
    assert "error: the database could not be copied to" in full.stderr
    assert [path.name for path in (tmp_path / "backups").iterdir()] == ["image-gateway-backups"]
    # Nor does a restore leave a database.
    assert run(env, "backup", str(tmp_path / "backups")).returncode == 0
    there = {**env, "GATEWAY_DATA_DIR": str(tmp_path / "there")}
    short = run(there, "restore", str(tmp_path / "backups"), most=64 << 10)
    assert short.returncode == 1
    assert short.stderr.startswith("error: the database could not be put to")
    assert not (tmp_path / "there" / "gateway.db").exists()
    assert run(there, "restore", str(tmp_path / "backups")).returncode == 0


def test_a_secret_is_for_its_owner_alone(env: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "data" / "secret").write_bytes(b"s" * 32)
    assert run(env, "backup", str(tmp_path / "backups")).returncode == 0
    open_to_others = [
        path
        for path in (tmp_path / "backups").rglob("*")
        if path.is_file() and path.stat().st_mode & 0o077 and path.name in ("secret", "database.sqlite")
    ]
    assert open_to_others == []
    assert (tmp_path / "backups").stat().st_mode & 0o077 == 0
