"""Migrations on a real server: what they make, that one process runs them, what they refuse."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, event, inspect
from support.databases import plain_engine
from support.gateway_process import clean_environment, free_port
from support.postgres import PostgresServer

import billing.tables
import gateway.db.tables
from gateway.db import migrate
from gateway.db.engine import DatabaseError, DatabaseUnavailable
from gateway.db.migrate import MIGRATIONS, DatabaseTooNew, MigrationFailed, Scripts, UpgradeResult, upgrade
from gateway.db.postgres_server import open_engine, postgres_url

HEAD = "0008"
METADATA = [gateway.db.tables.metadata, billing.tables.metadata]

NEXT = """
import sqlalchemy as sa
from alembic import op

revision = "9999"
down_revision = "{head}"


def upgrade():
    op.add_column("account", sa.Column("colour", sa.String(10)))
    {last}
"""


@pytest.fixture
def empty(postgres: PostgresServer) -> Iterator[str]:
    """A database without a table, by its URL."""
    with postgres.database(migrated=False) as url:
        yield url


@pytest.fixture
def url(postgres: PostgresServer) -> Iterator[str]:
    """A database with the schema, an entry in the ledger and one in the audit log."""
    with postgres.database() as url:
        with psycopg.connect(url) as connection:
            connection.execute(
                "insert into ledger_entry values ('j:hold:1', 'j', 'hold', 'revenue', 0, 1, null, null)"
            )
            connection.execute("insert into audit values ('u', 1, 'a', 'session', 'x', 'a', '{}', '-')")
        yield url


@pytest.fixture
def later(tmp_path: Path) -> Path:
    """The shipped migrations and one more."""
    folder = tmp_path / "100% later"
    shutil.copytree(Path(migrate.__file__).with_name("migrations"), folder)
    (folder / "versions" / "9999_next.py").write_text(NEXT.format(head=HEAD, last=""))
    return folder


def schema(connection: Connection) -> dict[str, Any]:
    """What is there of each table, but alembic's own."""
    found = inspect(connection)
    looks = ("columns", "pk_constraint", "foreign_keys", "unique_constraints", "check_constraints", "indexes")
    return {
        table: {look: getattr(found, f"get_{look}")(table) for look in looks}
        for table in found.get_table_names()
        if table != "alembic_version"
    }


def plain(described: Any) -> Any:
    """A description that can be compared: types by their text, lists in any order."""
    if isinstance(described, dict):
        return {key: plain(value) for key, value in described.items()}
    if isinstance(described, list):
        return sorted((plain(one) for one in described), key=repr)
    return described if isinstance(described, (str, int, type(None))) else repr(described)


def test_a_new_database_is_made_and_a_second_time_nothing_is_done(empty: str) -> None:
    assert upgrade(empty, at=1) == UpgradeResult(from_revision=None, to_revision=HEAD, backup=None)
    assert upgrade(empty, at=1) == UpgradeResult(from_revision=HEAD, to_revision=HEAD, backup=None)


def test_the_migrations_make_what_the_code_declares(url: str, empty: str) -> None:
    engine = plain_engine(url)
    with engine.connect() as connection:
        options = {"compare_type": True, "compare_server_default": True}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, METADATA) == []
        made = plain(schema(connection))
    engine.dispose()
    engine = plain_engine(empty)
    with engine.begin() as connection:
        for metadata in METADATA:
            metadata.create_all(connection)
        declared = plain(schema(connection))
    engine.dispose()
    assert made.keys() == declared.keys()
    for table, found in made.items():
        assert found == declared[table], table


