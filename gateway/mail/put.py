"""Puts the gateway's own letters into the outbox."""

import msgspec
from sqlalchemy import Connection

from gateway.delivery import outbox
from gateway.mail.letters import Letter

__all__ = ["put_letter"]


def put_letter(conn: Connection, id_: str, recipient: str, letter: Letter, at: int) -> None:
    """Have a letter sent, if the transaction holds."""
    message = msgspec.json.encode(letter).decode()
    outbox.put(conn, id_=id_, kind="email", recipient=recipient, message=message, at=at)
