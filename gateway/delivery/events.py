"""What a job's end puts into the outbox: one event for each way that its caller asked for."""

import hashlib

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, select

from gateway.ambient import iso
from gateway.db.tables import login
from gateway.delivery import endpoints, outbox
from gateway.delivery.outbox import Kind
from gateway.jobs.records import Delivery

__all__ = ["JobEvent", "event_id", "read_event", "tell_end"]


class JobEvent(Struct, frozen=True, kw_only=True):
    """What the outbox keeps of a job's end; the rest is looked up when it is sent."""

    type: str
    """job.completed, job.failed or job.canceled"""
    timestamp: str
    """When the job ended, in ISO 8601."""


def event_id(job_id: str, kind: Kind) -> str:
    """The id of a job's event: there can be no second of the same kind."""
    return f"msg_{hashlib.sha256(f'{kind}.{job_id}'.encode()).hexdigest()[:32]}"


def read_event(message: str) -> JobEvent:
    """What a row of the outbox says, where it tells of a job."""
    return msgspec.json.decode(message, type=JobEvent)


def tell_end(
    conn: Connection, job_id: str, account_id: str, delivery: Delivery, status: str, at: int
) -> None:
    """Have a job's end told as its caller asked, in the transaction that ends it.

    Args:
        conn: that transaction's.
        job_id: the job.
        account_id: whose it is.
        delivery: what was asked for.
        status: how it ended.
        at: when, in milliseconds UTC.
    """
    message = msgspec.json.encode(JobEvent(type=f"job.{status}", timestamp=iso(at))).decode()
    if delivery.email:
        address = conn.execute(select(login.c.email).where(login.c.account_id == account_id)).scalar()
        if address is not None:
            outbox.put(
                conn,
                id_=event_id(job_id, "email"),
                kind="email",
                recipient=address,
                message=message,
                at=at,
                account_id=account_id,
                job_id=job_id,
            )
    if delivery.webhook is not None:
        endpoint = endpoints.find(conn, delivery.webhook, account_id)
        # One that was deleted meanwhile wants to hear no more.
        if endpoint is not None:
            outbox.put(
                conn,
                id_=event_id(job_id, "webhook"),
                kind="webhook",
                recipient=endpoint.url,
                message=message,
                at=at,
                account_id=account_id,
                job_id=job_id,
                webhook_id=endpoint.id,
                failed="the endpoint is disabled" if endpoint.disabled_at is not None else None,
            )
