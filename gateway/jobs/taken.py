"""The SQL of a provider's own word that it took a submit whose answer nobody has, or not yet.

It comes by a webhook. Whichever of the two is first, the word or the end of waiting for the answer:
the attempt has its handle then, and the job is followed from there.
"""

from collections.abc import Sequence

import msgspec
from sqlalchemy import Connection, select, update

from gateway.db.tables import attempt
from gateway.jobs import queries, settle, store
from gateway.jobs.records import JobRow
from providers.base import Handle

__all__ = ["handles_of", "job_of_attempt", "leave_unknown", "note_taken"]


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
    return status == "unknown" and settle.adopt(conn, job_id, handle, deadline_at, attempt_id=attempt_id)


def leave_unknown(
    conn: Connection, job_id: str, lost: Sequence[store.Lost], asked: Sequence[str], at: int
) -> dict[str, Handle]:
    """Note that submits got no answer, unless their provider has said meanwhile that it took one.

    Args:
        conn: inside a transaction.
        job_id: of the attempts.
        lost: every attempt that gave nothing, and why.
        asked: ids of those that have no handle as far as is known.
        at: now, in milliseconds UTC.

    Returns:
        The handles to go on from, by attempt; nothing was changed then. None of them: the job is unknown.
    """
    found = handles_of(conn, asked)
    if not found:
        store.mark_unknown(conn, job_id, lost, at)
    return found


def handles_of(conn: Connection, attempt_ids: Sequence[str]) -> dict[str, Handle]:
    """The handles that these attempts have, locked until the transaction ends."""
    # Those without one too: who is about to give them one is waited for.
    query = select(attempt.c.id, attempt.c.handle).where(attempt.c.id.in_(attempt_ids)).with_for_update()
    rows = conn.execute(query).all()
    return {row.id: msgspec.json.decode(row.handle, type=Handle) for row in rows if row.handle is not None}
