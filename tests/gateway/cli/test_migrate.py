"""`gateway migrate`, and starts that leave it to that."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway.ambient import Ambient
from gateway.cli.errors import known_failure
from gateway.cli.root import cli
from gateway.db import migrate
from gateway.db.migrate import DatabaseBehind, DatabaseTooNew, Schema, check_schema, look, upgrade
from gateway.locks import FolderBusyError, hold_folder
from gateway.parts import prepare
from gateway.settings import load_settings

HEAD, BEFORE = "0008", "0007"
NEXT = f'revision = "9999"\ndown_revision = "{HEAD}"\n\n\ndef upgrade():\n    pass\n'

Migrate = Callable[..., Result]


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def url(request: pytest.FixtureRequest, database_kind: str, data_dir: Path) -> Iterator[str]:
    """An empty database; on SQLite there is no file yet."""
    if database_kind == "sqlite":
        yield f"sqlite:///{data_dir / 'gateway.db'}"
    else:
        with request.getfixturevalue("postgres").database(migrated=False) as url:
            yield url


@pytest.fixture
def env(url: str, data_dir: Path) -> dict[str, str]:
    return {"GATEWAY_DATABASE_URL": url, "GATEWAY_DATA_DIR": str(data_dir), "GATEWAY_SECRET": "s" * 32}


@pytest.fixture
def run(env: dict[str, str]) -> Migrate:
    """`gateway migrate` in this process."""

    def call(*arguments: str) -> Result:
        return CliRunner().invoke(cli, ["migrate", *arguments], env=env)

    return call


def scripts(folder: Path, *, without: str = "", more: str = "") -> str:
    """The shipped migrations without one of them, or with one more."""
    shutil.copytree(Path(migrate.__file__).with_name("migrations"), folder)
    for path in folder.glob(f"versions/{without}_*.py" if without else "none"):
        path.unlink()
    if more:
        (folder / "versions" / "9999_next.py").write_text(more)
    return str(folder)


@pytest.mark.every_database
def test_a_new_database(run: Migrate, url: str, data_dir: Path) -> None:
    told = run("--check")
    assert (told.exit_code, told.stdout) == (
        1,
        f"the database is empty; this version needs {HEAD}: `gateway migrate`\n",
    )
    assert not data_dir.exists()  # it changes nothing, and makes no file
    assert look(url) == Schema(current=None, head=HEAD)
    made = run()
    assert (made.exit_code, made.stdout) == (0, f"the database was empty and is at revision {HEAD} now\n")
    again = run()
    assert (again.exit_code, again.stdout) == (
        0,
        f"the database is at revision {HEAD}: nothing was to be done\n",
    )
    checked = run("--check")
    assert (checked.exit_code, checked.stdout) == (
        0,
        f"the database is at revision {HEAD}, as this version needs it\n",
    )


@pytest.mark.every_database
def test_one_that_is_behind(
    run: Migrate, url: str, env: dict[str, str], data_dir: Path, tmp_path: Path, database_kind: str
) -> None:
    data_dir.mkdir()
    upgrade(url, at=1, migrations=scripts(tmp_path / "former", without=HEAD))
    assert look(url) == Schema(current=BEFORE, head=HEAD)
    assert run("--check").exit_code == 1
    step = load_settings({**env, "GATEWAY_MIGRATE": "step"})
    with pytest.raises(DatabaseBehind, match=f"at revision {BEFORE}.*`gateway migrate`"):
        prepare(step, Ambient())
    assert look(url).current == BEFORE
    done = run()
    assert done.stdout.startswith(f"the database was at revision {BEFORE} and is at revision {HEAD} now")
    assert ("a copy of what it was is kept in" in done.stdout) == (database_kind == "sqlite")
    check_schema(url)
    assert prepare(step, Ambient()).catalog.models


@pytest.mark.every_database
def test_one_of_a_later_version(run: Migrate, url: str, data_dir: Path, tmp_path: Path) -> None:
    data_dir.mkdir()
    upgrade(url, at=1, migrations=scripts(tmp_path / "later", more=NEXT))
    for arguments in ((), ("--check",)):
        told = run(*arguments)
        assert isinstance(told.exception, DatabaseTooNew)
        assert known_failure(told.exception) == (str(told.exception), 1)


def test_a_file_whose_gateway_runs_is_left_alone(run: Migrate, data_dir: Path) -> None:
    with hold_folder(data_dir):
        assert isinstance(run().exception, FolderBusyError)
        assert run("--check").exit_code == 1


def test_a_start_refuses_what_is_behind(env: dict[str, str], tmp_path: Path) -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}
    done = subprocess.run(
        [sys.executable, "-m", "gateway", "serve"],
        env={**clean, **env, "GATEWAY_MIGRATE": "step"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "The database is empty, and this version needs revision" in done.stderr
    assert "`gateway migrate`" in done.stderr
    assert "Traceback" not in done.stderr
