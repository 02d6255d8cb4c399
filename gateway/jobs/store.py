"""The SQL of jobs: plain functions that take a connection and are told the time.

Each function is one step of a job's life and leaves the tables consistent. What ends a job
ends its hold in the same transaction, and does nothing at all when the job has ended already:
so a job has one end, and one charge, whoever comes second.
"""

from typing import Any

import msgspec
from sqlalchemy import Connection, func, insert, select, update

from billing import ledger
from billing.money import usd
from gateway.db.tables import account, attempt, image, job
from gateway.jobs.records import TERMINAL, Admitted, NewImage
from gateway.schemas import RoutingView
from providers.base import Handle
from providers.errors import JobCanceled, ProviderError
from providers.normalizer import ReportRow

__all__ = [
    "BudgetExhausted",
    "NewAttempt",
    "NewJob",
    "TooManyJobs",
    "accept_attempt",
    "admit",
    "complete",
    "end_without_images",
    "mark_unknown",
    "next_attempt",
    "release_scheduled",
    "request_cancel",
    "send_attempt",
]

_json = msgspec.json.Encoder(decimal_format="string")

OPEN = ("scheduled", "queued", "running", "storing")
"""What counts against the jobs that an account may have at once. `unknown` is not its fault."""


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
    status: str = "queued"
    """Or `scheduled`: it waits, and nothing of it runs."""
    key_id: str | None = None
    """The API key that it came with."""
    key_budget_micros: int | None = None
    """The most that the key's jobs may cost in all."""
    max_open: int | None = None
    """Jobs that the account may have under way or waiting, with this one."""


class TooManyJobs(Exception):
    """The account has as many jobs under way, or waiting, as it may have."""

    def __init__(self, most: int) -> None:
        super().__init__(f"{most} jobs are under way or waiting, and the account may have no more at once")
        self.most = most

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.most,)


class BudgetExhausted(Exception):
    """The API key's budget does not cover the job's ceiling."""

    def __init__(self, left_micros: int, needed_micros: int) -> None:
        super().__init__(
            f"the API key has {usd(left_micros)} USD of its budget left, and the job may cost "
            f"{usd(needed_micros)} USD"
        )
        self.left_micros, self.needed_micros = left_micros, needed_micros

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.left_micros, self.needed_micros)


def _text(value: Any) -> str:
    return _json.encode(value).decode()


def admit(conn: Connection, new: NewJob, at: int) -> None:
    """Let a job in: its row, its hold and its first attempt, or nothing.

    Raises:
        InsufficientFunds: the account cannot pay the ceiling.
        BudgetExhausted: the API key may not.
        TooManyJobs: the account has enough of them.
    """
    _check_limits(conn, new)
    conn.execute(
        insert(job).values(
            id=new.id,
            account_id=new.account_id,
            end_user=new.end_user,
            status=new.status,
            key_id=new.key_id,
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


def _check_limits(conn: Connection, new: NewJob) -> None:
    """Refuse what the key's budget does not cover, and one job too many.

    Two at once cannot both pass: the account's row is taken first, so that they come one after the other.
    """
    if new.max_open is None and new.key_budget_micros is None:
        return
    conn.execute(update(account).where(account.c.id == new.account_id).values(name=account.c.name))
    if new.max_open is not None:
        mine = (job.c.account_id == new.account_id, job.c.status.in_(OPEN))
        if conn.execute(select(func.count()).select_from(job).where(*mine)).scalar_one() >= new.max_open:
            raise TooManyJobs(new.max_open)
    if new.key_budget_micros is not None:
        cost = func.coalesce(job.c.charge_micros, job.c.ceiling_micros)
        spent = conn.execute(select(func.sum(cost)).where(job.c.key_id == new.key_id)).scalar_one() or 0
        left = new.key_budget_micros - int(spent)
        if left < new.ceiling_micros:
            raise BudgetExhausted(max(left, 0), new.ceiling_micros)


def release_scheduled(conn: Connection, account_id: str, deadline_at: int) -> list[str]:
    """Let an account's waiting jobs run; their ids, oldest first.

    Args:
        conn: inside a transaction.
        account_id: whose.
        deadline_at: by when they end, in milliseconds UTC: they did not use up time while they waited.
    """
    mine = (job.c.account_id == account_id, job.c.status == "scheduled")
    ids = list(conn.execute(select(job.c.id).where(*mine).order_by(job.c.created_at, job.c.id)).scalars())
    conn.execute(update(job).where(*mine).values(status="queued", deadline_at=deadline_at))
    return ids


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


def request_cancel(conn: Connection, job_id: str, account_id: str, at: int) -> str | None:
    """Ask for a job's end; its status, or None when the account has no such job.

    One that only waits ends here and now: nobody drives it.
    """
    mine = job.c.id == job_id, job.c.account_id == account_id
    conn.execute(update(job).where(*mine, job.c.status.not_in(TERMINAL)).values(cancel_requested=True))
    status = conn.execute(select(job.c.status).where(*mine)).scalar_one_or_none()
    if status == "scheduled":
        first = conn.execute(select(attempt.c.id).where(attempt.c.job_id == job_id)).scalars().first()
        end_without_images(conn, job_id, first, JobCanceled("It was canceled while it waited."), at)
        return "canceled"
    return status
