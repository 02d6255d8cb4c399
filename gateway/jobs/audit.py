"""Do jobs, holds, attempts, pictures and deliveries agree? Read-only, in SQL: what is wrong is all that is
fetched.
"""

from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, func, or_, select

from billing.findings import Check, Finding, run
from billing.tables import hold, ledger_entry
from gateway.db.tables import attempt, image, job, outbox
from gateway.jobs.expiry import REMOVED
from gateway.jobs.records import TERMINAL

__all__ = ["CHECKS", "untold", "verify"]


def verify(conn: Connection, told_since: int = 0) -> list[Finding]:
    """Everything that breaks a rule of jobs: `CHECKS` and `untold`; empty when all is well. All the rules of
    money are `gateway.books`'.

    Args:
        conn: one snapshot: in one `Database.read`.
        told_since: as `untold`.
    """
    return [*run(conn, CHECKS, 0), *untold(conn, told_since)]


def untold(conn: Connection, since: int) -> list[Finding]:
    """Jobs that ended, and nobody is told as their delivery asks.

    Args:
        conn: the connection.
        since: of jobs that ended before, in milliseconds UTC, what told of it may be forgotten.
    """
    return run(conn, [_told(since)], 0)


_ENDED = job.c.status.in_(TERMINAL)
_HAS_PICTURES = select(image.c.id).where(image.c.job_id == job.c.id).exists()


def _holds() -> Select[Any]:
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
    columns = (
        job.c.id.label("subject"),
        job.c.status,
        job.c.charge_micros,
        hold.c.status.label("held_as"),
        captured.label("captured"),
    )
    return select(*columns).select_from(with_hold).where(wrong)


def _hold_detail(row: Row[Any]) -> str:
    held = "has no hold" if row.held_as is None else f"its hold is {row.held_as}, captured {row.captured}"
    return f"{row.status}, charged {row.charge_micros}; {held}"


def _lonely_holds() -> Select[Any]:
    return select(hold.c.job_id.label("subject")).where(~_job_of(hold.c.job_id))


def _lonely_entries() -> Select[Any]:
    of = ledger_entry.c.job_id
    return select(of.label("subject")).where(of.is_not(None), ~_job_of(of)).distinct()


def _job_of(job_id: ColumnElement[Any]) -> ColumnElement[bool]:
    return select(job.c.id).where(job.c.id == job_id).exists()


def _jobs(*wrong: ColumnElement[bool]) -> Select[Any]:
    return select(job.c.id.label("subject")).where(*wrong)


def _unended() -> Select[Any]:
    still = attempt.c.status.in_(("not_sent", "sent", "accepted"))
    done = select(job.c.id).where(job.c.id == attempt.c.job_id, job.c.status == "completed")
    columns = (attempt.c.id.label("subject"), attempt.c.job_id, attempt.c.status)
    return select(*columns).where(still, done.exists())


def _told(since: int) -> Check:
    return Check(
        code="end_not_told",
        rule="what tells of a job's end was written with it",
        query=_jobs(
            _ENDED,
            job.c.completed_at >= since,
            job.c.delivery.is_not(None),
            ~select(outbox.c.id).where(outbox.c.job_id == job.c.id).exists(),
        ),
        detail=lambda row: "it has ended, and nobody is told as its delivery asks",
    )


CHECKS = (
    Check(
        code="job_hold",
        rule="each job has a hold of its account, open as long as it is, which captured what it was charged",
        query=_holds(),
        detail=_hold_detail,
    ),
    Check(
        code="hold_without_job",
        rule="no hold is without its job",
        query=_lonely_holds(),
        detail=lambda row: "a hold, and no such job",
    ),
    Check(
        code="entries_without_job",
        rule="no entry is of a job that is not there",
        query=_lonely_entries(),
        detail=lambda row: "entries of it in the ledger, and no such job",
    ),
    Check(
        code="job_without_attempt",
        rule="each job has an attempt, but a run of a template, whose steps have",
        query=_jobs(
            job.c.template.is_(None), ~select(attempt.c.id).where(attempt.c.job_id == job.c.id).exists()
        ),
        detail=lambda row: "it has no attempt",
    ),
    Check(
        code="attempt_open",
        rule="each attempt of a completed job has ended",
        query=_unended(),
        detail=lambda row: f"{row.status}, and its job {row.job_id} is completed",
    ),
    Check(
        code="completed_without_picture",
        rule="what completed has pictures, or says that they were removed after their days",
        query=_jobs(job.c.status == "completed", ~_HAS_PICTURES, ~job.c.warnings.contains(REMOVED)),
        detail=lambda row: "completed, and it has no picture",
    ),
    Check(
        code="picture_not_charged",
        rule="what failed or was canceled has no pictures",
        query=_jobs(job.c.status.in_(("failed", "canceled")), _HAS_PICTURES),
        detail=lambda row: "it failed or was canceled, and it has pictures",
    ),
)
