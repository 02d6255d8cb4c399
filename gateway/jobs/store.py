"""The SQL of jobs: plain functions that take a connection and are told the time.

Each function is one step of a job's life and leaves the tables consistent. What ends a job
ends its hold in the same transaction, and does nothing at all when the job has ended already:
so a job has one end, and one charge, whoever comes second.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, delete, insert, select, update

from billing import costs, ledger
from gateway.db.tables import attempt, image, job
from gateway.faults import point
from gateway.jobs.ending import count_end, end_job
from gateway.jobs.records import TERMINAL, NewAttempt, NewImage
from gateway.planning import Candidate
from providers.base import Handle
from providers.errors import JobCanceled, ProviderError, SubmitUnknown

__all__ = [
    "Lost",
    "NewAttempt",
    "Share",
    "accept_attempt",
    "as_text",
    "complete",
    "complete_run",
    "end_without_images",
    "insert_attempt",
    "keep_share",
    "mark_unknown",
    "next_attempt",
    "next_candidate",
    "request_cancel",
    "send_attempt",
]

_json = msgspec.json.Encoder(decimal_format="string")


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """What one call of a job gave."""

    attempt_id: str
    images: tuple[NewImage, ...]
    run_seconds: float | None
    load_seconds: float | None
    provider_cost_micros: int
    """What the provider bills for it."""
    listed_cost_micros: int | None = None
    """What it should bill by our list of its prices."""
    billable_units: str | None = None
    """What the provider counted, in its own unit."""
    revised_prompt: str | None = None


Lost = tuple[str, ProviderError]
"""An attempt that gave no picture, by its id, and why."""


def as_text(value: Any) -> str:
    """A struct as the JSON text of a column."""
    return _json.encode(value).decode()


def insert_attempt(conn: Connection, job_id: str, new: NewAttempt, at: int) -> None:
    """Open an attempt, of which nothing is sent yet."""
    conn.execute(
        insert(attempt).values(
            id=new.id,
            job_id=job_id,
            number=new.number,
            route_index=new.candidate,
            call_index=new.call,
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
        update(attempt).where(attempt.c.id == attempt_id).values(status="accepted", handle=as_text(handle))
    )
    conn.execute(
        update(job)
        .where(job.c.id == job_id, job.c.status.in_(("queued", "unknown")))
        .values(status="running")
    )


def fail_attempt(conn: Connection, attempt_id: str, error: ProviderError, at: int) -> None:
    """Note how an attempt ended. One that has succeeded did, whatever became of its job."""
    conn.execute(
        update(attempt)
        .where(attempt.c.id == attempt_id, attempt.c.status != "succeeded")
        .values(status="failed", error_code=error.code, error_message=error.message, ended_at=at)
    )


def next_attempt(
    conn: Connection,
    job_id: str,
    failed_id: str,
    error: ProviderError,
    new: NewAttempt,
    at: int,
    *,
    alone: bool,
) -> None:
    """Give one attempt up and open the next of the same call.

    Args:
        conn: inside a transaction.
        job_id: the job.
        failed_id: the attempt that is given up.
        error: why.
        new: the next.
        at: now, in milliseconds UTC.
        alone: no other call of the job runs, so that the job waits again.
    """
    fail_attempt(conn, failed_id, error, at)
    insert_attempt(conn, job_id, new, at)
    if alone:
        conn.execute(update(job).where(job.c.id == job_id).values(status="queued"))


def next_candidate(
    conn: Connection, job_id: str, lost: Sequence[Lost], new: NewAttempt, candidate: Candidate, at: int
) -> None:
    """Give a candidate up and open the first attempt at another: what the job says of itself follows."""
    _lose(conn, lost, at)
    insert_attempt(conn, job_id, new, at)
    conn.execute(
        update(job)
        .where(job.c.id == job_id)
        .values(
            status="queued",
            model=candidate.route.model,
            provider=candidate.route.provider,
            report=as_text(candidate.report),
        )
    )


def mark_unknown(conn: Connection, job_id: str, lost: Sequence[Lost], at: int) -> None:
    """A submit got no answer: the hold is kept until somebody finds out what became of it."""
    _lose(conn, lost, at)
    conn.execute(
        update(job)
        .where(job.c.id == job_id, job.c.status.not_in(TERMINAL))
        .values(status="unknown", owner=None, lease_until=None)
    )


def _lose(conn: Connection, lost: Sequence[Lost], at: int) -> None:
    """Note how attempts ended that gave no picture; of a submit without an answer that is not known."""
    for attempt_id, error in lost:
        if isinstance(error, SubmitUnknown):
            conn.execute(
                update(attempt)
                .where(attempt.c.id == attempt_id)
                .values(status="unknown", error_code=error.code, error_message=error.message)
            )
        else:
            fail_attempt(conn, attempt_id, error, at)


def keep_share(conn: Connection, job_id: str, share: Share, at: int) -> bool:
    """Keep the pictures of one call of several, while the others go on. False if the job has ended."""
    found = select(job.c.account_id).where(job.c.id == job_id, job.c.status.not_in(TERMINAL))
    # Locked: it must not end between the look and the pictures.
    owner = conn.execute(found.with_for_update(key_share=True)).scalar_one_or_none()
    if owner is None:
        return False
    _insert_share(conn, job_id, owner, share, at)
    point("share.written")
    return True


def _insert_images(conn: Connection, job_id: str, owner: str, images: Sequence[NewImage], at: int) -> None:
    for new in images:
        row = msgspec.structs.asdict(new)
        conn.execute(insert(image).values(**row, job_id=job_id, account_id=owner, created_at=at))


def _insert_share(conn: Connection, job_id: str, owner: str, share: Share, at: int) -> None:
    _insert_images(conn, job_id, owner, share.images, at)
    provider = conn.execute(
        update(attempt)
        .where(attempt.c.id == share.attempt_id)
        .values(
            status="succeeded",
            ended_at=at,
            run_seconds=None if share.run_seconds is None else f"{share.run_seconds:.3f}",
            load_seconds=None if share.load_seconds is None else f"{share.load_seconds:.3f}",
            provider_cost_micros=share.provider_cost_micros,
            listed_cost_micros=share.listed_cost_micros,
            billable_units=share.billable_units,
            revised_prompt=share.revised_prompt,
        )
        .returning(attempt.c.provider)
    ).scalar_one()
    costs.record_cost(
        conn,
        attempt_id=share.attempt_id,
        job_id=job_id,
        provider=provider,
        amount_micros=share.provider_cost_micros,
        at=at,
    )


def complete_run(
    conn: Connection,
    job_id: str,
    images: Sequence[NewImage],
    charge_micros: int,
    at: int,
    *,
    warnings: tuple[str, ...],
) -> bool:
    """End a template's run well: its outputs, charge and state in one transaction. False if it had ended."""
    ended = end_job(conn, job_id, "completed", charge_micros, at)
    if ended is None:
        return False
    conn.execute(update(job).where(job.c.id == job_id).values(warnings=as_text(warnings)))
    ledger.capture(conn, job_id=job_id, amount_micros=charge_micros, at=at)
    _insert_images(conn, job_id, ended.account_id, images, at)
    count_end(conn, job_id, ended, at)
    point("complete.written")
    return True


