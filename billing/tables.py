"""Billing's tables. Money is whole micro-dollars (1 USD = 1,000,000), time milliseconds UTC."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

__all__ = [
    "COUNTS",
    "budget",
    "hold",
    "ledger_entry",
    "metadata",
    "spend",
    "usage_day",
    "usage_user",
    "wallet",
]

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
    # <reference>:<kind>:<n>
    Column("id", String(60), primary_key=True),
    # What was done, by its own id: the job, the attempt of a cost, a payment, a refund
    Column("reference", String(40), nullable=False),
    # hold, capture, release; cost; topup, promotion, refund, payout, adjustment
    Column("kind", String(10), nullable=False),
    # available:<account>, held:<account>, revenue (what was earned), funding (what was paid in),
    # promotions (what was given), adjustments, cost:<provider> (what it bills us), payable:<provider>
    Column("ledger_account", String(120), nullable=False),
    Column("amount_micros", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    # The job that it is about, where that is not the reference itself
    Column("job_id", String(40)),
    # Why, in a person's words
    Column("note", Text),
    UniqueConstraint("reference", "kind", "ledger_account"),
    # With what sums and lists of a kind need, so that they read no rows: an account may have millions.
    Index("ix_ledger_account", "ledger_account", "created_at", "id", "kind", "amount_micros"),
    Index(
        "ix_ledger_job",
        "job_id",
        sqlite_where=text("job_id is not null"),
        postgresql_where=text("job_id is not null"),
    ),
)

# The most that may be spent in a calendar month (UTC), or in all.
budget = Table(
    "budget",
    metadata,
    Column("account_id", String(40), primary_key=True),
    # account, key, user
    Column("kind", String(10), primary_key=True),
    # The key's id; the user's, or * for each user that has no row of its own; empty for the account
    Column("subject", String(200), primary_key=True),
    # month, all
    Column("period", String(7), primary_key=True),
    Column("limit_micros", BigInteger, nullable=False),
)

# What counts against budgets: the ceilings of jobs under way and the charges of those that ended, of jobs let
# in within the period. A row is there where a budget is, or was.
spend = Table(
    "spend",
    metadata,
    Column("account_id", String(40), primary_key=True),
    Column("kind", String(10), primary_key=True),
    Column("subject", String(200), primary_key=True),
    # 2026-11, or all
    Column("period", String(7), primary_key=True),
    Column("used_micros", BigInteger, nullable=False),
)

COUNTS = (
    "jobs",
    "completed",
    "failed",
    "canceled",
    "images",
    "quote_micros",
    "charge_micros",
    "refund_micros",
    "cost_micros",
    "listed_micros",
)
"""What usage counts. `cost` is what providers bill, `listed` what they should by our list of their prices."""


def _usage(name: str, *more: Column[str]) -> Table:
    """Jobs by the day (UTC, days since 1970) on which they ended."""
    return Table(
        name,
        metadata,
        Column("account_id", String(40), primary_key=True),
        Column("day", Integer, primary_key=True, autoincrement=False),
        *more,
        Column("model", String(200), primary_key=True),
        Column("provider", String(100), primary_key=True),
        # Empty: no key
        Column("key_id", String(12), primary_key=True),
        *(Column(name, BigInteger, nullable=False) for name in COUNTS),
    )


usage_day = _usage("usage_day")
# Of jobs with a `userId` alone: there may be as many rows as jobs.
usage_user = _usage("usage_user", Column("end_user", String(200), primary_key=True))
