"""The SQL of webhook endpoints: where an account is called when its jobs end."""

from typing import Any

from msgspec import Struct
from sqlalchemy import Connection, delete, func, insert, select, update

from gateway.db.tables import account, webhook
from gateway.delivery import outbox

__all__ = [
    "MOST",
    "EndpointRow",
    "TooManyEndpoints",
    "disable",
    "enable",
    "ensure",
    "find",
    "find_by_url",
    "list_endpoints",
    "remove",
]

MOST = 20
"""Endpoints that an account may have."""


class EndpointRow(Struct, frozen=True, kw_only=True):
    """A row of `webhook`."""

    id: str
    account_id: str
    url: str
    created_at: int
    disabled_at: int | None
    disabled_why: str | None


class TooManyEndpoints(Exception):
    """The account has as many as it may have."""


def ensure(conn: Connection, account_id: str, url: str, new_id: str, at: int) -> tuple[EndpointRow, bool]:
    """The account's endpoint of a URL, and whether it was made just now.

    Args:
        conn: inside a transaction that writes.
        account_id: whose.
        url: as it was checked.
        new_id: the id of one that is made.
        at: now, in milliseconds UTC.

    Raises:
        TooManyEndpoints: there is none, and no more may be made.
    """
    # Two at once come one after the other: each finds what the other has made.
    conn.execute(update(account).where(account.c.id == account_id).values(name=account.c.name))
    known = find_by_url(conn, account_id, url)
    if known is not None:
        return known, False
    mine = select(func.count()).select_from(webhook).where(webhook.c.account_id == account_id)
    if conn.execute(mine).scalar_one() >= MOST:
        raise TooManyEndpoints
    conn.execute(insert(webhook).values(id=new_id, account_id=account_id, url=url, created_at=at))
    row = EndpointRow(
        id=new_id, account_id=account_id, url=url, created_at=at, disabled_at=None, disabled_why=None
    )
    return row, True


def find(conn: Connection, endpoint_id: str, account_id: str | None) -> EndpointRow | None:
    """An account's endpoint; None when it is not there, or another's. Without an account: anybody's."""
    query = select(webhook).where(webhook.c.id == endpoint_id)
    if account_id is not None:
        query = query.where(webhook.c.account_id == account_id)
    return _row(conn, query)


def find_by_url(conn: Connection, account_id: str, url: str) -> EndpointRow | None:
    """The endpoint that an account has at a URL."""
    return _row(conn, select(webhook).where(webhook.c.account_id == account_id, webhook.c.url == url))


def list_endpoints(conn: Connection, account_id: str) -> list[EndpointRow]:
    """An account's endpoints, oldest first."""
    query = select(webhook).where(webhook.c.account_id == account_id)
    rows = conn.execute(query.order_by(webhook.c.created_at, webhook.c.id)).mappings()
    return [EndpointRow(**row) for row in rows]


def disable(conn: Connection, endpoint_id: str, at: int, why: str) -> None:
    """Send an endpoint nothing any more; what it has not been told is given up."""
    usable = (webhook.c.id == endpoint_id, webhook.c.disabled_at.is_(None))
    conn.execute(update(webhook).where(*usable).values(disabled_at=at, disabled_why=why))
    outbox.fail_open(conn, endpoint_id, at, f"the endpoint was disabled: {why}")


def enable(conn: Connection, endpoint_id: str) -> None:
    """Send an endpoint what comes from now on."""
    values = {"disabled_at": None, "disabled_why": None}
    conn.execute(update(webhook).where(webhook.c.id == endpoint_id).values(**values))


def remove(conn: Connection, endpoint_id: str, at: int) -> None:
    """Forget an endpoint; what it has not been told is given up."""
    conn.execute(delete(webhook).where(webhook.c.id == endpoint_id))
    outbox.fail_open(conn, endpoint_id, at, "the endpoint was deleted")


def _row(conn: Connection, query: Any) -> EndpointRow | None:
    row = conn.execute(query).mappings().first()
    return None if row is None else EndpointRow(**row)
