"""Leases, the batch window, progress that others see, idempotency, webhooks of accounts."""

import sqlalchemy as sa
from alembic import op

from gateway.db.revising import append_only, recreate

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.add_column("account", sa.Column("resend_window_s", sa.Integer))
    op.add_column("job", sa.Column("owner", sa.String(40)))
    op.add_column("job", sa.Column("lease_until", sa.BigInteger))
    op.add_column("job", sa.Column("fence", sa.Integer, nullable=False, server_default=sa.text("0")))
    op.add_column("job", sa.Column("runs_at", sa.BigInteger))
    op.add_column("job", sa.Column("group_key", sa.String(64)))
    op.add_column("job", sa.Column("batch_id", sa.String(40)))
    op.add_column("job", sa.Column("delivery", sa.Text))
    waits = sa.text("status = 'scheduled'")
    op.create_index(
        "ix_job_window", "job", ["runs_at", "group_key"], sqlite_where=waits, postgresql_where=waits
    )
    op.create_index("ix_job_account_status", "job", ["account_id", "status", "created_at", "id"])
    op.create_index("ix_job_created", "job", ["created_at", "id"])
    op.create_table(
        "batch",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("window_at", sa.BigInteger, nullable=False),
        sa.Column("group_key", sa.String(64), nullable=False),
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("jobs", sa.Integer, nullable=False),
        sa.Column("started_at", sa.BigInteger, nullable=False),
        sa.Column("ended_at", sa.BigInteger),
    )
    op.create_table(
        "progress",
        sa.Column("job_id", sa.String(40), sa.ForeignKey("job.id"), primary_key=True),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "idempotency",
        sa.Column("account_id", sa.String(40), sa.ForeignKey("account.id"), primary_key=True),
        sa.Column("key", sa.String(300), primary_key=True),
        sa.Column("request_sha256", sa.String(64), nullable=False),
        sa.Column("job_id", sa.String(40), nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("answer_by", sa.BigInteger, nullable=False),
        sa.Column("answered_at", sa.BigInteger),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_idempotency_expires", "idempotency", ["expires_at"])
    op.create_table(
        "webhook",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("account_id", sa.String(40), sa.ForeignKey("account.id"), nullable=False),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("disabled_at", sa.BigInteger),
        sa.Column("disabled_why", sa.Text),
        sa.UniqueConstraint("account_id", "url"),
    )
    op.drop_index("ix_outbox_due", "outbox")
    with op.batch_alter_table("outbox", recreate=recreate()) as table:
        table.alter_column("recipient", type_=sa.Text, existing_nullable=False)
        table.add_column(sa.Column("account_id", sa.String(40)))
        table.add_column(sa.Column("job_id", sa.String(40)))
        table.add_column(sa.Column("webhook_id", sa.String(40)))
        table.add_column(sa.Column("status_code", sa.Integer))
    opened = sa.text("sent_at is null and failed_at is null")
    op.create_index("ix_outbox_due", "outbox", ["due_at"], sqlite_where=opened, postgresql_where=opened)
    op.create_index("ix_outbox_account", "outbox", ["account_id", "created_at", "id"])
    op.create_index("ix_outbox_job", "outbox", ["job_id"])
    append_only("audit")
