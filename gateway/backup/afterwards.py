"""The SQL of a database that was put back: time went on after the copy, and nobody here knows how.

What may have been sent since is not sent again. A job that had no answer yet is `unknown`, its hold kept,
until an operator says what became of it; one that its provider had taken is followed from its handle, and
nothing more is sent for it. What waited in the outbox may have arrived, and is held back.
"""

from collections.abc import Sequence

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, Text, and_, delete, func, or_, select, update

from gateway.backup.records import Line
from gateway.db.tables import attempt, image, job, media, outbox
from gateway.delivery.outbox import OPEN
from gateway.jobs.expiry import REMOVED
from gateway.jobs.records import TERMINAL
from gateway.jobs.store import as_text
from providers.errors import SubmitUnknown

__all__ = ["HELD_BACK", "Settled", "forget_files", "hold_back", "let_go", "settle_jobs", "standing"]

UNSURE = (
    "The gateway was restored from a backup in which this had no answer yet: whether it was sent since is "
    "not known."
)
HELD_BACK = (
    "not sent: it waited in the backup that the gateway was restored from, and may have been sent since"
)
GONE = "not in the store any more when the backup was made that the gateway was restored from"
FLAG = ',"restored":true}'
"""How the text of a request ends that says so (`gateway.jobs.records.Admitted`): the last of two counts."""

_OPEN = job.c.status.not_in(TERMINAL)
_MINE = attempt.c.job_id == job.c.id


class Settled(Struct, frozen=True, kw_only=True, rename="camel"):
    """What became of the jobs that were under way."""

    unknown: int
    """Those that an operator has to say of what became of them, with those that were so before."""
    followed: int
    """Those that go on: from their handles, or with what they have."""


def settle_jobs(conn: Connection) -> None:
    """Send nothing more for the jobs that had not ended.

    Args:
        conn: inside a transaction.
    """
    open_ones = select(job.c.id).where(_OPEN)
    conn.execute(
        update(attempt)
        .where(attempt.c.job_id.in_(open_ones), attempt.c.status.in_(("not_sent", "sent")))
        .where(attempt.c.handle.is_(None))
        .values(status="unknown", error_code=SubmitUnknown.code, error_message=UNSURE)
    )
    has_something = select(attempt.c.id).where(
        _MINE,
        or_(
            attempt.c.status == "succeeded",
            and_(attempt.c.status == "accepted", attempt.c.handle.is_not(None)),
        ),
    )
    # A run of a template has no attempts: it has its steps, and is what they are.
    conn.execute(
        update(job)
        .where(_OPEN, job.c.template.is_(None), ~has_something.exists())
        .values(status="unknown", runs_at=None)
    )
    conn.execute(
        update(job)
        .where(_OPEN, ~job.c.request.endswith(FLAG))
        .values(request=func.substr(job.c.request, 1, func.length(job.c.request) - 1, type_=Text) + FLAG)
    )


def let_go(conn: Connection) -> None:
    """Have no job driven by a process that is not there.

    Args:
        conn: inside a transaction.
    """
    conn.execute(update(job).where(job.c.owner.is_not(None)).values(owner=None, lease_until=None))


def standing(conn: Connection) -> Settled:
    """How many jobs have not ended."""
    unknown, rest = (
        conn.execute(select(func.count()).select_from(job).where(_OPEN, which)).scalar_one()
        for which in (job.c.status == "unknown", job.c.status != "unknown")
    )
    return Settled(unknown=unknown, followed=rest)


def hold_back(conn: Connection, at: int) -> int:
    """Send nothing that waited; how many those are. Each can be sent by `gateway outbox redeliver`.

    Args:
        conn: inside a transaction.
        at: now, in milliseconds UTC.
    """
    return conn.execute(update(outbox).where(OPEN).values(failed_at=at, error=HELD_BACK)).rowcount


def forget_files(conn: Connection, lines: Sequence[Line]) -> None:
    """Remove the rows of files that are not there, as the gateway does, and say so in the jobs.

    Args:
        conn: inside a transaction.
        lines: at most a few hundred.
    """
    keys = [line.key for line in lines]
    conn.execute(delete(media).where(media.c.storage_key.in_(keys)))
    gone = delete(image).where(image.c.storage_key.in_(keys)).returning(image.c.job_id)
    for job_id in set(conn.execute(gone).scalars()):
        mine = job.c.id == job_id
        text = conn.execute(select(job.c.warnings).where(mine)).scalar_one()
        warnings = msgspec.json.decode(text, type=tuple[str, ...])
        told = f"{REMOVED}: they were {GONE}"
        if told not in warnings:
            conn.execute(update(job).where(mine).values(warnings=as_text((*warnings, told))))
