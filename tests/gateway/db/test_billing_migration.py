"""0007 makes usage, costs and what keys have used from the jobs that there are, on either database."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, text
from support.databases import plain_engine

from gateway.db import migrate
from gateway.db.migrate import upgrade

pytestmark = pytest.mark.every_database

DAY = 20_000
BEFORE = (
    "insert into account (id, name, tier, created_at) values ('a', 'A', 'normal', 1)",
    "insert into api_key (id, account_id, name, digest, created_at, budget_micros)"
    " values ('k', 'a', 'k', 'd', 1, 500), ('free', 'a', 'k', 'd', 1, null)",
    "insert into job (id, account_id, end_user, status, model, provider, registry_version, request, report, warnings,"
    " routing, quote_micros, ceiling_micros, charge_micros, deadline_at, created_at, completed_at, key_id) values"
    " ('one', 'a', 'u', 'completed', 'm', 'p', 'v', '{}', '[]', '[]', '{}', 50, 60, 40, 1, 1, 1728000000007, 'k'),"
    " ('two', 'a', null, 'failed', 'm', 'p', 'v', '{}', '[]', '[]', '{}', 50, 60, 0, 1, 1, 1728000000009, 'k'),"
    " ('now', 'a', null, 'running', 'm', 'p', 'v', '{}', '[]', '[]', '{}', 50, 60, null, 1, 1, null, 'k')",
    "insert into attempt (id, job_id, number, route_index, provider, endpoint, status, provider_cost_micros,"
    " started_at, ended_at) values ('t', 'one', 1, 0, 'p', 'e', 'succeeded', 25, 3, 9)",
    "insert into ledger_entry (id, job_id, kind, ledger_account, amount_micros, created_at)"
    " values ('one:hold:1', 'one', 'hold', 'available:a', -60, 1), ('one:hold:2', 'one', 'hold', 'held:a', 60, 1)",
)


@pytest.fixture
def url(request: pytest.FixtureRequest, database_kind: str, tmp_path: Path) -> Iterator[str]:
    """An empty database."""
    if database_kind == "sqlite":
        yield f"sqlite:///{tmp_path / 'gateway.db'}"
    else:
        with request.getfixturevalue("postgres").database(migrated=False) as made:
            yield made


@pytest.fixture
def upgraded(url: str, tmp_path: Path) -> Iterator[Connection]:
    """A database of the version before, with jobs, brought up to date."""
    former = tmp_path / "former"
    shutil.copytree(Path(migrate.__file__).with_name("migrations"), former)
    for later in ("0007_billing.py", "0008_runs.py"):
        (former / "versions" / later).unlink()
    assert upgrade(url, at=1, migrations=str(former)).to_revision == "0006"
    engine = plain_engine(url)
    with engine.begin() as conn:
        for statement in BEFORE:
            conn.exec_driver_sql(statement)
    assert upgrade(url, at=1).from_revision == "0006"
    with engine.connect() as conn:
        yield conn
    engine.dispose()


def rows(conn: Connection, query: str) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in conn.execute(text(query))]


def test_jobs_that_ended_are_in_the_usage_of_their_day(upgraded: Connection) -> None:
    counts = (
        "jobs, completed, failed, canceled, images, quote_micros, charge_micros, refund_micros, cost_micros"
    )
    assert rows(upgraded, f"select account_id, day, model, provider, key_id, {counts} from usage_day") == [
        ("a", DAY, "m", "p", "k", 2, 1, 1, 0, 0, 100, 40, 0, 25)
    ]
    assert rows(upgraded, f"select account_id, day, end_user, {counts} from usage_user") == [
        ("a", DAY, "u", 1, 1, 0, 0, 0, 50, 40, 0, 25)
    ]


def test_what_providers_bill_is_in_the_ledger_and_what_was_there_stays(upgraded: Connection) -> None:
    columns = "id, reference, kind, ledger_account, amount_micros, created_at, job_id"
    assert rows(upgraded, f"select {columns} from ledger_entry order by id") == [
        ("one:hold:1", "one", "hold", "available:a", -60, 1, None),
        ("one:hold:2", "one", "hold", "held:a", 60, 1, None),
        ("t:cost:1", "t", "cost", "payable:p", -25, 9, "one"),
        ("t:cost:2", "t", "cost", "cost:p", 25, 9, "one"),
    ]


def test_a_keys_budget_is_a_row_and_has_what_its_jobs_cost_or_may(upgraded: Connection) -> None:
    assert rows(upgraded, "select account_id, kind, subject, period, limit_micros from budget") == [
        ("a", "key", "k", "all", 500)
    ]
    assert rows(upgraded, "select account_id, kind, subject, period, used_micros from spend") == [
        ("a", "key", "k", "all", 40 + 0 + 60)
    ]


def test_the_ledger_is_append_only_still(upgraded: Connection) -> None:
    with pytest.raises(Exception, match="ledger_entry is append-only"):
        upgraded.execute(text("update ledger_entry set amount_micros = 1"))
