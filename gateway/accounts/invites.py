"""Invitations: who is let in where not everybody is."""

from msgspec import Struct
from sqlalchemy import Connection

from gateway.accounts import audit, logins
from gateway.accounts.audit import Actor
from gateway.accounts.desk import Desk, read_email
from gateway.accounts.logins import InviteRow
from gateway.ambient import DAY_MS

__all__ = ["Invites", "NewInvite"]


class NewInvite(Struct, frozen=True, kw_only=True):
    """An invitation that was just made. `code` is what its holder sends."""

    row: InviteRow
    code: str

    def __repr__(self) -> str:
        return f"NewInvite(id={self.row.id!r})"


class Invites:
    """Makes invitations.

    Args:
        desk: what all of them share.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def create(self, email: str | None, *, tier: str, days: int, by: Actor) -> NewInvite:
        """Make an invitation, good once.

        Args:
            email: for whom; for whoever has the code when not given.
            tier: of the account that it makes.
            days: how long it is good.
            by: who invites.

        Raises:
            Problem: `invalid_email`.
        """
        at = self._desk.ambient.now_ms()
        row = InviteRow(
            id=self._desk.ambient.new_id("inv"),
            email=None if email is None else read_email(email),
            tier=tier,
            created_by=by.account_id,
            created_at=at,
            expires_at=at + days * DAY_MS,
        )

        def keep(conn: Connection) -> None:
            logins.insert_invite(conn, row)
            audit.record(conn, self._desk.ambient, by, "invite.create", row.id, at, tier=tier)

        await self._desk.db.write(keep)
        return NewInvite(row=row, code=f"{row.id}.{self._desk.signers['invite'].sign(row.id)}")

    async def all(self) -> list[InviteRow]:
        """Every invitation, oldest first."""
        return await self._desk.db.read(logins.list_invites)
