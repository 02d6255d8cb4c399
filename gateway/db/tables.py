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
    TextClause,
    UniqueConstraint,
    false,
    text,
)

__all__ = [
    "account",
    "api_key",
    "attempt",
    "audit",
    "batch",
    "bucket",
    "idempotency",
    "image",
    "invite",
    "job",
    "login",
    "media",
    "metadata",
    "outbox",
    "progress",
    "reset",
    "session",
    "signup",
    "webhook",
]

metadata = MetaData()


def _partial(name: str, *columns: str, where: TextClause) -> Index:
    """An index of some of the rows."""
    return Index(name, *columns, sqlite_where=where, postgresql_where=where)


EVERY_SCOPE = "generate read manage admin"
"""What a key may do unless it says otherwise."""

account = Table(
    "account",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("name", String(200), nullable=False),
    # normal, premium
    Column("tier", String(20), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("admin", Boolean, nullable=False, server_default=false()),
    # Until when the tier holds; it is `normal` afterwards. Null: for good.
    Column("tier_until", BigInteger),
    # An admin closed it: nobody signs in, no key works, what it has stays.
    Column("closed_at", BigInteger),
    # Equal requests without an Idempotency-Key within so many seconds are one; null: as the settings say.
    Column("resend_window_s", Integer),
    # A key of the registry's `price_lists`; null: everybody's prices.
    Column("price_list", String(60)),
)

# How a person signs in to an account. An account that programs alone use has none.
login = Table(
    "login",
    metadata,
    Column("account_id", String(40), ForeignKey("account.id"), primary_key=True),
    # Small letters
    Column("email", String(254), nullable=False, unique=True),
    Column("password_hash", String(255), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("password_changed_at", BigInteger, nullable=False),
)

session = Table(
    "session",
    metadata,
    # SHA-256 of the token
    Column("digest", String(64), primary_key=True),
    Column("account_id", String(40), ForeignKey("account.id"), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("seen_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    # The network that it was opened from: /24 or /64
    Column("network", String(50), nullable=False),
    Column("user_agent", String(200), nullable=False),
    Index("ix_session_account", "account_id", "network"),
)

# A sign-up whose link was mailed and not followed yet; the account is made when it is.
signup = Table(
    "signup",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("email", String(254), nullable=False),
    Column("password_hash", String(255), nullable=False),
    Column("tier", String(20), nullable=False),
    Column("invite_id", String(40)),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("used_at", BigInteger),
)

# A mailed link to set a new password.
reset = Table(
    "reset",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("account_id", String(40), ForeignKey("account.id"), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("used_at", BigInteger),
)

invite = Table(
    "invite",
    metadata,
    Column("id", String(40), primary_key=True),
    # For whom; null: for whoever has it
    Column("email", String(254)),
    Column("tier", String(20), nullable=False),
    Column("created_by", String(40), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("used_by", String(40)),
    Column("used_at", BigInteger),
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
    # What it may do, with blanks: gateway.accounts.scopes
    Column("scopes", String(60), nullable=False, server_default=EVERY_SCOPE),
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
    Column("cancel_requested", Boolean, nullable=False, server_default=false()),
    Column("deadline_at", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("completed_at", BigInteger),
    # The API key that it came with
    Column("key_id", String(12)),
    # The process that drives it; null: nobody does.
    Column("owner", String(40)),
    # Until when, by the clock that `gateway.jobs.leases` says; whoever is late finds another `fence`.
    Column("lease_until", BigInteger),
    # One more with each owner: what an earlier one still writes changes nothing.
    Column("fence", Integer, nullable=False, server_default=text("0")),
    # The batch window that it waits for, and ran in
    Column("runs_at", BigInteger),
    # The same for jobs that one warm pipeline can serve together
    Column("group_key", String(64)),
    Column("batch_id", String(40)),
    # How its end is told: gateway.jobs.records.Delivery
    Column("delivery", Text),
    # Of a template's run: its name
    Column("template", String(60)),
    # Of a step of a run: the run's job, the step's name, and what its pictures cost the run
    Column("parent_id", String(40)),
    Column("step", String(40)),
    Column("due_micros", BigInteger),
    Index("ix_job_account_created", "account_id", "created_at", "id"),
    # Lists and counts of one status; everybody's jobs.
    Index("ix_job_account_status", "account_id", "status", "created_at", "id"),
    Index("ix_job_created", "created_at", "id"),
    Index("ix_job_key", "key_id"),
    # Jobs that have not ended: the start-up sweep reads these alone.
    _partial("ix_job_open", "status", where=text("status not in ('completed', 'failed', 'canceled')")),
    _partial("ix_job_parent", "parent_id", where=text("parent_id is not null")),
    _partial("ix_job_window", "runs_at", "group_key", where=text("status = 'scheduled'")),
)

# Jobs of one batch window that are served together.
batch = Table(
    "batch",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("window_at", BigInteger, nullable=False),
    Column("group_key", String(64), nullable=False),
    Column("model", String(200), nullable=False),
    Column("jobs", Integer, nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
)

# How far a job is, for whoever looks from another process; written now and then while it runs.
progress = Table(
    "progress",
    metadata,
    Column("job_id", String(40), ForeignKey("job.id"), primary_key=True),
    # One more with each write
    Column("version", Integer, nullable=False),
    # gateway.jobs.progress.Progress
    Column("body", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
)

# Requests that cost money, by the key that their client gave them: sent again, they are answered again.
idempotency = Table(
    "idempotency",
    metadata,
    Column("account_id", String(40), ForeignKey("account.id"), primary_key=True),
    Column("key", String(300), primary_key=True),
    # SHA-256 of the method, the path and the body
    Column("request_sha256", String(64), nullable=False),
    Column("job_id", String(40), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    # By when the first of them is answered
    Column("answer_by", BigInteger, nullable=False),
    Column("answered_at", BigInteger),
    Column("expires_at", BigInteger, nullable=False),
    Index("ix_idempotency_expires", "expires_at"),
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
    # The prompt that the provider says that it drew
    Column("revised_prompt", Text),
    # Of a candidate that takes several calls, which one
    Column("call_index", Integer, nullable=False, server_default=text("0")),
    # What the provider counted, in its own unit: a decimal
    Column("billable_units", String(40)),
    # What it should have billed by our list of its prices
    Column("listed_cost_micros", BigInteger),
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
    # Of a template's output
    Column("name", String(60)),
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

# How much is left of a limit, shared by all replicas: gateway.limits.
bucket = Table(
    "bucket",
    metadata,
    Column("key", String(120), primary_key=True),
    # Millionths of a request that may come at once, as of `at`
    Column("level", BigInteger, nullable=False),
    Column("at", BigInteger, nullable=False),
)

# Where an account is called when its jobs end.
webhook = Table(
    "webhook",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("account_id", String(40), ForeignKey("account.id"), nullable=False),
    Column("url", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    # Nothing is sent to it any more
    Column("disabled_at", BigInteger),
    Column("disabled_why", Text),
    UniqueConstraint("account_id", "url"),
)

# What is to be delivered, at least once: written in the transaction that it tells of.
outbox = Table(
    "outbox",
    metadata,
    Column("id", String(40), primary_key=True),
    # email, webhook
    Column("kind", String(10), nullable=False),
    # An address of mail, or a URL
    Column("recipient", Text, nullable=False),
    # gateway.mail.letters.Letter, or the body of a call
    Column("message", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("due_at", BigInteger, nullable=False),
    Column("tries", Integer, nullable=False, server_default=text("0")),
    Column("sent_at", BigInteger),
    Column("failed_at", BigInteger),
    Column("error", Text),
    # Whose it is, for what tells of a job; null: a letter of the gateway's own
    Column("account_id", String(40)),
    Column("job_id", String(40)),
    Column("webhook_id", String(40)),
    # HTTP status of the last answer to a call
    Column("status_code", Integer),
    _partial("ix_outbox_due", "due_at", where=text("sent_at is null and failed_at is null")),
    Index("ix_outbox_account", "account_id", "created_at", "id"),
    Index("ix_outbox_job", "job_id"),
)

# Who did what to whose account: written in the same transaction, never changed.
audit = Table(
    "audit",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("at", BigInteger, nullable=False),
    # The account that acted
    Column("actor", String(40), nullable=False),
    # With what: key:<id>, session, operator
    Column("credential", String(40), nullable=False),
    Column("action", String(40), nullable=False),
    # What was acted on
    Column("subject", String(40), nullable=False),
    # JSON
    Column("detail", Text, nullable=False),
    Column("address", String(50), nullable=False),
    Index("ix_audit_at", "at", "id"),
    Index("ix_audit_subject", "subject", "at"),
)
