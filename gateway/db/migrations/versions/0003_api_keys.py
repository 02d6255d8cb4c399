"""API keys, and which accounts are admins."""

import sqlalchemy as sa
from alembic import op

from gateway.db.revising import recreate

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    with op.batch_alter_table("account", recreate=recreate()) as table:
        table.add_column(sa.Column("admin", sa.Boolean, nullable=False, server_default=sa.false()))
    op.execute("update account set admin = true where id = 'acc_local_operator'")
    op.create_table(
        "api_key",
        sa.Column("id", sa.String(12), primary_key=True),
        sa.Column("account_id", sa.String(40), sa.ForeignKey("account.id"), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger),
        sa.Column("revoked_at", sa.BigInteger),
        sa.Column("last_used_at", sa.BigInteger),
    )
    op.create_index("ix_api_key_account_created", "api_key", ["account_id", "created_at", "id"])
