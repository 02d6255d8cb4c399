"""The first schema: accounts, jobs, attempts, images; wallets, holds and the ledger."""

import sqlalchemy as sa
from alembic import op

from gateway.db.revising import append_only

revision = "0001"
down_revision = None

OPEN = sa.text("status not in ('completed', 'failed', 'canceled')")


def upgrade() -> None:
    _account_and_job()
    _attempt_and_image()
    _money()
    append_only("ledger_entry")


def _account_and_job() -> None:
    op.create_table(
        "account",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("tier", sa.String(20), nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "job",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("account_id", sa.String(40), sa.ForeignKey("account.id"), nullable=False),
        sa.Column("end_user", sa.String(200)),
        sa.Column("status", sa.String(12), nullable=False),
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("provider", sa.String(100), nullable=False),
        sa.Column("registry_version", sa.String(12), nullable=False),
        sa.Column("request", sa.Text, nullable=False),
        sa.Column("report", sa.Text, nullable=False),
        sa.Column("warnings", sa.Text, nullable=False),
        sa.Column("routing", sa.Text, nullable=False),
        sa.Column("quote_micros", sa.BigInteger, nullable=False),
        sa.Column("ceiling_micros", sa.BigInteger, nullable=False),
        sa.Column("charge_micros", sa.BigInteger),
        sa.Column("error_code", sa.String(60)),
        sa.Column("error_message", sa.Text),
        sa.Column("error_status", sa.Integer),
        sa.Column("cancel_requested", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("deadline_at", sa.BigInteger, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("completed_at", sa.BigInteger),
    )
    op.create_index("ix_job_account_created", "job", ["account_id", "created_at", "id"])
    op.create_index("ix_job_open", "job", ["status"], sqlite_where=OPEN, postgresql_where=OPEN)


def _attempt_and_image() -> None:
    op.create_table(
        "attempt",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("job_id", sa.String(40), sa.ForeignKey("job.id"), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("route_index", sa.Integer, nullable=False),
        sa.Column("provider", sa.String(100), nullable=False),
        sa.Column("endpoint", sa.String(300), nullable=False),
        sa.Column("status", sa.String(12), nullable=False),
        sa.Column("handle", sa.Text),
        sa.Column("error_code", sa.String(60)),
        sa.Column("error_message", sa.Text),
        sa.Column("run_seconds", sa.String(20)),
        sa.Column("load_seconds", sa.String(20)),
        sa.Column("provider_cost_micros", sa.BigInteger),
        sa.Column("started_at", sa.BigInteger, nullable=False),
        sa.Column("ended_at", sa.BigInteger),
        sa.UniqueConstraint("job_id", "number"),
    )
    op.create_table(
        "image",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("job_id", sa.String(40), sa.ForeignKey("job.id"), nullable=False),
        sa.Column("account_id", sa.String(40), nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("storage_key", sa.String(300), nullable=False),
        sa.Column("content_type", sa.String(40), nullable=False),
        sa.Column("width", sa.Integer, nullable=False),
        sa.Column("height", sa.Integer, nullable=False),
        sa.Column("byte_size", sa.BigInteger, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("seed", sa.BigInteger),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("job_id", "position"),
    )


def _money() -> None:
    op.create_table(
        "wallet",
        sa.Column("account_id", sa.String(40), primary_key=True),
        sa.Column("postpaid", sa.Boolean, nullable=False),
        sa.Column("available_micros", sa.BigInteger, nullable=False),
        sa.Column("held_micros", sa.BigInteger, nullable=False),
        sa.CheckConstraint("postpaid or available_micros >= 0", name="ck_wallet_available"),
        sa.CheckConstraint("held_micros >= 0", name="ck_wallet_held"),
    )
    op.create_table(
        "hold",
        sa.Column("job_id", sa.String(40), primary_key=True),
        sa.Column("account_id", sa.String(40), nullable=False),
        sa.Column("amount_micros", sa.BigInteger, nullable=False),
        sa.Column("status", sa.String(10), nullable=False),
        sa.Column("captured_micros", sa.BigInteger),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("ended_at", sa.BigInteger),
        sa.CheckConstraint("amount_micros >= 0", name="ck_hold_amount"),
        sa.CheckConstraint(
            "captured_micros is null or captured_micros <= amount_micros", name="ck_hold_captured"
        ),
    )
    op.create_table(
        "ledger_entry",
        sa.Column("id", sa.String(60), primary_key=True),
        sa.Column("job_id", sa.String(40), nullable=False),
        sa.Column("kind", sa.String(10), nullable=False),
        sa.Column("ledger_account", sa.String(60), nullable=False),
        sa.Column("amount_micros", sa.BigInteger, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("job_id", "kind", "ledger_account"),
    )
    op.create_index("ix_ledger_account", "ledger_entry", ["ledger_account"])
