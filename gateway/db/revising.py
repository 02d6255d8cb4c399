"""What migrations need to say differently to SQLite and to PostgreSQL."""

from typing import Literal

from alembic import op

__all__ = ["append_only", "changeable", "recreate"]


def recreate() -> Literal["always", "never"]:
    """For `batch_alter_table`: SQLite builds a table anew, PostgreSQL changes the one that is there."""
    return "always" if _is_sqlite() else "never"


def append_only(table: str) -> None:
    """Refuse changes of rows that are there. On SQLite a migration that rebuilds the table does it again."""
    if _is_sqlite():
        for change in ("update", "delete"):
            op.execute(
                f"create trigger {table}_no_{change} before {change} on {table} "
                f"begin select raise(abort, '{table} is append-only'); end"
            )
        return
    op.execute(
        "create or replace function refuse_change() returns trigger language plpgsql as "
        "$$ begin raise exception '% is append-only', tg_table_name; end $$"
    )
    # For each statement: one that meets no row is refused as well, and truncate has no rows.
    op.execute(
        f"create trigger {table}_append_only before update or delete or truncate on {table} "
        "for each statement execute function refuse_change()"
    )


def changeable(table: str) -> None:
    """Take back what `append_only` did, for a migration that ends with it again."""
    if _is_sqlite():
        for change in ("update", "delete"):
            op.execute(f"drop trigger {table}_no_{change}")
    else:
        op.execute(f"drop trigger {table}_append_only on {table}")


def _is_sqlite() -> bool:
    return op.get_bind().dialect.name == "sqlite"
