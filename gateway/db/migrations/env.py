"""Alembic's entry point. `gateway.db.migrate` hands it a connection that is in a transaction."""

from alembic import context

import billing.tables
import gateway.db.tables

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=[gateway.db.tables.metadata, billing.tables.metadata],
    # SQLite changes a table by building it anew.
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
