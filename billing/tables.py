"""Billing's tables. Money is whole micro-dollars (1 USD = 1,000,000), time milliseconds UTC."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Index,
    MetaData,
    String,
    Table,
    UniqueConstraint,
)

__all__ = ["hold", "ledger_entry", "metadata", "wallet"]

metadata = MetaData()

# One row an account: the balances that admission checks and changes in one statement. They
# are a cache of the ledger's sums, and `billing.ledger.verify` compares the two.
wallet = Table(
    "wallet",
    metadata,
    Column("account_id", String(40), primary_key=True),
    # A postpaid wallet (the local operator's) may go below zero.
    Column("postpaid", Boolean, nullable=False),
    Column("available_micros", BigInteger, nullable=False),
    Column("held_micros", BigInteger, nullable=False),
    CheckConstraint("postpaid or available_micros >= 0", name="ck_wallet_available"),
    CheckConstraint("held_micros >= 0", name="ck_wallet_held"),
)

hold = Table(
    "hold",
    metadata,
    Column("job_id", String(40), primary_key=True),
    Column("account_id", String(40), nullable=False),
    Column("amount_micros", BigInteger, nullable=False),
    # open, captured, released
    Column("status", String(10), nullable=False),
    Column("captured_micros", BigInteger),
    Column("created_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
    CheckConstraint("amount_micros >= 0", name="ck_hold_amount"),
    CheckConstraint("captured_micros is null or captured_micros <= amount_micros", name="ck_hold_captured"),
)

# Append-only, double entry: the rows of one transaction sum to zero.
ledger_entry = Table(
    "ledger_entry",
    metadata,
    # <job_id>:<kind>:<n>
    Column("id", String(60), primary_key=True),
    # The job, or the top-up's own reference.
    Column("job_id", String(40), nullable=False),
    # hold, capture, release, topup
    Column("kind", String(10), nullable=False),
    # available:<account>, held:<account>, revenue (what was earned), funding (what was paid in)
    Column("ledger_account", String(60), nullable=False),
    Column("amount_micros", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    UniqueConstraint("job_id", "kind", "ledger_account"),
    Index("ix_ledger_account", "ledger_account"),
)
