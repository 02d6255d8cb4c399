"""The SQL of the outbox: what is to be delivered, at least once, by whichever replica comes first.

A row is claimed before each try: the claim is one more of `tries`, and whoever is late finds another
number. So what a stalled process still writes changes nothing.
"""

from collections.abc import Collection
from typing import Any, Literal

from msgspec import Struct
from sqlalchemy import ColumnElement, Connection, and_, delete, insert, or_, select, tuple_, update

from gateway.ambient import DAY_MS
from gateway.db.tables import outbox

__all__ = [
    "FAILED_KEPT_MS",
    "HELD_MS",
    "SENT_KEPT_MS",
    "Item",
    "Kind",
    "Row",
    "State",
    "again",
    "claim",
    "due",
    "fail",
    "fail_open",
    "find",
    "forget_old",
    "list_rows",
    "next_due",
    "put",
    "redeliver",
    "sent",
]

Kind = Literal["email", "webhook"]
State = Literal["open", "sent", "failed"]

HELD_MS = 120_000
"""How long a claim keeps others away: longer than any delivery may take."""

SENT_KEPT_MS = 30 * DAY_MS
FAILED_KEPT_MS = 90 * DAY_MS
"""Somebody may still want to send what failed again."""

OPEN = and_(outbox.c.sent_at.is_(None), outbox.c.failed_at.is_(None))
STATES: dict[str, ColumnElement[bool]] = {
    "open": OPEN,
    "sent": outbox.c.sent_at.is_not(None),
    "failed": and_(outbox.c.sent_at.is_(None), outbox.c.failed_at.is_not(None)),
}


class Item(Struct, frozen=True, kw_only=True):
    """Something that is due."""

    id: str
    kind: str
    recipient: str
    """An address of mail, or a URL."""
    message: str
    created_at: int
    tries: int
    """Before this one."""
    account_id: str | None
    job_id: str | None
    webhook_id: str | None


class Row(Item, frozen=True, kw_only=True):
    """A row of `outbox`."""

    due_at: int
    sent_at: int | None
    failed_at: int | None
    error: str | None
    status_code: int | None

    @property
    def state(self) -> State:
        """How it stands."""
        if self.sent_at is not None:
            return "sent"
        return "open" if self.failed_at is None else "failed"


def put(
    conn: Connection,
    *,
    id_: str,
    kind: Kind,
    recipient: str,
    message: str,
    at: int,
    account_id: str | None = None,
    job_id: str | None = None,
    webhook_id: str | None = None,
    failed: str | None = None,
) -> None:
    """Have something delivered, if the transaction holds.

    Args:
        conn: inside the transaction that it tells of.
        id_: its id, the same however often it is sent.
        kind: how.
        recipient: to whom.
        message: what, as whoever delivers the kind reads it.
        at: now, in milliseconds UTC.
        account_id: whose it is; None: the gateway's own.
        job_id: what it tells of.
        webhook_id: the endpoint that is called.
        failed: why it will not be sent, where that is known already.
    """
    conn.execute(
        insert(outbox).values(
            id=id_,
            kind=kind,
            recipient=recipient,
            message=message,
            created_at=at,
            due_at=at,
            account_id=account_id,
            job_id=job_id,
            webhook_id=webhook_id,
            failed_at=None if failed is None else at,
            error=failed,
        )
    )


def due(
    conn: Connection,
    kind: Kind,
    at: int,
    *,
    limit: int = 20,
    but_accounts: Collection[str] = (),
    but_webhooks: Collection[str] = (),
) -> list[Item]:
    """What is due by now, the longest due first.

    Args:
        conn: the connection.
        kind: of this kind alone.
        at: now, in milliseconds UTC.
        limit: at most so many.
        but_accounts: nothing of these.
        but_webhooks: nothing for these.
    """
    columns = [outbox.c[name] for name in Item.__struct_fields__]
    query = select(*columns).where(OPEN, outbox.c.kind == kind, outbox.c.due_at <= at)
    # What is nobody's is NULL, and NULL is in no list and out of none.
    for column, names in ((outbox.c.account_id, but_accounts), (outbox.c.webhook_id, but_webhooks)):
        if names:
            query = query.where(or_(column.is_(None), column.not_in(sorted(names))))
    query = query.order_by(outbox.c.due_at, outbox.c.id).limit(limit)
    return [Item(**row) for row in conn.execute(query).mappings()]


