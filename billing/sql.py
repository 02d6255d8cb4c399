"""What SQLite and PostgreSQL both have, and SQLAlchemy has for each apart."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite

__all__ = ["Upsert", "insert_new"]


def insert_new(conn: Connection, table: Table, row: Mapping[str, Any]) -> bool:
    """Insert a row; False when there is one with its key, which stays as it is."""
    statement = (sqlite if conn.dialect.name == "sqlite" else postgresql).insert(table)
    # Not `rowcount`, which an INSERT has on SQLite alone.
    key = next(iter(table.primary_key.columns))
    return conn.execute(statement.on_conflict_do_nothing().returning(key), row).first() is not None


class Upsert:
    """Adds numbers to a row, or makes it. Built once: putting a statement together costs more than
    running it.

    Args:
        table: has a primary key.
        sums: columns that are added to.
    """

    def __init__(self, table: Table, sums: Sequence[str]) -> None:
        self._statements = {
            dialect.__name__.rpartition(".")[2]: self._build(dialect, table, sums)
            for dialect in (sqlite, postgresql)
        }

    @staticmethod
    def _build(dialect: Any, table: Table, sums: Sequence[str]) -> Any:
        statement = dialect.insert(table)
        return statement.on_conflict_do_update(
            index_elements=list(table.primary_key.columns),
            set_={name: table.c[name] + statement.excluded[name] for name in sums},
        )

    def add(self, conn: Connection, row: Mapping[str, Any]) -> None:
        """Add a row's numbers to the row of its key."""
        conn.execute(self._statements[conn.dialect.name], row)
