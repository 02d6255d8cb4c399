"""Migrations on real files: what they make, what they keep, what they refuse."""

import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine

import billing.tables
import gateway.db.tables
from gateway.db import migrate
from gateway.db.engine import DatabaseError, DatabaseUnavailable, open_database
from gateway.db.migrate import DatabaseTooNew, MigrationFailed, UpgradeResult, upgrade
from gateway.db.sqlite_file import open_engine
from gateway.jobs.queries import find_job

HEAD = "0008"
"""The revision of this version."""
AT = 1_795_000_000_123
METADATA = [gateway.db.tables.metadata, billing.tables.metadata]

NEXT = """
import sqlalchemy as sa
from alembic import op

revision = "9999"
down_revision = "{head}"


def upgrade():
    with op.batch_alter_table("account") as table:
        table.add_column(sa.Column("colour", sa.String(10)))
    op.execute("delete from attempt")
    {last}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "50% of it.db"


@pytest.fixture
def url(path: Path) -> str:
    return f"sqlite:///{path}"


@pytest.fixture
def later(tmp_path: Path) -> Path:
    """The shipped migrations and one more, which rebuilds a table that others refer to."""
    folder = tmp_path / "100% later"
    shutil.copytree(Path(migrate.__file__).with_name("migrations"), folder)
    (folder / "versions" / "9999_next.py").write_text(NEXT.format(head=HEAD, last=""))
    return folder


@pytest.fixture
def connection(path: Path, url: str) -> Iterator[sqlite3.Connection]:
    upgrade(url, at=AT)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(
            "insert into account (id, name, tier, created_at) values ('a', 'Ann', 'normal', 1)"
        )
        connection.execute(
            "insert into job (id, account_id, status, model, provider, registry_version, request, report,"
            " warnings, routing, quote_micros, ceiling_micros, deadline_at, created_at)"
            " values ('j', 'a', 'queued', 'm', 'p', 'v', '{}', '[]', '[]', '{}', 1, 1, 1, 1)"
        )
        connection.execute(
            "insert into ledger_entry values ('j:hold:1', 'j', 'hold', 'revenue', 0, 1, null, null)"
        )
        connection.execute("insert into audit values ('u', 1, 'a', 'session', 'key.create', 'a', '{}', '-')")
        yield connection


def schema(path: Path) -> set[tuple[str, ...]]:
    """Tables and indexes as SQLite keeps them, but for white space, and the quotes of a renamed table."""
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute(
            "select type, name, sql from sqlite_master where sql not null and type != 'trigger'"
            " and name != 'alembic_version'"
        )
        return {(kind, name, " ".join(sql.replace('"', "").split())) for kind, name, sql in rows}


def test_a_new_database_is_made_and_a_second_time_nothing_is_done(url: str, path: Path) -> None:
    assert upgrade(url, at=AT) == UpgradeResult(from_revision=None, to_revision=HEAD, backup=None)
    assert upgrade(url, at=AT) == UpgradeResult(from_revision=HEAD, to_revision=HEAD, backup=None)
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_the_migrations_make_what_the_code_declares(url: str, path: Path, tmp_path: Path) -> None:
    upgrade(url, at=AT)
    engine = open_engine(path, busy_timeout_s=1, mode="migrate")
    with engine.connect() as connection:
        options = {"compare_type": True, "compare_server_default": True}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, METADATA) == []

    declared = tmp_path / "declared.db"
    engine = open_engine(declared, busy_timeout_s=1, mode="migrate")
    with engine.begin() as connection:
        for metadata in METADATA:
            metadata.create_all(connection)
    assert schema(path) == schema(declared)


@pytest.mark.usefixtures("connection")
def test_an_old_database_is_copied_first(url: str, path: Path, later: Path) -> None:
    result = upgrade(url, at=AT, migrations=str(later))
    copy = path.with_name(f"50% of it.before-{HEAD}-20261118T110640123Z.db")
    assert result == UpgradeResult(from_revision=HEAD, to_revision="9999", backup=copy)
    with closing(sqlite3.connect(copy)) as old, closing(sqlite3.connect(path)) as new:
        assert old.execute("select id, name from account").fetchall() == [("a", "Ann")]
        assert new.execute("select id, name, colour from account").fetchall() == [("a", "Ann", None)]
        assert new.execute("select id from job").fetchall() == [("j",)]


@pytest.mark.usefixtures("connection")
@pytest.mark.parametrize("last", ["raise ValueError('no')", "op.execute('delete from account')"])
def test_a_failed_migration_leaves_the_database_as_it_was(
    url: str, path: Path, later: Path, last: str
) -> None:
    (later / "versions" / "9999_next.py").write_text(NEXT.format(head=HEAD, last=last))
    before = schema(path)
    with pytest.raises(MigrationFailed, match=rf"before-{HEAD}-.*\.db"):
        upgrade(url, at=AT, migrations=str(later))
    assert schema(path) == before
    assert upgrade(url, at=AT).from_revision == HEAD
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("select id from account").fetchall() == [("a",)]


@pytest.mark.usefixtures("connection")
def test_a_newer_database_is_refused(url: str, later: Path) -> None:
    upgrade(url, at=AT, migrations=str(later))
    with pytest.raises(DatabaseTooNew, match=rf"9999.*up to {HEAD}"):
        upgrade(url, at=AT)


def test_a_file_of_another_program_is_refused(url: str, path: Path) -> None:
    with closing(sqlite3.connect(path)) as other:
        other.execute("create table mine (id)")
    with pytest.raises(DatabaseError, match="not a database of this gateway"):
        upgrade(url, at=AT)


def test_a_locked_database_is_unavailable(url: str, connection: sqlite3.Connection) -> None:
    connection.execute("begin exclusive")
    with pytest.raises(DatabaseUnavailable):
        upgrade(url, at=AT, busy_timeout_s=0.01)


@pytest.mark.parametrize(
    "change",
    [
        "update ledger_entry set amount_micros = 1",
        "delete from ledger_entry",
        "insert or replace into ledger_entry values ('j:hold:1', 'j', 'hold', 'revenue', 5, 1, null, null)",
        "update audit set actor = 'x'",
        "delete from audit",
    ],
)
@pytest.mark.usefixtures("connection")
async def test_the_ledger_and_the_audit_log_are_append_only(url: str, change: str) -> None:
    database = open_database(url)
    with pytest.raises(Exception, match=r"(ledger_entry|audit) is append-only"):
        await database.write(lambda c: c.exec_driver_sql(change))
    await database.aclose()


def test_jobs_of_before_the_calls_are_read(path: Path, url: str, tmp_path: Path) -> None:
    """0005 moves a candidate's payload, and the job's price and report, to where they are now."""
    former = tmp_path / "former"
    shutil.copytree(Path(migrate.__file__).with_name("migrations"), former)
    for later in ("0005_calls.py", "0006_durable_jobs.py", "0007_billing.py", "0008_runs.py"):
        (former / "versions" / later).unlink()
    assert upgrade(url, at=AT, migrations=str(former)).to_revision == "0004"
    candidate = {
        "route": {"model": "m", "index": 0, "when": [], "provider": "p", "endpoint": "e", "dialect": "d",
                  "parameters": {}, "constants": {}, "size": {"style": "none"}, "provider_cost": {"per_image": "0.02"},
                  "pipeline": None},
        "payload": {"prompt": "x"}, "width": 64, "height": 48, "num_images": 2, "seed": 5, "cost_micros": 7,
    }  # fmt: skip
    request = {"inputs": {}, "options": {}, "candidates": [candidate], "price": {"per_image": "0.03"}}
    report = [{"name": "seed", "how": "exact"}]
    routing = {"rule": "model", "why": "", "requested": None, "passedOver": []}
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("insert into account (id, name, tier, created_at) values ('a', 'A', 'normal', 1)")
        connection.execute(
            "insert into job (id, account_id, status, model, provider, registry_version, request, report,"
            " warnings, routing, quote_micros, ceiling_micros, deadline_at, created_at)"
            " values ('j', 'a', 'queued', 'm', 'p', 'v', ?, ?, ?, ?, 1, 9, 1, 1)",
            tuple(json.dumps(one) for one in (request, report, ["w"], routing)),
        )
    upgrade(url, at=AT)
    engine = create_engine(url)
    with engine.connect() as conn:
        job = find_job(conn, "j")
    engine.dispose()
    assert job is not None
    (found,) = job.admitted.candidates
    assert [(c.payload, c.num_images, c.seed) for c in found.calls] == [({"prompt": "x"}, 2, 5)]
    assert (str(found.price.per_image), found.ceiling_micros, found.warnings) == ("0.03", 9, ("w",))
    assert [row.name for row in found.report] == ["seed"]
