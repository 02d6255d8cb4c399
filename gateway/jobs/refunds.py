"""The SQL of giving a job's charge back, or a part of it: the money, and the usage that counts it."""

from collections.abc import Sequence

from sqlalchemy import Connection, func, select

from billing import corrections, usage
from billing.corrections import Posting
from billing.tables import ledger_entry
from gateway.db.tables import job

__all__ = ["refund", "refunded_of"]


def refund(
    conn: Connection,
    *,
    job_id: str,
    amount_micros: int | None,
    reference: str,
    at: int,
    note: str | None = None,
) -> Posting:
    """Give back what a job was charged, or a part of it. It counts as usage of today.

    Args:
        conn: inside a transaction.
        job_id: whose charge.
        amount_micros: above 0; None: what is left of it.
        reference: the refund's own id.
        at: milliseconds UTC.
        note: why, in a person's words.

    Raises:
        UnknownHold, NothingToRefund, RefundTooLarge, ReferenceUsed, IntegrityError: as
            `billing.corrections.refund`.
    """
    given = corrections.refund(
        conn, job_id=job_id, amount_micros=amount_micros, reference=reference, at=at, note=note
    )
    columns = (job.c.model, job.c.provider, job.c.key_id, job.c.end_user)
    of = conn.execute(select(*columns).where(job.c.id == job_id)).one()
    usage.record_refund(
        conn,
        account_id=given.account_id,
        model=of.model,
        provider=of.provider,
        key_id=of.key_id,
        end_user=of.end_user,
        amount_micros=given.amount_micros,
        at=at,
    )
    return given


def refunded_of(conn: Connection, job_ids: Sequence[str]) -> dict[str, int]:
    """What was given back of the charges of jobs; one of which nothing was is left out."""
    if not job_ids:
        return {}
    entry = ledger_entry.c
    query = select(entry.job_id, func.sum(entry.amount_micros)).where(
        entry.job_id.in_(job_ids), entry.kind == "refund", entry.amount_micros > 0
    )
    return {job_id: int(total) for job_id, total in conn.execute(query.group_by(entry.job_id))}
