"""The SQL of jobs: plain functions that take a connection and are told the time.

Each function is one step of a job's life and leaves the tables consistent. What ends a job
ends its hold in the same transaction, and does nothing at all when the job has ended already:
so a job has one end, and one charge, whoever comes second.
"""

from typing import Any

import msgspec
from sqlalchemy import Connection, insert, select, update

from billing import ledger
from gateway.db.tables import attempt, image, job
from gateway.jobs.records import TERMINAL, Admitted, NewImage
from gateway.schemas import RoutingView
from providers.base import Handle
from providers.errors import ProviderError
from providers.normalizer import ReportRow

__all__ = [
    "NewAttempt",
    "NewJob",
    "accept_attempt",
    "admit",
    "complete",
    "end_without_images",
    "mark_unknown",
    "next_attempt",
    "request_cancel",
    "send_attempt",
]

_json = msgspec.json.Encoder(decimal_format="string")


class NewAttempt(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt about to be made."""

    id: str
    number: int
    candidate: int
    """Index among the job's candidates."""
    provider: str
    endpoint: str


class NewJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job about to be let in."""

    id: str
    account_id: str
    end_user: str | None
    model: str
    registry_version: str
    admitted: Admitted
    report: tuple[ReportRow, ...]
    warnings: tuple[str, ...]
    routing: RoutingView
    quote_micros: int
    ceiling_micros: int
    deadline_at: int
    attempt: NewAttempt


def _text(value: Any) -> str:
    return _json.encode(value).decode()


def admit(conn: Connection, new: NewJob, at: int) -> None:
    """Let a job in: its row, its hold and its first attempt, or nothing.

    Raises:
        InsufficientFunds: the account cannot pay the ceiling.
    """
    conn.execute(
        insert(job).values(
            id=new.id,
            account_id=new.account_id,
            end_user=new.end_user,
            status="queued",
            model=new.model,
            provider=new.attempt.provider,
            registry_version=new.registry_version,
            request=_text(new.admitted),
            report=_text(new.report),
            warnings=_text(new.warnings),
            routing=_text(new.routing),
            quote_micros=new.quote_micros,
            ceiling_micros=new.ceiling_micros,
            deadline_at=new.deadline_at,
            created_at=at,
        )
    )
    ledger.place_hold(conn, job_id=new.id, account_id=new.account_id, amount_micros=new.ceiling_micros, at=at)
    _insert_attempt(conn, new.id, new.attempt, at)


def _insert_attempt(conn: Connection, job_id: str, new: NewAttempt, at: int) -> None:
    conn.execute(
        insert(attempt).values(
            id=new.id,
            job_id=job_id,
            number=new.number,
            route_index=new.candidate,
            provider=new.provider,
            endpoint=new.endpoint,
            status="not_sent",
            started_at=at,
        )
    )


def send_attempt(conn: Connection, attempt_id: str) -> None:
    """Note that a submit is about to go out; from here on it may have been taken."""
    conn.execute(
        update(attempt)
        .where(attempt.c.id == attempt_id, attempt.c.status == "not_sent")
        .values(status="sent")
    )


def accept_attempt(conn: Connection, job_id: str, attempt_id: str, handle: Handle) -> None:
    """Store a handle, before the first poll."""
    conn.execute(
        update(attempt).where(attempt.c.id == attempt_id).values(status="accepted", handle=_text(handle))
    )
    conn.execute(
        update(job)
        .where(job.c.id == job_id, job.c.status.in_(("queued", "unknown")))
        .values(status="running")
    )


def fail_attempt(conn: Connection, attempt_id: str, error: ProviderError, at: int) -> None:
    """Note how an attempt ended."""
    conn.execute(
        update(attempt)
        .where(attempt.c.id == attempt_id)
        .values(status="failed", error_code=error.code, error_message=error.message, ended_at=at)
    )


def next_attempt(
    conn: Connection, job_id: str, failed_id: str, error: ProviderError, new: NewAttempt, at: int
) -> None:
    """Give one attempt up and open the next."""
    fail_attempt(conn, failed_id, error, at)
    _insert_attempt(conn, job_id, new, at)
    conn.execute(update(job).where(job.c.id == job_id).values(status="queued", provider=new.provider))


def mark_unknown(conn: Connection, job_id: str, attempt_id: str, error: ProviderError) -> None:
    """A submit got no answer: the hold is kept until somebody finds out what became of it."""
    conn.execute(
        update(attempt)
        .where(attempt.c.id == attempt_id)
        .values(status="unknown", error_code=error.code, error_message=error.message)
    )
    conn.execute(
        update(job).where(job.c.id == job_id, job.c.status.not_in(TERMINAL)).values(status="unknown")
    )


def complete(
    conn: Connection,
    job_id: str,
    attempt_id: str,
    images: tuple[NewImage, ...],
    charge_micros: int,
    at: int,
    *,
    warnings: tuple[str, ...] | None = None,
    run_seconds: float | None,
    load_seconds: float | None,
    provider_cost_micros: int,
) -> bool:
    """End a job well: images, charge and state in one transaction. False if it had ended already."""
    owner = _end(conn, job_id, "completed", charge_micros, at)
    if owner is None:
        return False
    if warnings is not None:
        conn.execute(update(job).where(job.c.id == job_id).values(warnings=_text(warnings)))
    ledger.capture(conn, job_id=job_id, amount_micros=charge_micros, at=at)
    for new in images:
        row = msgspec.structs.asdict(new)
        conn.execute(insert(image).values(**row, job_id=job_id, account_id=owner, created_at=at))
    conn.execute(
        update(attempt)
        .where(attempt.c.id == attempt_id)
        .values(
            status="succeeded",
            ended_at=at,
            run_seconds=None if run_seconds is None else f"{run_seconds:.3f}",
            load_seconds=None if load_seconds is None else f"{load_seconds:.3f}",
            provider_cost_micros=provider_cost_micros,
        )
    )
    return True


def end_without_images(
    conn: Connection, job_id: str, attempt_id: str | None, error: ProviderError, at: int
) -> bool:
    """End a job as failed or canceled; nothing is charged. False if it had ended already."""
    status = "canceled" if error.code == "canceled" else "failed"
    if _end(conn, job_id, status, 0, at, error) is None:
        return False
    ledger.release(conn, job_id=job_id, at=at)
    if attempt_id is not None:
        fail_attempt(conn, attempt_id, error, at)
    return True


def _end(
    conn: Connection,
    job_id: str,
    status: str,
    charge_micros: int,
    at: int,
    error: ProviderError | None = None,
) -> str | None:
    """Move a job to a terminal state unless it is in one; its account, or None."""
    changed = conn.execute(
        update(job)
        .where(job.c.id == job_id, job.c.status.not_in(TERMINAL))
        .values(
            status=status,
            charge_micros=charge_micros,
            completed_at=at,
            error_code=error.code if error else None,
            error_message=error.message if error else None,
            error_status=error.http_status if error else None,
        )
    )
    if changed.rowcount != 1:
        return None
    return str(conn.execute(select(job.c.account_id).where(job.c.id == job_id)).scalar_one())


def request_cancel(conn: Connection, job_id: str, account_id: str) -> str | None:
    """Ask for a job's end; its status, or None when the account has no such job."""
    mine = job.c.id == job_id, job.c.account_id == account_id
    conn.execute(update(job).where(*mine, job.c.status.not_in(TERMINAL)).values(cancel_requested=True))
    return conn.execute(select(job.c.status).where(*mine)).scalar_one_or_none()
