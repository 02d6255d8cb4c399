"""What every test shares."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

# `tests/` has no __init__.py (its folders would shadow the packages of the same name), so the
# helpers in tests/support are reached by path.
sys.path.insert(0, str(Path(__file__).parent))

# Shared machines stall: a test must not fail for having been slow once.
settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from support.postgres import PostgresServer

# -- databases: tests marked `every_database` run on SQLite and on a real PostgreSQL, others on SQLite ---------


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    from support.databases import KINDS

    everywhere = metafunc.definition.get_closest_marker("every_database") is not None
    if everywhere and "database_kind" in metafunc.fixturenames:
        metafunc.parametrize("database_kind", KINDS, indirect=True)


@pytest.fixture
def database_kind(request: pytest.FixtureRequest) -> str:
    """sqlite or postgresql"""
    return str(getattr(request, "param", "sqlite"))


@pytest.fixture(scope="session")
def postgres() -> "Iterator[PostgresServer]":
    """A PostgreSQL server; it starts when the first test asks for it."""
    from support.postgres import running_postgres

    with running_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with the gateway's schema, to be copied."""
    from support.databases import make_migrated_file

    return make_migrated_file(tmp_path_factory.mktemp("migrated") / "gateway.db")


@pytest.fixture
def database_url(request: pytest.FixtureRequest, database_kind: str, tmp_path: Path) -> Iterator[str]:
    """An empty database with the gateway's schema, by its URL."""
    from support.databases import copy_of

    if database_kind == "sqlite":
        yield copy_of(request.getfixturevalue("migrated_file"), tmp_path / "gateway.db")
    else:
        with request.getfixturevalue("postgres").empty_database() as url:
            yield url


@pytest.fixture(scope="session")
def shared_postgres(postgres: "PostgresServer") -> Iterator[str]:
    """A PostgreSQL database in which nothing is ever committed, by its URL."""
    with postgres.database() as url:
        yield url


@pytest.fixture
def conn(request: pytest.FixtureRequest, database_kind: str) -> "Iterator[Connection]":
    """A connection to a database with the gateway's schema; what is done on it is undone."""
    from support.databases import connected

    sqlite = database_kind == "sqlite"
    with connected(request.getfixturevalue("database_url" if sqlite else "shared_postgres")) as connection:
        yield connection


# -- figures: what a passing test measured, printed at the end of the run -------------------------------------


@pytest.fixture
def figures(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Says a line of figures; it is printed although the test passes, from whichever process."""
    return lambda line: record_property("figures", line)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    said = [
        f"{report.nodeid.rpartition('::')[2]}: {value}"
        for report in terminalreporter.getreports("passed")
        for name, value in report.user_properties
        if name == "figures" and report.when == "call"
    ]
    if said:
        terminalreporter.section("figures")
        for line in said:
            terminalreporter.write_line(line)
