"""The SQL of an operator's word on a job whose submit got no answer.

Such a job is `unknown`: nobody here knows whether the provider took it, its hold is kept and it
is never sent again. An operator finds out (at the provider's dashboard) and says so: it was
taken under this id, or it was not.
"""

import msgspec
from sqlalchemy import Connection, select, update

from gateway.db.tables import attempt, job
from gateway.jobs import store
from providers.base import Handle
from providers.errors import NotTaken

__all__ = ["adopt", "fail", "revive_run"]


def adopt(
    conn: Connection, job_id: str, handle: Handle, deadline_at: int, *, attempt_id: str | None = None
) -> bool:
    """Give an unknown job the handle under which the provider has it; it can be polled then.

    Of a job of several calls without an answer it is that attempt's, or the first one's; the others stay
    as they are.

    Returns:
        False when the job is not unknown (any more); nothing was changed.
    """
    changed = conn.execute(
        update(job)
        .where(job.c.id == job_id, job.c.status == "unknown")
        .values(status="running", deadline_at=deadline_at, owner=None, lease_until=None)
    )
    if changed.rowcount != 1:
        return False
    revive_run(conn, job_id)
    conn.execute(
        update(attempt)
        .where(attempt.c.id == (attempt_id or _unknown(conn, job_id)[0]))
        .values(
            status="accepted",
            handle=msgspec.json.encode(handle).decode(),
            error_code=None,
            error_message=None,
        )
    )
    return True


def fail(conn: Connection, job_id: str, at: int) -> bool:
    """End an unknown job that was not taken: its hold is released, nothing is charged.

    Returns:
        False when the job is not unknown (any more); nothing was changed.
    """
    # Locked: it must not be adopted between the look and the end.
    status = select(job.c.status).where(job.c.id == job_id).with_for_update(key_share=True)
    found = _unknown(conn, job_id)
    if not found or conn.execute(status).scalar_one() != "unknown":
        return False
    error = NotTaken("The provider did not take the job, as the operator found out. Nothing was charged.")
    revive_run(conn, job_id)
    return store.end_without_images(conn, job_id, [(one, error) for one in found], error, at)


def revive_run(conn: Connection, step_id: str) -> None:
    """Let the run go on that a step's job is of: it was unknown as long as that was."""
    run_id = select(job.c.parent_id).where(job.c.id == step_id).scalar_subquery()
    conn.execute(
        update(job)
        .where(job.c.id == run_id, job.c.status == "unknown")
        .values(status="running", owner=None, lease_until=None)
    )


def _unknown(conn: Connection, job_id: str) -> list[str]:
    """The attempts of a job that got no answer, in order."""
    mine = select(attempt.c.id).where(attempt.c.job_id == job_id, attempt.c.status == "unknown")
    return list(conn.execute(mine.order_by(attempt.c.number)).scalars())
