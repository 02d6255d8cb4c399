"""Copies of a PostgreSQL database: by pg_dump, on a snapshot that the list of files is read from too."""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import URL, Connection, column, insert, inspect, table

from gateway.backup.pg_tools import SERVICE, find_tool, run_tool, told_of
from gateway.backup.records import BackupError, Server, Watch
from gateway.db.engine import DatabaseUnavailable
from gateway.db.postgres_server import name_of, open_engine, postgres_url, said, translate_error

__all__ = ["NAME", "check_empty", "connected", "copied", "put_in_place"]

NAME = "database.pgdump"
REVISIONS = "alembic_version"
"""The table that says of which revision the database is. No gateway starts on one that does not say."""
PLAIN = ("--no-password", "--no-owner", "--no-acl", "--no-publications", "--no-subscriptions")


@contextmanager
def copied(
    url: str, folder: Path, env: Mapping[str, str], watch: Watch
) -> Iterator[tuple[Connection, Server]]:
    """Copy a database into a folder, as it is at one moment, and read that moment while the block runs.

    Raises:
        BackupError: there is no pg_dump for it, or it failed.
        DatabaseUnavailable: the database cannot be reached.
    """
    address = postgres_url(url)
    with connected(address) as connection:
        connection.exec_driver_sql("set transaction isolation level repeatable read, read only")
        major = _major(connection)
        dump = find_tool("pg_dump", major, env)
        snapshot = connection.exec_driver_sql("select pg_export_snapshot()").scalar_one()
        watch.begin("the database")
        (folder / NAME).touch(mode=0o600)
        with told_of(address) as environment:
            arguments = (*PLAIN, "--format=custom", f"--snapshot={snapshot}", f"--file={folder / NAME}")
            run_tool(dump, arguments, environment, f"{name_of(address)} could not be copied")
        yield connection, Server(major=major, dump_major=dump.major)


def check_empty(url: str, made_on: Server, env: Mapping[str, str]) -> None:
    """See that a database is there, is empty, and can take a copy.

    Raises:
        BackupError: it is not so.
        DatabaseUnavailable: the database cannot be reached.
    """
    address = postgres_url(url)
    with connected(address) as connection:
        major = _major(connection)
        encoding = connection.exec_driver_sql("show server_encoding").scalar_one()
        tables = inspect(connection).get_table_names()
    name = name_of(address)
    if tables:
        raise BackupError(
            f"{name} has tables: a backup is restored into an empty database. Make one: create database ... "
            "encoding 'UTF8' template template0"
        )
    if encoding != "UTF8":
        raise BackupError(
            f"{name} is encoded in {encoding}: make one with `create database ... encoding 'UTF8'`"
        )
    if major < made_on.major:
        raise BackupError(
            f"{name} is on PostgreSQL {major}, and the backup was made on {made_on.major}: restore it to "
            "that version, or a later one"
        )
    find_tool("pg_restore", max(major, made_on.dump_major), env)


def put_in_place(
    copy: Path,
    url: str,
    made_on: Server,
    revision: str,
    env: Mapping[str, str],
    change: Callable[[Connection], None],
) -> None:
    """Put a copy into an empty database, changed.

    Its revision is written last, in the transaction of the change: on what is broken off before, no gateway
    starts.

    Args:
        copy: of `copied`.
        url: says where; of `check_empty`.
        made_on: where the copy was made.
        revision: of its schema.
        env: has PATH, and GATEWAY_PG_BIN.
        change: is called in a transaction.

    Raises:
        BackupError: pg_restore failed.
        DatabaseUnavailable: the database cannot be reached.
    """
    address = postgres_url(url)
    name = name_of(address)
    with connected(address) as connection:
        major = _major(connection)
    tool = find_tool("pg_restore", max(major, made_on.dump_major), env)
    with told_of(address) as environment, tempfile.TemporaryDirectory(prefix="gateway-") as folder:
        listed = run_tool(tool, ("--list", str(copy)), environment, f"{copy} cannot be read")
        wanted = [line for line in listed.splitlines() if not _tells_revision(line)]
        order = Path(folder) / "order"
        order.write_text("\n".join(wanted) + "\n")
        arguments = (
            *PLAIN,
            "--single-transaction",
            "--exit-on-error",
            f"--use-list={order}",
            f"--dbname=service={SERVICE}",
            str(copy),
        )
        run_tool(tool, arguments, environment, f"{name} could not be filled, and is as it was")
    with connected(address) as connection, connection.begin():
        connection.execute(insert(table(REVISIONS, column("version_num"))).values(version_num=revision))
        change(connection)
        # What the planner knows of the rows does not come with them.
        connection.exec_driver_sql("analyze")


def _tells_revision(line: str) -> bool:
    """Whether a line of pg_restore's list is the content of that table."""
    return " TABLE DATA " in line and f" {REVISIONS} " in line


def _major(connection: Connection) -> int:
    return int(connection.exec_driver_sql("show server_version_num").scalar_one()) // 10_000


@contextmanager
def connected(address: URL) -> Iterator[Connection]:
    """A connection, for statements that take as long as they do."""
    engine = open_engine(address, connections=1, migrate=True)
    try:
        with engine.connect() as connection:
            yield connection
    except Exception as error:
        translated = translate_error(error)
        if not isinstance(translated, DatabaseUnavailable) or translated is error:
            raise
        # To whoever runs the gateway: the driver says what is wrong with the address.
        raise DatabaseUnavailable(f"{translated} ({said(error)})", translated.retry_after) from error
    finally:
        engine.dispose()
