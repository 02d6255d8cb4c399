"""Which database a URL names."""

import pickle
from pathlib import Path

import pytest

from gateway.db.engine import DatabaseError, DatabaseUnavailable, open_database


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("postgresql+asyncpg://me:secret@host/db", "by psycopg alone"),
        ("postgresql://me:secret@host", "no database"),
        ("postgresql://me:secret@host:port/db", "postgresql://user"),
        ("mysql://host/db", "mysql"),
        ("sqlite://", "a file"),
        ("sqlite:///:memory:", "a file"),
        ("data/gateway secret.db", "sqlite:///path"),
    ],
)
def test_a_url_that_is_not_served_says_what_is(url: str, says: str) -> None:
    with pytest.raises(DatabaseError, match=says) as caught:
        open_database(url)
    assert "secret" not in str(caught.value)


async def test_a_sqlite_url_opens_its_file(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path}/gateway.db")
    assert await database.write(lambda c: c.exec_driver_sql("select 1").scalar()) == 1
    await database.aclose()
    assert (tmp_path / "gateway.db").is_file()


def test_an_unavailable_database_survives_pickling() -> None:
    error = pickle.loads(pickle.dumps(DatabaseUnavailable("busy", 2.5)))
    assert (error.message, error.retry_after) == ("busy", 2.5)