def next_due(conn: Connection, kind: Kind, after: int) -> int | None:
    """When the next one is due after a time, both in milliseconds UTC."""
    later = (OPEN, outbox.c.kind == kind, outbox.c.due_at > after)
    found: int | None = conn.execute(
        select(outbox.c.due_at).where(*later).order_by(outbox.c.due_at).limit(1)
    ).scalar()
    return found


def claim(conn: Connection, item: Item, at: int) -> bool:
    """Take a delivery on; False when another replica did."""
    free = (outbox.c.id == item.id, outbox.c.tries == item.tries, outbox.c.due_at <= at, OPEN)
    values = {"tries": item.tries + 1, "due_at": at + HELD_MS}
    return conn.execute(update(outbox).where(*free).values(**values)).rowcount == 1


def sent(conn: Connection, item: Item, at: int, status_code: int | None = None) -> None:
    """It was taken by whom it is for."""
    values = {"sent_at": at, "failed_at": None, "error": None, "status_code": status_code}
    conn.execute(update(outbox).where(*_claimed(item)).values(**values))


def again(conn: Connection, item: Item, due_at: int, error: str, status_code: int | None = None) -> None:
    """It was not, and is tried again then."""
    values = {"due_at": due_at, "error": error, "status_code": status_code}
    conn.execute(update(outbox).where(*_claimed(item), OPEN).values(**values))


def fail(conn: Connection, item: Item, at: int, error: str, status_code: int | None = None) -> None:
    """It was not, and is not tried again by itself."""
    values = {"failed_at": at, "error": error, "status_code": status_code}
    conn.execute(update(outbox).where(*_claimed(item), outbox.c.sent_at.is_(None)).values(**values))


def _claimed(item: Item) -> tuple[ColumnElement[bool], ...]:
    return outbox.c.id == item.id, outbox.c.tries == item.tries + 1


def fail_open(conn: Connection, webhook_id: str, at: int, error: str) -> None:
    """Give up what an endpoint has not been told yet."""
    conn.execute(
        update(outbox).where(outbox.c.webhook_id == webhook_id, OPEN).values(failed_at=at, error=error)
    )


def find(conn: Connection, id_: str, account_id: str | None) -> Row | None:
    """An account's delivery; None when it is not there, or another's. Without an account: anybody's."""
    query = select(outbox).where(outbox.c.id == id_)
    if account_id is not None:
        query = query.where(outbox.c.account_id == account_id)
    row = conn.execute(query).mappings().first()
    return None if row is None else Row(**row)


def list_rows(
    conn: Connection,
    account_id: str | None,
    *,
    limit: int,
    kind: str | None = None,
    state: str | None = None,
    job_id: str | None = None,
    before: tuple[int, str] | None = None,
) -> list[Row]:
    """An account's deliveries, or everybody's and the gateway's own letters, newest first.

    Args:
        conn: the connection.
        account_id: whose; None for everybody's.
        limit: at most so many.
        kind: of this kind alone.
        state: of those that stand so alone.
        job_id: of those that tell of this job alone.
        before: (created_at, id) of the last one of the page before.
    """
    wanted: list[ColumnElement[bool]] = [] if state is None else [STATES[state]]
    for column, value in (
        (outbox.c.account_id, account_id),
        (outbox.c.kind, kind),
        (outbox.c.job_id, job_id),
    ):
        if value is not None:
            wanted.append(column == value)
    if before is not None:
        wanted.append(tuple_(outbox.c.created_at, outbox.c.id) < tuple_(*before))
    newest = (outbox.c.created_at.desc(), outbox.c.id.desc())
    query = select(outbox).where(*wanted).order_by(*newest).limit(limit)
    return [Row(**row) for row in conn.execute(query).mappings()]


def redeliver(conn: Connection, id_: str, at: int) -> None:
    """Send it, or send it again, from now on and from the schedule's beginning."""
    values: dict[str, Any] = {"due_at": at, "tries": 0, "sent_at": None, "failed_at": None}
    conn.execute(update(outbox).where(outbox.c.id == id_).values(**values))


def forget_old(conn: Connection, at: int) -> int:
    """Remove what was delivered, or given up, so long before a time in milliseconds UTC; how many."""
    old = or_(
        outbox.c.sent_at < at - SENT_KEPT_MS,
        and_(outbox.c.sent_at.is_(None), outbox.c.failed_at < at - FAILED_KEPT_MS),
    )
    return conn.execute(delete(outbox).where(old)).rowcount
