"""The audit log: who did what to whose account. A row is written in the transaction that it tells of."""

from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, insert, select, tuple_

from gateway.ambient import Ambient
from gateway.db.tables import audit

__all__ = ["Actor", "AuditRow", "list_audit", "record"]


class Actor(Struct, frozen=True, kw_only=True):
    """Who acts, and how they were known."""

    account_id: str
    """`-`: nobody is signed in."""
    credential: str
    """key:<id>, session, operator or -"""
    address: str


class AuditRow(Struct, frozen=True, kw_only=True):
    """A row of `audit`."""

    id: str
    at: int
    actor: str
    credential: str
    action: str
    """thing.verb: account.create, key.revoke, session.open ..."""
    subject: str
    """The account, or what else it was done to."""
    detail: dict[str, Any]
    """No secret, no password, no address of mail."""
    address: str


def record(
    conn: Connection, ambient: Ambient, by: Actor, action: str, subject: str, at: int, **detail: Any
) -> None:
    """Write a row.

    Args:
        conn: inside the transaction that does it.
        ambient: makes its id.
        by: who.
        action: what, as in `AuditRow`.
        subject: to whom.
        at: milliseconds UTC.
        detail: what changed.
    """
    conn.execute(
        insert(audit).values(
            id=ambient.new_id("aud"),
            at=at,
            actor=by.account_id,
            credential=by.credential,
            action=action,
            subject=subject,
            detail=msgspec.json.encode(detail).decode(),
            address=by.address,
        )
    )


def list_audit(conn: Connection, *, subject: str | None, before: str | None, limit: int) -> list[AuditRow]:
    """The newest rows first.

    Args:
        conn: a connection.
        subject: of whom alone.
        before: the id of the last row of the page before.
        limit: rows at most.
    """
    query = select(audit).order_by(audit.c.at.desc(), audit.c.id.desc()).limit(limit)
    if subject is not None:
        query = query.where(audit.c.subject == subject)
    if before is not None:
        last = select(audit.c.at, audit.c.id).where(audit.c.id == before).cte()
        older = select(last).where(tuple_(audit.c.at, audit.c.id) < tuple_(last.c.at, last.c.id))
        query = query.where(older.exists())
    return [
        AuditRow(**{**row, "detail": msgspec.json.decode(row["detail"])})
        for row in conn.execute(query).mappings()
    ]
