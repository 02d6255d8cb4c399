"""The gateway's tables. Times are milliseconds since 1970 UTC; structs are JSON text.

Billing's tables (wallet, hold, ledger_entry) are its own, in `billing.tables`; no foreign key
crosses between the two, so that permanent money rows never hang on prunable job rows.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)

__all__ = ["account", "api_key", "attempt", "image", "job", "media", "metadata"]

metadata = MetaData()

account = Table(
    "account",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("name", String(200), nullable=False),
    # normal, premium
    Column("tier", String(20), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("admin", Boolean, nullable=False, server_default=false()),
)

api_key = Table(
    "api_key",
    metadata,
    # The part of the key that is no secret: igw_<id>_...
    Column("id", String(12), primary_key=True),
    Column("account_id", String(40), ForeignKey("account.id"), nullable=False),
    Column("name", String(200), nullable=False),
    # SHA-256 of the secret
    Column("digest", String(64), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    Column("revoked_at", BigInteger),
    Column("last_used_at", BigInteger),
    Index("ix_api_key_account_created", "account_id", "created_at", "id"),
)

job = Table(
    "job",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("account_id", String(40), ForeignKey("account.id"), nullable=False),
    Column("end_user", String(200)),
    # scheduled, queued, running, storing, completed, failed, canceled, unknown
    Column("status", String(12), nullable=False),
    Column("model", String(200), nullable=False),
    Column("provider", String(100), nullable=False),
    Column("registry_version", String(12), nullable=False),
    # The request as admitted: gateway.jobs.records.Admitted
    Column("request", Text, nullable=False),
    Column("report", Text, nullable=False),
    Column("warnings", Text, nullable=False),
    Column("routing", Text, nullable=False),
    Column("quote_micros", BigInteger, nullable=False),
    Column("ceiling_micros", BigInteger, nullable=False),
    # What was charged; null until the job ends.
    Column("charge_micros", BigInteger),
    Column("error_code", String(60)),
    Column("error_message", Text),
    Column("error_status", Integer),
    Column("cancel_requested", Boolean, nullable=False, server_default=text("0")),
    Column("deadline_at", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("completed_at", BigInteger),
    Index("ix_job_account_created", "account_id", "created_at", "id"),
    # Jobs that have not ended: the start-up sweep reads these alone.
    Index(
        "ix_job_open",
        "status",
        sqlite_where=text("status not in ('completed', 'failed', 'canceled')"),
        postgresql_where=text("status not in ('completed', 'failed', 'canceled')"),
    ),
)

attempt = Table(
    "attempt",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("job_id", String(40), ForeignKey("job.id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("route_index", Integer, nullable=False),
    Column("provider", String(100), nullable=False),
    Column("endpoint", String(300), nullable=False),
    # not_sent, sent, accepted, succeeded, failed, unknown
    Column("status", String(12), nullable=False),
    # providers.base.Handle, stored before the first poll
    Column("handle", Text),
    Column("error_code", String(60)),
    Column("error_message", Text),
    Column("run_seconds", String(20)),
    Column("load_seconds", String(20)),
    Column("provider_cost_micros", BigInteger),
    Column("started_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
    UniqueConstraint("job_id", "number"),
)

image = Table(
    "image",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("job_id", String(40), ForeignKey("job.id"), nullable=False),
    Column("account_id", String(40), nullable=False),
    Column("position", Integer, nullable=False),
    Column("storage_key", String(300), nullable=False),
    Column("content_type", String(40), nullable=False),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("byte_size", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("seed", BigInteger),
    Column("created_at", BigInteger, nullable=False),
    UniqueConstraint("job_id", "position"),
)

# Users' pictures and weights, as uploaded or fetched.
media = Table(
    "media",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("account_id", String(40), ForeignKey("account.id"), nullable=False),
    # image, lora
    Column("kind", String(10), nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("content_type", String(40), nullable=False),
    Column("byte_size", BigInteger, nullable=False),
    Column("width", Integer),
    Column("height", Integer),
    Column("storage_key", String(300), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Index("ix_media_account_created", "account_id", "created_at", "id"),
)
