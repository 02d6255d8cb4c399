"""Accounts whose jobs wait for windows although they need not."""

from sqlalchemy import Connection

from gateway.accounts.rows import find_account
from gateway.jobs.queries import waiting_accounts

__all__ = ["premium_waiting"]


def premium_waiting(conn: Connection, at: int) -> list[str]:
    """Accounts that are premium at a time, in milliseconds UTC, and have jobs that wait."""
    rows = (find_account(conn, account_id) for account_id in waiting_accounts(conn))
    return [row.id for row in rows if row is not None and row.tier_at(at) == "premium"]
