"""Runs of templates: a parent job, its steps, and the names of its outputs."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.add_column("job", sa.Column("template", sa.String(60)))
    op.add_column("job", sa.Column("parent_id", sa.String(40)))
    op.add_column("job", sa.Column("step", sa.String(40)))
    op.add_column("job", sa.Column("due_micros", sa.BigInteger))
    op.add_column("image", sa.Column("name", sa.String(60)))
    of_a_run = sa.text("parent_id is not null")
    op.create_index("ix_job_parent", "job", ["parent_id"], sqlite_where=of_a_run, postgresql_where=of_a_run)