def complete(
    conn: Connection,
    job_id: str,
    shares: Sequence[Share],
    charge_micros: int,
    at: int,
    *,
    lost: Sequence[Lost] = (),
    warnings: tuple[str, ...] | None = None,
    due_micros: int | None = None,
) -> bool:
    """End a job well: images, charge and state in one transaction. False if it had ended already.

    Args:
        conn: inside a transaction.
        job_id: the job.
        shares: pictures that no `keep_share` has kept.
        charge_micros: for all of its pictures.
        at: now, in milliseconds UTC.
        lost: attempts that gave none, of a job that has some of its pictures.
        warnings: in the place of those that it had.
        due_micros: of a step of a run: what its pictures cost the run.
    """
    ended = end_job(conn, job_id, "completed", charge_micros, at)
    if ended is None:
        return False
    if warnings is not None:
        told = {"warnings": as_text(warnings), "due_micros": due_micros}
        conn.execute(update(job).where(job.c.id == job_id).values(**told))
    ledger.capture(conn, job_id=job_id, amount_micros=charge_micros, at=at)
    for share in shares:
        _insert_share(conn, job_id, ended.account_id, share, at)
    _lose(conn, lost, at)
    count_end(conn, job_id, ended, at)
    point("complete.written")
    return True


def end_without_images(
    conn: Connection, job_id: str, lost: Sequence[Lost], error: ProviderError, at: int
) -> bool:
    """End a job as failed or canceled; nothing is charged, and pictures that calls of it gave are nobody's.
    False if it had ended already.
    """
    status = "canceled" if error.code == "canceled" else "failed"
    ended = end_job(conn, job_id, status, 0, at, error)
    if ended is None:
        return False
    ledger.release(conn, job_id=job_id, at=at)
    # Where a fault of ours ends a job of several calls: their files go as those of no row do.
    conn.execute(delete(image).where(image.c.job_id == job_id))
    _lose(conn, lost, at)
    count_end(conn, job_id, ended, at)
    point("fail.written")
    return True


def request_cancel(conn: Connection, job_id: str, account_id: str, at: int) -> str | None:
    """Ask for a job's end; its status, or None when the account has no such job.

    One that only waits ends here and now: nobody drives it, or ever did.
    """
    mine = job.c.id == job_id, job.c.account_id == account_id
    conn.execute(update(job).where(*mine, job.c.status.not_in(TERMINAL)).values(cancel_requested=True))
    found = conn.execute(select(job.c.status, job.c.owner, job.c.fence).where(*mine)).one_or_none()
    point("cancel.written")
    if found is None:
        return None
    status: str = found.status
    if status == "scheduled" or (status == "queued" and found.owner is None and found.fence == 0):
        error = JobCanceled("It was canceled while it waited.")
        opened = conn.execute(select(attempt.c.id).where(attempt.c.job_id == job_id)).scalars().all()
        end_without_images(conn, job_id, [(found, error) for found in opened], error, at)
        return "canceled"
    return status
