"""PostgreSQL's programs: of the right version or none, and told of no password where others can read it."""

from pathlib import Path

import pytest
from sqlalchemy import make_url
from support.backups import Quiet
from support.postgres import PG_BIN, PostgresServer

from gateway.ambient import Ambient
from gateway.backup.folder import BackupFolder
from gateway.backup.make import make_backup
from gateway.backup.pg_tools import find_tool, run_tool, told_of
from gateway.backup.records import BackupError
from gateway.db.postgres_server import postgres_url
from gateway.settings import load_settings


def program(folder: Path, name: str, version: str, then: str = "exit 1") -> Path:
    """A program that says that it is of a version."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(
        f'#!/bin/sh\n[ "$1" = --version ] && {{ echo "{name} (PostgreSQL) {version}"; exit; }}\n{then}\n'
    )
    path.chmod(0o755)
    return path


def test_the_servers_own_version_is_taken_before_a_later_one(tmp_path: Path) -> None:
    later = program(tmp_path / "path", "pg_dump", "96.1")
    path = {"PATH": str(tmp_path / "path")}
    assert find_tool("pg_dump", 90, path).path == later
    exact = program(tmp_path / "own", "pg_dump", "90.4 (Debian 90.4-1)")
    assert find_tool("pg_dump", 90, {**path, "GATEWAY_PG_BIN": str(exact.parent)}).path == exact
    # The setting alone counts, where it is set.
    with pytest.raises(BackupError, match="looked for in GATEWAY_PG_BIN") as refused:
        find_tool("pg_dump", 91, {**path, "GATEWAY_PG_BIN": str(exact.parent)})
    assert f"{exact} is of 90" in str(refused.value)
    assert "Install the client programs of PostgreSQL 91 (on Debian postgresql-client-91)" in str(
        refused.value
    )


def test_none_that_is_late_enough(tmp_path: Path) -> None:
    program(tmp_path, "pg_restore", "9.6.1")
    with pytest.raises(BackupError, match="pg_restore of PostgreSQL 97 or later is needed") as refused:
        find_tool("pg_restore", 97, {"PATH": str(tmp_path)})
    assert f"{tmp_path / 'pg_restore'} is of 9" in str(refused.value)
    # One that cannot be run is none.
    (tmp_path / "broken").mkdir()
    broken = program(tmp_path / "broken", "pg_dump", "18.1")
    broken.write_bytes(b"\x7fELF nothing")
    with pytest.raises(BackupError, match="none was found"):
        find_tool("pg_dump", 18, {"GATEWAY_PG_BIN": str(broken.parent)})


def test_nothing_of_the_address_is_on_the_command_line(postgres: PostgresServer, tmp_path: Path) -> None:
    real = PG_BIN / "pg_dump"
    seen = tmp_path / "seen"
    spy = f'printf "%s\\n" "$@" > {seen}; cat "$PGSERVICEFILE" > {seen}.service; ls -l "$PGSERVICEFILE" > {seen}.mode\nexec {real} "$@"'
    program(tmp_path / "bin", "pg_dump", "18.1", spy)
    with postgres.database() as url:
        name = make_url(url).database
        postgres.execute("create role keeper superuser login password 'hush hush'")
        try:
            own = url.replace("postgres@", "keeper:hush%20hush@", 1)
            env = {
                "GATEWAY_DATA_DIR": str(tmp_path / "data"),
                "GATEWAY_DATABASE_URL": own,
                "GATEWAY_SECRET": "x" * 32,
                "GATEWAY_PG_BIN": str(tmp_path / "bin"),
            }
            (tmp_path / "data" / "store").mkdir(parents=True)
            make_backup(load_settings(env), tmp_path / "backups", Ambient(), Quiet())
        finally:
            postgres.execute("reassign owned by keeper to postgres", name=str(name))
            postgres.execute("drop role keeper")
    told = seen.read_text()
    assert "--format=custom" in told
    for text in ("hush", "keeper", str(name), str(postgres.socket.parent)):
        assert text not in told.replace(str(tmp_path), "")
    service = (tmp_path / "seen.service").read_text()
    assert f"dbname={name}\n" in service
    assert "hush" not in service
    assert (tmp_path / "seen.mode").read_text().startswith("-rw-------")
    assert BackupFolder(tmp_path / "backups").manifest(BackupFolder(tmp_path / "backups").names()[0]).server


def test_the_password_is_in_the_environment_of_the_program_alone(tmp_path: Path) -> None:
    show = program(tmp_path, "pg_dump", "18.1", 'printf "%s" "$PGPASSWORD"')
    with told_of(postgres_url("postgresql://me:p%20w%27@db.test/gateway?sslmode=require")) as env:
        tool = find_tool("pg_dump", 18, {"GATEWAY_PG_BIN": str(tmp_path)})
        assert (tool.path, run_tool(tool, (), env, "x")) == (show, "p w'")
        service = Path(env["PGSERVICEFILE"])
        assert "sslmode=require\n" in service.read_text()
    assert not service.exists()


def test_what_a_program_says_of_its_failure_is_told_without_rows(tmp_path: Path) -> None:
    said = 'echo "pg_restore: error: could not execute query: ERROR: duplicate key" >&2; echo "DETAIL: Key (prompt)=(a secret)" >&2; exit 1'
    program(tmp_path, "pg_restore", "18.1", said)
    tool = find_tool("pg_restore", 18, {"GATEWAY_PG_BIN": str(tmp_path)})
    with pytest.raises(
        BackupError, match=r"^it failed: pg_restore: could not execute query: ERROR: duplicate key$"
    ):
        run_tool(tool, (), {}, "it failed")
