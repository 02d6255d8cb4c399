"""The SQL of the outbox: what is to be delivered, at least once, by whichever replica comes first."""

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, insert, select, update

from gateway.db.tables import outbox
from gateway.mail.letters import Letter

__all__ = ["Delivery", "claim", "due", "fail", "next_due", "put_letter", "retry", "sent"]

HELD_MS = 120_000
"""How long a claim keeps others away: longer than any delivery may take."""


class Delivery(Struct, frozen=True, kw_only=True):
    """A letter that is due."""

    id: str
    recipient: str
    letter: Letter
    created_at: int
    tries: int
    """Before this one."""


def put_letter(conn: Connection, id_: str, recipient: str, letter: Letter, at: int) -> None:
    """Have a letter sent, if the transaction holds."""
    conn.execute(
        insert(outbox).values(
            id=id_,
            kind="email",
            recipient=recipient,
            message=msgspec.json.encode(letter).decode(),
            created_at=at,
            due_at=at,
        )
    )


_OPEN = (outbox.c.sent_at.is_(None), outbox.c.failed_at.is_(None))


def due(conn: Connection, at: int, limit: int = 20) -> list[Delivery]:
    """What is due by now, the longest due first."""
    query = select(outbox).where(*_OPEN, outbox.c.due_at <= at).order_by(outbox.c.due_at).limit(limit)
    return [
        Delivery(
            id=row["id"],
            recipient=row["recipient"],
            letter=msgspec.json.decode(row["message"], type=Letter),
            created_at=row["created_at"],
            tries=row["tries"],
        )
        for row in conn.execute(query).mappings()
    ]


def next_due(conn: Connection) -> int | None:
    """When the next one is due, in milliseconds UTC."""
    query = select(outbox.c.due_at).where(*_OPEN).order_by(outbox.c.due_at).limit(1)
    found: int | None = conn.execute(query).scalar()
    return found


def claim(conn: Connection, delivery: Delivery, at: int) -> bool:
    """Take a delivery on; False when another replica did."""
    mine = (outbox.c.id == delivery.id, outbox.c.tries == delivery.tries, outbox.c.due_at <= at)
    values = {"tries": delivery.tries + 1, "due_at": at + HELD_MS}
    return conn.execute(update(outbox).where(*mine, *_OPEN).values(**values)).rowcount == 1


def sent(conn: Connection, id_: str, at: int) -> None:
    """It was taken by the server."""
    conn.execute(update(outbox).where(outbox.c.id == id_).values(sent_at=at, error=None))


def retry(conn: Connection, id_: str, due_at: int, error: str) -> None:
    """It was not, and is tried again then."""
    conn.execute(update(outbox).where(outbox.c.id == id_).values(due_at=due_at, error=error))


def fail(conn: Connection, id_: str, at: int, error: str) -> None:
    """It was not, and never will be."""
    conn.execute(update(outbox).where(outbox.c.id == id_).values(failed_at=at, error=error))
