"""Usage by day, counted in the transaction that ends a job: a report never reads the jobs themselves."""

from msgspec import Struct
from sqlalchemy import Connection

from billing.sql import Upsert
from billing.tables import COUNTS, usage_day, usage_user

__all__ = ["DAY_MS", "Ended", "day_of", "record_end", "record_refund"]

DAY_MS = 86_400_000

_DAY = Upsert(usage_day, COUNTS)
_USER = Upsert(usage_user, COUNTS)


class Ended(Struct, frozen=True, kw_only=True):
    """A job that ended. Money is micro-dollars."""

    account_id: str
    model: str
    provider: str
    key_id: str | None
    end_user: str | None
    status: str
    """completed, failed or canceled"""
    images: int
    quote_micros: int
    charge_micros: int
    cost_micros: int
    """What its provider bills."""
    listed_micros: int
    """What it should bill by our list of its prices."""


def day_of(at: int) -> int:
    """The day (UTC) of a time in milliseconds, in days since 1970."""
    return at // DAY_MS


def record_end(conn: Connection, job: Ended, at: int) -> None:
    """Count a job that ends now, once: call it where its state changes.

    Args:
        conn: inside the transaction that ends it.
        job: what ended.
        at: milliseconds UTC.
    """
    counts = {
        "jobs": 1,
        **{name: int(job.status == name) for name in ("completed", "failed", "canceled")},
        "images": job.images,
        "quote_micros": job.quote_micros,
        "charge_micros": job.charge_micros,
        "refund_micros": 0,
        "cost_micros": job.cost_micros,
        "listed_micros": job.listed_micros,
    }
    _add(conn, job.account_id, job.model, job.provider, job.key_id, job.end_user, counts, at)


def record_refund(
    conn: Connection,
    *,
    account_id: str,
    model: str,
    provider: str,
    key_id: str | None,
    end_user: str | None,
    amount_micros: int,
    at: int,
) -> None:
    """Count what was given back of a job's charge, on the day on which it was.

    Args:
        conn: inside the transaction that gives it back.
        account_id: whose job it is.
        model: of the job, like what follows.
        provider: of the job.
        key_id: of the job.
        end_user: of the job.
        amount_micros: above 0.
        at: milliseconds UTC.
    """
    counts = dict.fromkeys(COUNTS, 0) | {"refund_micros": amount_micros}
    _add(conn, account_id, model, provider, key_id, end_user, counts, at)


def _add(
    conn: Connection,
    account_id: str,
    model: str,
    provider: str,
    key_id: str | None,
    end_user: str | None,
    counts: dict[str, int],
    at: int,
) -> None:
    row = {
        "account_id": account_id,
        "day": day_of(at),
        "model": model,
        "provider": provider,
        "key_id": key_id or "",
        **counts,
    }
    _DAY.add(conn, row)
    if end_user is not None:
        _USER.add(conn, row | {"end_user": end_user})
