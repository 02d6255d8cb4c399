"""The SQL of pictures that are kept for a time alone. Their jobs stay, and say what became of them."""

from collections.abc import Sequence

import msgspec
from sqlalchemy import Connection, delete, select, update

from gateway.db.tables import image, job
from gateway.jobs.records import TERMINAL
from gateway.jobs.store import as_text

__all__ = ["REMOVED", "expired_jobs", "remove_pictures"]

REMOVED = "its pictures were removed"
"""How the warning of a job begins whose pictures are gone: `gateway.jobs.audit` knows it by that."""


def expired_jobs(conn: Connection, before: int, limit: int) -> list[str]:
    """Jobs that ended before a time, in milliseconds UTC, and have pictures; at most so many."""
    old = select(job.c.id).where(job.c.status.in_(TERMINAL), job.c.completed_at < before)
    query = old.where(select(image.c.id).where(image.c.job_id == job.c.id).exists())
    return list(conn.execute(query.limit(limit)).scalars())


def remove_pictures(conn: Connection, job_ids: Sequence[str], days: int) -> list[str]:
    """Remove the rows of ended jobs' pictures, and say so in the jobs.

    Args:
        conn: inside a transaction.
        job_ids: of `expired_jobs`. What another process has removed meanwhile is left alone.
        days: for how many pictures are kept.

    Returns:
        The keys of their files, which have no row once this is committed.
    """
    keys: list[str] = []
    for job_id in job_ids:
        gone = delete(image).where(image.c.job_id == job_id).returning(image.c.storage_key)
        found = list(conn.execute(gone).scalars())
        if found:
            keys += found
            _note(conn, job_id, days)
    return keys


def _note(conn: Connection, job_id: str, days: int) -> None:
    mine = job.c.id == job_id
    text = conn.execute(select(job.c.warnings).where(mine)).scalar_one()
    warnings = msgspec.json.decode(text, type=tuple[str, ...])
    kept = f"{REMOVED}: they are kept for {days} day{'s' if days > 1 else ''}"
    conn.execute(update(job).where(mine).values(warnings=as_text((*warnings, kept))))
