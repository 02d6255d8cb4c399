"""Do jobs, holds, attempts, pictures and deliveries agree? Read-only, in SQL: what is wrong is all that is
fetched.
"""

from collections.abc import Iterator

from sqlalchemy import ColumnElement, Connection, Select, and_, func, or_, select

from billing.ledger import Finding
from billing.tables import hold
from gateway.db.tables import attempt, image, job, outbox
from gateway.jobs.expiry import REMOVED
from gateway.jobs.records import TERMINAL

__all__ = ["verify"]


def verify(conn: Connection, told_since: int = 0) -> list[Finding]:
    """Everything that breaks a rule of jobs; empty when all is well. The ledger's own rules are
    `billing.ledger.verify`'s.

    Args:
        conn: inside a transaction.
        told_since: of jobs that ended before, in milliseconds UTC, what told of their end may be forgotten.

    - each job has a hold of its account and an attempt, and no hold is without its job;
    - the hold is open as long as the job is, and has captured what the job says that was charged;
    - what completed has pictures, or says that they were removed after their days;
    - what failed or was canceled cost nothing, and has no pictures;
    - what tells of a job's end was written with it.

    Run it on one snapshot: in one `Database.read`.
    """
    return [*_holds(conn), *_attempts(conn), *_pictures(conn), *_deliveries(conn, told_since)]


_ENDED = job.c.status.in_(TERMINAL)
_HAS_PICTURES = select(image.c.id).where(image.c.job_id == job.c.id).exists()


def _holds(conn: Connection) -> Iterator[Finding]:
    with_hold = job.outerjoin(hold, hold.c.job_id == job.c.id)
    captured = func.coalesce(hold.c.captured_micros, 0)
    wrong: ColumnElement[bool] = or_(
        hold.c.job_id.is_(None),
        hold.c.account_id != job.c.account_id,
        hold.c.amount_micros != job.c.ceiling_micros,
        and_(_ENDED, hold.c.status == "open"),
        and_(~_ENDED, hold.c.status != "open"),
        and_(job.c.status == "completed", hold.c.status != "captured"),
        and_(job.c.status.in_(("failed", "canceled")), hold.c.status != "released"),
        and_(_ENDED, func.coalesce(job.c.charge_micros, -1) != captured),
        and_(~_ENDED, job.c.charge_micros.is_not(None)),
        job.c.completed_at.is_not(None) != _ENDED,
    )
    columns = (job.c.id, job.c.status, job.c.charge_micros, hold.c.status.label("held_as"), captured)
    for row in conn.execute(select(*columns).select_from(with_hold).where(wrong)):
        is_held = "has no hold" if row.held_as is None else f"its hold is {row.held_as}, captured {row[4]}"
        yield Finding(
            code="job_hold", subject=row.id, detail=f"{row.status}, charged {row.charge_micros}; {is_held}"
        )
    lonely = select(hold.c.job_id).where(~select(job.c.id).where(job.c.id == hold.c.job_id).exists())
    for job_id in conn.execute(lonely).scalars():
        yield Finding(code="hold_without_job", subject=job_id, detail="a hold, and no such job")


def _attempts(conn: Connection) -> Iterator[Finding]:
    none = ~select(attempt.c.id).where(attempt.c.job_id == job.c.id).exists()
    yield from _found(conn, select(job.c.id).where(none), "job_without_attempt", "it has no attempt")


def _pictures(conn: Connection) -> Iterator[Finding]:
    bare = select(job.c.id).where(
        job.c.status == "completed", ~_HAS_PICTURES, ~job.c.warnings.contains(REMOVED)
    )
    yield from _found(conn, bare, "completed_without_picture", "completed, and it has no picture")
    free = select(job.c.id).where(job.c.status.in_(("failed", "canceled")), _HAS_PICTURES)
    yield from _found(conn, free, "picture_not_charged", "it failed or was canceled, and it has pictures")


def _deliveries(conn: Connection, since: int) -> Iterator[Finding]:
    untold = select(job.c.id).where(
        _ENDED,
        job.c.completed_at >= since,
        job.c.delivery.is_not(None),
        ~select(outbox.c.id).where(outbox.c.job_id == job.c.id).exists(),
    )
    yield from _found(conn, untold, "end_not_told", "it has ended, and nobody is told as its delivery asks")


def _found(conn: Connection, query: Select[str], code: str, detail: str) -> Iterator[Finding]:
    for subject in conn.execute(query).scalars():
        yield Finding(code=code, subject=subject, detail=detail)
