"""Sessions: sign-in, sign-out, and the opaque token that stands for somebody who is signed in.

A session is a row that ends when its account signs out: no token says by itself who it is.
"""

import hashlib

from msgspec import Struct
from sqlalchemy import Connection

from gateway import limits
from gateway.accounts import audit, logins
from gateway.accounts.audit import Actor
from gateway.accounts.desk import SIGN_IN_PAIR, Desk, short
from gateway.accounts.keys import checksum, random_text
from gateway.accounts.logins import LoginRow, SessionRow
from gateway.accounts.rows import find_account
from gateway.ambient import DAY_MS, Ambient
from gateway.limits import Limit, Taken
from gateway.network import network_of
from gateway.problems import Problem, too_many

__all__ = [
    "ABSOLUTE_MS",
    "IDLE_MS",
    "SESSION_PREFIX",
    "NewSession",
    "Sessions",
    "new_session",
    "session_digest",
]

IDLE_MS, ABSOLUTE_MS = DAY_MS, 14 * DAY_MS
"""A session ends when it was not used for a day, and after two weeks in any case."""
SESSION_PREFIX = "igs_"
SESSION_SIZE = 43

SIGN_IN_NETWORK = Limit(name="signin-network", burst=40, per_s=1 / 15)
# Of one address from everywhere; a network that it was signed in from before does not count.
SIGN_IN_EMAIL = Limit(name="signin-email", burst=60, per_s=1 / 60)


class NewSession(Struct, frozen=True, kw_only=True):
    """A session that was just opened. `token` is shown once and kept nowhere."""

    token: str
    account_id: str
    expires_at: int

    def __repr__(self) -> str:
        return f"NewSession(account_id={self.account_id!r})"


def session_digest(token: str) -> str | None:
    """What is kept of a session's token: its SHA-256; None when it is none, or mistyped."""
    secret = token.removeprefix(SESSION_PREFIX)
    if len(token) != len(SESSION_PREFIX) + SESSION_SIZE + 6 or len(secret) == len(token):
        return None
    said, check = token[:-6], token[-6:]
    return hashlib.sha256(said.encode()).hexdigest() if check == checksum(said) else None


class Sessions:
    """Opens and ends sessions.

    Args:
        desk: what all of them share.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def sign_in(self, email: str, password: str, by: Actor, user_agent: str) -> NewSession:
        """Open a session.

        Raises:
            Problem: `wrong_credentials`, `account_closed`, `too_many_requests`, `too_busy`.
        """
        address, network = email.strip().lower()[:254], network_of(by.address)
        at = self._desk.ambient.now_ms()
        tries = (
            (SIGN_IN_NETWORK, network),
            (SIGN_IN_PAIR, f"{short(address)}:{network}"),
            (SIGN_IN_EMAIL, short(address)),
        )

        def admit(conn: Connection) -> tuple[LoginRow | None, list[Taken]]:
            found = logins.find_login(conn, address)
            taken = [limits.take(conn, limit, whom, at) for limit, whom in tries]
            if found is not None and logins.is_known_network(conn, found.account_id, network):
                taken.pop()
            return found, taken

        login, taken = await self._desk.db.write(admit)
        refused = [one for one in taken if not one.allowed]
        if refused:
            raise too_many(max(refused, key=lambda one: one.retry_after_s), "tries to sign in")
        right, better = await self._desk.passwords.check(password, login.password_hash if login else None)
        if login is None or not right:
            raise Problem("wrong_credentials", "No account has this address and this password")
        session, row = new_session(self._desk.ambient, login.account_id, network, user_agent, at)

        def open_(conn: Connection) -> None:
            account = find_account(conn, login.account_id, lock=True)
            if account is None or account.closed_at is not None:
                raise Problem("account_closed", "The account was closed; ask whoever runs this gateway")
            for limit, whom in tries:
                limits.give_back(conn, limit, whom)
            if better is not None:
                logins.change_password(conn, login.account_id, better, None)
            logins.insert_session(conn, row)
            audit.record(conn, self._desk.ambient, by, "session.open", login.account_id, at)

        await self._desk.db.write(open_)
        return session

    async def sign_out(self, digest: str, by: Actor, *, everywhere: bool) -> None:
        """End a session, or all of its account's."""
        at = self._desk.ambient.now_ms()

        def end(conn: Connection) -> None:
            if everywhere:
                logins.remove_sessions(conn, by.account_id)
            else:
                logins.remove_session(conn, digest)
            audit.record(
                conn, self._desk.ambient, by, "session.close", by.account_id, at, everywhere=everywhere
            )

        await self._desk.db.write(end)


def new_session(
    ambient: Ambient, account_id: str, network: str, user_agent: str, at: int
) -> tuple[NewSession, SessionRow]:
    """A token that nobody could have chosen: what a client brings along is never made a session."""
    said = SESSION_PREFIX + random_text(ambient.secret, SESSION_SIZE)
    row = SessionRow(
        digest=hashlib.sha256(said.encode()).hexdigest(),
        account_id=account_id,
        created_at=at,
        seen_at=at,
        expires_at=at + ABSOLUTE_MS,
        network=network,
        user_agent=user_agent[:200],
    )
    token = said + checksum(said)
    return NewSession(token=token, account_id=account_id, expires_at=row.expires_at), row
