"""The SQL of requests that are sent again: which of them are one, and the job that they are answered with.

A row is written in the transaction that lets its job in. So a key is used up by a job and by nothing else,
and of two equal requests at the same moment, wherever they are, the unique key lets one in.
"""

from msgspec import Struct
from sqlalchemy import ColumnElement, Connection, and_, delete, exists, not_, select, tuple_, update

from billing.sql import insert_new
from gateway.ambient import DAY_MS
from gateway.db.tables import idempotency, job
from gateway.jobs.records import TERMINAL

__all__ = ["KEEP_MS", "Claim", "Earlier", "Repeated", "find", "forget_expired", "note_answered", "take"]

KEEP_MS = 7 * DAY_MS
"""How long a key that a client gave is kept."""


class Claim(Struct, frozen=True, kw_only=True):
    """What a request is known by when it comes again."""

    account_id: str
    key: str
    """As it is stored: keys that clients give and fingerprints never meet."""
    given: bool
    """The client gave the key; else the request's fingerprint is its key."""
    request_sha256: str
    """Of the method, the path and the body."""
    job_id: str
    """The job that it becomes, if it is let in."""
    answer_ms: int
    """Within so long of being let in it is answered."""
    keep_ms: int


class Earlier(Struct, frozen=True, kw_only=True):
    """The first request of a key. Times are milliseconds UTC."""

    request_sha256: str
    job_id: str
    answer_by: int
    answered_at: int | None
    ended: bool
    """Its job has ended."""

    def in_flight(self, at: int) -> bool:
        """Whether it is still being answered. Past `answer_by` nobody answers it any more."""
        return not self.ended and self.answered_at is None and at < self.answer_by


class Repeated(Exception):
    """A request with this key was let in before; nothing was written."""

    def __init__(self, earlier: Earlier) -> None:
        super().__init__(f"the key is that of {earlier.job_id}")
        self.earlier = earlier

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.earlier,)


def find(conn: Connection, claim: Claim, at: int) -> Earlier | None:
    """The request that came before with a claim's key, at a time; None when this one is the first."""
    return _look(conn, claim, _stands(claim, at))


def take(conn: Connection, claim: Claim, at: int) -> None:
    """Take a claim's key, for good or not at all.

    On PostgreSQL it waits for a transaction that is just taking the same key: call it first of all.

    Args:
        conn: inside a transaction that writes.
        claim: what is claimed.
        at: milliseconds UTC.

    Raises:
        Repeated: it is taken. Roll back.
    """
    stale = delete(idempotency).where(*_place(claim), not_(_stands(claim, at)))
    while not _insert(conn, claim, at):
        # What stood in the way is removed here, or was by another, or it stands.
        if conn.execute(stale).rowcount == 0 and (earlier := _look(conn, claim)) is not None:
            raise Repeated(earlier)


def note_answered(conn: Connection, claim: Claim, at: int) -> None:
    """Note that the request which made a claim was answered; nothing when another one has its key."""
    own = (*_place(claim), idempotency.c.job_id == claim.job_id)
    conn.execute(update(idempotency).where(*own).values(answered_at=at))


def forget_expired(conn: Connection, at: int, limit: int) -> int:
    """Remove keys that have expired at a time, in milliseconds UTC, at most so many; how many they were."""
    place = tuple_(idempotency.c.account_id, idempotency.c.key)
    old = select(idempotency.c.account_id, idempotency.c.key).where(idempotency.c.expires_at <= at)
    return conn.execute(delete(idempotency).where(place.in_(old.limit(limit)))).rowcount


def _stands(claim: Claim, at: int) -> ColumnElement[bool]:
    """Whether a row counts against a claim.

    A client that gave a key has the first one's answer, whatever it is. One that gave none and sends the
    same again after a failure, which cost nothing, wants another try.
    """
    kept = idempotency.c.expires_at > at
    if claim.given:
        return kept
    failed = exists().where(job.c.id == idempotency.c.job_id, job.c.status.in_(("failed", "canceled")))
    return and_(kept, not_(failed.correlate(idempotency)))


def _place(claim: Claim) -> tuple[ColumnElement[bool], ...]:
    return idempotency.c.account_id == claim.account_id, idempotency.c.key == claim.key


def _insert(conn: Connection, claim: Claim, at: int) -> bool:
    """Write a claim down; False when there is a row with its key."""
    row = {
        "account_id": claim.account_id,
        "key": claim.key,
        "request_sha256": claim.request_sha256,
        "job_id": claim.job_id,
        "created_at": at,
        "answer_by": at + claim.answer_ms,
        "expires_at": at + claim.keep_ms,
    }
    return insert_new(conn, idempotency, row)


def _look(conn: Connection, claim: Claim, *only: ColumnElement[bool]) -> Earlier | None:
    its_job = job.c.id == idempotency.c.job_id
    row = conn.execute(
        select(
            idempotency.c.request_sha256,
            idempotency.c.job_id,
            idempotency.c.answer_by,
            idempotency.c.answered_at,
            job.c.status,
        )
        .outerjoin_from(idempotency, job, its_job)
        .where(*_place(claim), *only)
    ).first()
    if row is None:
        return None
    return Earlier(
        request_sha256=row.request_sha256,
        job_id=row.job_id,
        answer_by=row.answer_by,
        answered_at=row.answered_at,
        ended=row.status in TERMINAL,
    )
