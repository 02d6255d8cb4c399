"""Money in full: provider costs and corrections in the ledger, budgets, usage by day, price lists."""

from typing import Any

import sqlalchemy as sa
from alembic import op

from gateway.db.revising import append_only, changeable, recreate

revision = "0007"
down_revision = "0006"

ENDS = ("completed", "failed", "canceled")
COUNTS = (
    "jobs", *ENDS, "images", "quote_micros", "charge_micros", "refund_micros", "cost_micros", "listed_micros",
)  # fmt: skip


def upgrade() -> None:
    op.add_column("account", sa.Column("price_list", sa.String(60)))
    op.add_column("attempt", sa.Column("billable_units", sa.String(40)))
    op.add_column("attempt", sa.Column("listed_cost_micros", sa.BigInteger))
    _ledger()
    _budgets()
    _usage("usage_day")
    _usage("usage_user", sa.Column("end_user", sa.String(200), primary_key=True))
    _count_what_was()
    with op.batch_alter_table("api_key", recreate=recreate()) as table:
        table.drop_column("budget_micros")


def _ledger() -> None:
    changeable("ledger_entry")
    op.drop_index("ix_ledger_account", "ledger_entry")
    with op.batch_alter_table("ledger_entry", recreate=recreate()) as table:
        table.alter_column("job_id", new_column_name="reference", existing_type=sa.String(40))
        table.alter_column(
            "ledger_account", type_=sa.String(120), existing_type=sa.String(60), existing_nullable=False
        )
    if op.get_bind().dialect.name == "postgresql":  # which names it by its columns
        op.execute(
            "alter table ledger_entry rename constraint ledger_entry_job_id_kind_ledger_account_key"
            " to ledger_entry_reference_kind_ledger_account_key"
        )
    op.add_column("ledger_entry", sa.Column("job_id", sa.String(40)))
    op.add_column("ledger_entry", sa.Column("note", sa.Text))
    covered = ["ledger_account", "created_at", "id", "kind", "amount_micros"]
    op.create_index("ix_ledger_account", "ledger_entry", covered)
    about = sa.text("job_id is not null")
    op.create_index("ix_ledger_job", "ledger_entry", ["job_id"], sqlite_where=about, postgresql_where=about)
    append_only("ledger_entry")


def _budgets() -> None:
    for name, column in (
        ("budget", sa.Column("limit_micros", sa.BigInteger, nullable=False)),
        ("spend", sa.Column("used_micros", sa.BigInteger, nullable=False)),
    ):
        op.create_table(
            name,
            sa.Column("account_id", sa.String(40), primary_key=True),
            sa.Column("kind", sa.String(10), primary_key=True),
            sa.Column("subject", sa.String(200), primary_key=True),
            sa.Column("period", sa.String(7), primary_key=True),
            column,
        )


def _usage(name: str, *more: sa.Column[str]) -> None:
    op.create_table(
        name,
        sa.Column("account_id", sa.String(40), primary_key=True),
        sa.Column("day", sa.Integer, primary_key=True, autoincrement=False),
        *more,
        sa.Column("model", sa.String(200), primary_key=True),
        sa.Column("provider", sa.String(100), primary_key=True),
        sa.Column("key_id", sa.String(12), primary_key=True),
        *(sa.Column(count, sa.BigInteger, nullable=False) for count in COUNTS),
    )


def _count_what_was() -> None:
    """Of jobs that ended: their usage, and what their providers bill; of keys, what they have used."""
    job, attempt, image, key = (sa.table(name) for name in ("job", "attempt", "image", "api_key"))
    c: Any = sa.literal_column
    cost = (
        sa.select(c("coalesce(sum(attempt.provider_cost_micros), 0)"))
        .select_from(attempt)
        .where(c("attempt.job_id") == c("job.id"))
        .scalar_subquery()
    )
    images = sa.select(sa.func.count()).select_from(image).where(c("image.job_id") == c("job.id"))
    day = c("job.completed_at / 86400000")
    key_id = sa.func.coalesce(c("job.key_id"), "")
    counts = (
        sa.func.count(),
        *(sa.func.sum(sa.case((c("job.status") == end, 1), else_=0)) for end in ENDS),
        sa.func.sum(images.scalar_subquery()),
        sa.func.sum(c("job.quote_micros")),
        sa.func.sum(sa.func.coalesce(c("job.charge_micros"), 0)),
        sa.literal(0),
        sa.func.sum(cost),
        sa.func.sum(cost),
    )
    ended = (c("job.status").in_(ENDS), c("job.completed_at").is_not(None))
    for name, more, users in (
        ("usage_day", (), ()),
        ("usage_user", (c("job.end_user"),), (c("job.end_user").is_not(None),)),
    ):
        who = (c("job.account_id"), day, *more, c("job.model"), c("job.provider"), key_id)
        _fill(name, sa.select(*who, *counts).select_from(job).where(*ended, *users).group_by(*who))
    of_cost = ("id", "reference", "kind", "ledger_account", "amount_micros", "created_at", "job_id")
    micros = c("provider_cost_micros", sa.BigInteger)
    for number, side, amount in ((1, "payable:", -micros), (2, "cost:", micros)):
        entry: sa.Select[Any] = sa.select(
            c("id", sa.String) + f":cost:{number}",
            c("id"),
            sa.literal("cost"),
            sa.literal(side) + c("provider", sa.String),
            amount,
            c("coalesce(ended_at, started_at)"),
            c("job_id"),
        )
        _fill("ledger_entry", entry.select_from(attempt).where(micros > 0), of_cost)
    used: sa.ColumnElement[Any] = c("coalesce(sum(coalesce(job.charge_micros, job.ceiling_micros)), 0)")
    whose: tuple[sa.ColumnElement[Any], ...] = (c("api_key.account_id"), c("api_key.id"))
    counted: sa.Select[Any] = sa.select(whose[0], sa.literal("key"), whose[1], sa.literal("all"), used)
    joined = key.outerjoin(job, c("job.key_id") == whose[1])
    bound = c("api_key.budget_micros").is_not(None)
    _fill("spend", counted.select_from(joined).where(bound).group_by(*whose))
    limit = (sa.literal("key"), whose[1], sa.literal("all"), c("api_key.budget_micros"))
    _fill("budget", sa.select(whose[0], *limit).select_from(key).where(bound))


def _fill(name: str, rows: sa.Select[Any], columns: tuple[str, ...] | None = None) -> None:
    table = sa.table(name, *(sa.column(one) for one in columns or _columns(name)))
    op.execute(sa.insert(table).from_select(columns or _columns(name), rows))


def _columns(name: str) -> tuple[str, ...]:
    if name in ("spend", "budget"):
        amount = "used_micros" if name == "spend" else "limit_micros"
        return ("account_id", "kind", "subject", "period", amount)
    user = ("end_user",) if name == "usage_user" else ()
    return ("account_id", "day", *user, "model", "provider", "key_id", *COUNTS)
