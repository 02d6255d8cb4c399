"""The SQL of a provider's own word that it took a submit whose answer nobody has, or not yet.

It comes by a webhook. Whichever of the two is first, the word or the end of waiting for the answer:
the attempt has its handle then, and the job is followed from there.
"""

import msgspec
from sqlalchemy import Connection, select, update

from gateway.db.tables import attempt
from gateway.jobs import queries, settle, store
from gateway.jobs.records import JobRow
from providers.base import Handle
from providers.errors import SubmitUnknown

__all__ = ["job_of_attempt", "leave_unknown", "note_taken"]


def job_of_attempt(conn: Connection, attempt_id: str) -> JobRow | None:
    """The job that an attempt is of; None when there is none (any more)."""
    job_id = conn.execute(select(attempt.c.job_id).where(attempt.c.id == attempt_id)).scalar_one_or_none()
    return None if job_id is None else queries.find_job(conn, job_id)


def note_taken(conn: Connection, job_id: str, attempt_id: str, handle: Handle, deadline_at: int) -> bool:
    """Give an attempt without one the handle under which its provider has it.

    Args:
        conn: inside a transaction.
        job_id: of the attempt.
        attempt_id: whose submit is under way, or got no answer.
        handle: of the provider's id.
        deadline_at: by when a job that was unknown is to end, in milliseconds UTC.

    Returns:
        True when the job was unknown: somebody has to start following it. An attempt that has a
        handle, or has ended, stays as it is.
    """
    waiting = (attempt.c.id == attempt_id, attempt.c.status == "sent", attempt.c.handle.is_(None))
    if conn.execute(update(attempt).where(*waiting).values(status="accepted")).rowcount == 1:
        store.accept_attempt(conn, job_id, attempt_id, handle)
        return False
    status = conn.execute(select(attempt.c.status).where(attempt.c.id == attempt_id)).scalar_one()
    return status == "unknown" and settle.adopt(conn, job_id, handle, deadline_at)


def leave_unknown(conn: Connection, job_id: str, attempt_id: str, error: SubmitUnknown) -> Handle | None:
    """Note that a submit got no answer, unless its provider has said meanwhile that it was taken.

    Returns:
        The handle to go on from; None when the job is unknown now.
    """
    query = select(attempt.c.handle).where(attempt.c.id == attempt_id).with_for_update()
    stored = conn.execute(query).scalar_one()
    if stored is not None:
        return msgspec.json.decode(stored, type=Handle)
    store.mark_unknown(conn, job_id, attempt_id, error)
    return None