def test_of_several_processes_one_does_it(empty: str) -> None:
    """As replicas that start at once; each finds the schema when it goes on."""
    command = f"from gateway.db.migrate import upgrade; print(upgrade({empty!r}, at=1).from_revision)"
    running = [
        subprocess.Popen(
            [sys.executable, "-c", command], env=clean_environment(), stdout=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    said = [process.communicate(timeout=60)[0].strip() for process in running]
    assert [process.returncode for process in running] == [0] * 4
    assert said.count("None") == 1
    assert said.count(HEAD) == 3


def test_what_another_process_makes_between_two_looks_is_ours(empty: str) -> None:
    """A look finds no revision, then tables that were made meanwhile."""
    engine = open_engine(postgres_url(empty), connections=1)
    made: list[str] = []

    def make(*_: object) -> None:
        if not made:
            made.append("now")
            upgrade(empty, at=1)

    scripts = Scripts(MIGRATIONS)
    with engine.connect() as connection:
        event.listen(engine, "after_cursor_execute", make)
        assert scripts.current(connection, "it") == HEAD
    engine.dispose()
    assert made == ["now"]


@pytest.mark.parametrize("change", ["update {} set at = 5", "delete from {}", "truncate {}"])
def test_the_ledger_and_the_audit_log_are_append_only(url: str, change: str) -> None:
    with psycopg.connect(url) as connection:
        for table in ("ledger_entry", "audit"):
            statement = change.format(table).replace("at = 5", "id = 'x'")
            with pytest.raises(psycopg.errors.RaiseException, match=f"{table} is append-only"):
                connection.execute(statement)  # type: ignore[arg-type]  # not a literal
            connection.rollback()


def test_an_old_database_is_brought_up_to_date(url: str, later: Path) -> None:
    result = upgrade(url, at=1, migrations=str(later))
    assert result == UpgradeResult(from_revision=HEAD, to_revision="9999", backup=None)
    with psycopg.connect(url) as connection:
        assert connection.execute("select colour from account").fetchall() == []
    with pytest.raises(DatabaseTooNew, match=rf"9999.*up to {HEAD}"):
        upgrade(url, at=1)


def test_a_failed_migration_leaves_the_database_as_it_was(url: str, later: Path) -> None:
    fails = "op.execute('insert into ledger_entry values (null)')"
    (later / "versions" / "9999_next.py").write_text(NEXT.format(head=HEAD, last=fails))
    with pytest.raises(MigrationFailed, match="is as it was"):
        upgrade(url, at=1, migrations=str(later))
    assert upgrade(url, at=1).from_revision == HEAD
    with psycopg.connect(url) as connection:
        columns = "select 1 from information_schema.columns where column_name = 'colour'"
        assert connection.execute(columns).fetchall() == []


def test_a_database_of_another_program_is_refused(empty: str) -> None:
    with psycopg.connect(empty) as other:
        other.execute("create table mine (id integer)")
    with pytest.raises(DatabaseError, match="not a database of this gateway"):
        upgrade(empty, at=1)


def test_so_is_one_that_cannot_hold_every_text(postgres: PostgresServer) -> None:
    postgres.execute("create database ascii template template0 encoding 'SQL_ASCII' locale 'C'")
    with pytest.raises(DatabaseError, match=r"the database 'ascii' at .* is encoded in SQL_ASCII"):
        upgrade(postgres.url("ascii"), at=1)


def test_what_keeps_from_reaching_it_is_said(postgres: PostgresServer) -> None:
    with pytest.raises(DatabaseUnavailable, match='database "nothing" does not exist'):
        upgrade(postgres.url("nothing"), at=1)
    with pytest.raises(DatabaseUnavailable, match="cannot be reached") as caught:
        upgrade(f"postgresql://me:secret@127.0.0.1:{free_port()}/x", at=1)
    assert "secret" not in str(caught.value)


def test_a_driver_that_is_missing_is_said_once_and_clearly(tmp_path: Path) -> None:
    """As a gateway that was installed without the extra finds it."""
    (tmp_path / "psycopg.py").write_text("raise ImportError('no such module')")
    ended = subprocess.run(
        [sys.executable, "-m", "gateway", "serve"],
        env=clean_environment(
            GATEWAY_DATA_DIR=str(tmp_path / "data"),
            GATEWAY_DATABASE_URL="postgresql://me:hush@127.0.0.1/x",
            GATEWAY_SECRET="s" * 32,
            PYTHONPATH=str(tmp_path),
        ),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 1
    assert "pip install 'image-gateway[postgresql]'" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "hush" not in ended.stderr


def test_the_driver_is_not_imported_where_the_database_is_a_file(tmp_path: Path) -> None:
    command = (
        "import sys; from gateway.app import create_app; from gateway.db.migrate import upgrade;"
        f"from gateway.db.engine import open_database; url = 'sqlite:///{tmp_path}/x.db';"
        "upgrade(url, at=1); open_database(url);"
        "sys.exit('psycopg' in sys.modules)"
    )
    ended = subprocess.run([sys.executable, "-c", command], env=clean_environment(), timeout=60)
    assert ended.returncode == 0
