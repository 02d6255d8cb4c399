"""The SQL of letting a job in: its row, its hold and its first attempt in one transaction, within what the
account and its key may have.
"""

import msgspec
from sqlalchemy import Connection, func, insert, select, update

from billing import budgets, ledger
from gateway.db.tables import account, job
from gateway.faults import point
from gateway.jobs import idempotency
from gateway.jobs.leases import lease
from gateway.jobs.records import Admitted, Delivery, NewAttempt
from gateway.jobs.store import as_text, insert_attempt
from gateway.media.expiry import hold_media
from gateway.runs.records import PROVIDER
from gateway.schemas import RoutingView, Schedule
from providers.normalizer import ReportRow

__all__ = ["FIRST_FENCE", "NewJob", "TooManyJobs", "admit", "release_scheduled"]

FIRST_FENCE = 1
"""Of a job whose first owner is the process that let it in."""
OPEN = ("scheduled", "queued", "running", "storing")
"""What counts against the jobs that an account may have at once. `unknown` is not its fault."""


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
    attempt: NewAttempt | None
    """None, of a template's run: nothing of it is sent."""
    status: str = "queued"
    """Or `scheduled`: it waits, and nothing of it runs."""
    key_id: str | None = None
    """The API key that it came with."""
    owner: str | None = None
    """The process that drives it from the start, under the fence `FIRST_FENCE`."""
    runs_at: int | None = None
    """The window that it waits for, in milliseconds UTC."""
    group_key: str | None = None
    """`gateway.jobs.groups.group_key` of it."""
    delivery: Delivery | None = None
    """How its end is told."""
    max_open: int | None = None
    """Jobs that the account may have under way or waiting, with this one."""
    media_keys: tuple[str, ...] = ()
    """Of its references."""
    claim: idempotency.Claim | None = None
    """What its request is known by when it comes again."""
    template: str | None = None
    """Of a template's run: its name."""
    parent_id: str | None = None
    """Of a step: the run that it is of."""
    step: str | None = None
    """Its name there."""

    @property
    def provider(self) -> str:
        """Whose it is at first."""
        return PROVIDER if self.attempt is None else self.attempt.provider


class TooManyJobs(Exception):
    """The account has as many jobs under way, or waiting, as it may have."""

    def __init__(self, most: int) -> None:
        super().__init__(f"{most} jobs are under way or waiting, and the account may have no more at once")
        self.most = most

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.most,)


def admit(conn: Connection, new: NewJob, at: int) -> None:
    """Let a job in: its row, its hold and its first attempt, or nothing.

    Raises:
        Repeated: its request was let in before.
        InsufficientFunds: the account cannot pay the ceiling.
        BudgetExhausted: a budget does not.
        TooManyJobs: the account has enough of them.
        MediaGone: an upload of its was removed meanwhile.
    """
    if new.claim is not None:
        idempotency.take(conn, new.claim, at)
    hold_media(conn, new.media_keys)
    _check_open(conn, new)
    point("admit.checked")
    conn.execute(
        insert(job).values(
            id=new.id,
            account_id=new.account_id,
            end_user=new.end_user,
            status=new.status,
            key_id=new.key_id,
            model=new.model,
            provider=new.provider,
            registry_version=new.registry_version,
            request=as_text(new.admitted),
            report=as_text(new.report),
            warnings=as_text(new.warnings),
            routing=as_text(new.routing),
            quote_micros=new.quote_micros,
            ceiling_micros=new.ceiling_micros,
            deadline_at=new.deadline_at,
            created_at=at,
            owner=new.owner,
            lease_until=None if new.owner is None else lease(conn),
            fence=0 if new.owner is None else FIRST_FENCE,
            runs_at=new.runs_at,
            group_key=new.group_key,
            delivery=None if new.delivery is None else as_text(new.delivery),
            template=new.template,
            parent_id=new.parent_id,
            step=new.step,
        )
    )
    ledger.place_hold(conn, job_id=new.id, account_id=new.account_id, amount_micros=new.ceiling_micros, at=at)
    payer = budgets.Payer(account_id=new.account_id, key_id=new.key_id, end_user=new.end_user)
    # After the job's row: whoever sets a budget waits for it, and counts it.
    budgets.take(conn, payer, new.ceiling_micros, at)
    if new.attempt is not None:
        insert_attempt(conn, new.id, new.attempt, at)
    point("admit.written")


def _check_open(conn: Connection, new: NewJob) -> None:
    """Refuse one job too many.

    Two at once cannot both pass: the account's row is taken first, so that they come one after the other.
    """
    if new.max_open is None:
        return
    conn.execute(update(account).where(account.c.id == new.account_id).values(name=account.c.name))
    mine = (job.c.account_id == new.account_id, job.c.status.in_(OPEN), job.c.parent_id.is_(None))
    if conn.execute(select(func.count()).select_from(job).where(*mine)).scalar_one() >= new.max_open:
        raise TooManyJobs(new.max_open)


def release_scheduled(conn: Connection, account_id: str, at: int) -> list[str]:
    """Let the jobs of an account run that wait because of its tier; their ids, oldest first. One that was
    asked to wait (`schedule: window`) does.

    Args:
        conn: inside a transaction.
        account_id: whose.
        at: now, in milliseconds UTC: each has the time from here on that it was let in with, for it used
            up none while it waited.
    """
    mine = (job.c.account_id == account_id, job.c.status == "scheduled")
    found = conn.execute(select(job.c.id, job.c.request).where(*mine).order_by(job.c.created_at, job.c.id))
    wanted = [str(row.id) for row in found if _wish.decode(row.request).schedule is None]
    # Not one that another process takes out of its window now: it runs there.
    free = select(job.c.id).where(job.c.id.in_(wanted), *mine).with_for_update(skip_locked=True)
    locked = set(conn.execute(free).scalars())
    ids = [found for found in wanted if found in locked]
    values = {"status": "queued", "deadline_at": at + job.c.deadline_at - job.c.created_at, "runs_at": None}
    conn.execute(update(job).where(job.c.id.in_(ids)).values(**values))
    return ids


class _Wish(msgspec.Struct):
    """Of a stored request, when it wants to run."""

    schedule: Schedule | None = None


_wish = msgspec.json.Decoder(_Wish)
