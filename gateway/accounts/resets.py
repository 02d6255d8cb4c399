"""New passwords: by who knows the old one, or by a mailed link."""

from sqlalchemy import Connection

from gateway import limits
from gateway.accounts import audit, logins
from gateway.accounts.audit import Actor
from gateway.accounts.desk import MAIL_TO, SIGN_IN_PAIR, SIGN_UP_NETWORK, Desk, bad_link, short
from gateway.accounts.logins import LoginRow, ResetRow
from gateway.accounts.passwords import check_password
from gateway.accounts.sessions import NewSession, new_session
from gateway.ambient import HOUR_MS
from gateway.mail.letters import Letter, Link
from gateway.network import network_of
from gateway.problems import Problem

__all__ = ["Resets"]

RESET_HOURS = 1


class Resets:
    """Sets new passwords.

    Args:
        desk: what all of them share.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def change_password(self, current: str, new: str, by: Actor, user_agent: str) -> NewSession:
        """Set a new password, end every session, and open one.

        Raises:
            Problem: `wrong_credentials`, `weak_password`, `too_many_requests`, `too_busy`.
        """
        at, network = self._desk.ambient.now_ms(), network_of(by.address)
        await self._desk.take(SIGN_IN_PAIR, f"{by.account_id}:{network}", at)
        login = await self._desk.db.read(lambda c: logins.find_login_of(c, by.account_id))
        right, _ = await self._desk.passwords.check(current, login.password_hash if login else None)
        if login is None or not right:
            raise Problem("wrong_credentials", "The current password is not right")
        check_password(new, login.email, "/new")
        hashed = await self._desk.passwords.hash(new)
        session, row = new_session(self._desk.ambient, by.account_id, network, user_agent, at)

        def change(conn: Connection) -> None:
            limits.give_back(conn, SIGN_IN_PAIR, f"{by.account_id}:{network}")
            self._set_password(conn, login, hashed, by, at)
            logins.insert_session(conn, row)

        await self._desk.db.write(change)
        self._desk.wake_mail()
        return session

    async def ask_reset(self, email: str, by: Actor) -> None:
        """Mail a link to set a new password, if the address has an account.

        Raises:
            Problem: `too_many_requests`.
        """
        address, at = email.strip().lower()[:254], self._desk.ambient.now_ms()
        await self._desk.take(SIGN_UP_NETWORK, network_of(by.address), at)
        reset_id = self._desk.ambient.new_id("rst")

        def ask(conn: Connection) -> None:
            login = logins.find_login(conn, address)
            if not limits.take(conn, MAIL_TO, short(address), at).allowed or login is None:
                return
            expires_at = at + RESET_HOURS * HOUR_MS
            row = ResetRow(id=reset_id, account_id=login.account_id, created_at=at, expires_at=expires_at)
            logins.insert_reset(conn, row)
            link = Link(purpose="reset", id=reset_id, hours=RESET_HOURS)
            self._desk.mail(conn, address, Letter(name="reset", link=link), at)
            audit.record(conn, self._desk.ambient, by, "password.ask", login.account_id, at)

        await self._desk.db.write(ask)
        self._desk.wake_mail()

    async def reset(self, token: str, password: str, by: Actor) -> None:
        """Set a new password by a mailed link, and end every session.

        Raises:
            Problem: `bad_link`, `weak_password`, `too_busy`.
        """
        reset_id = self._desk.read_link("reset", token)
        at = self._desk.ambient.now_ms()

        def find(conn: Connection, *, lock: bool = False) -> LoginRow:
            row = logins.find_reset(conn, reset_id, lock=lock)
            login = logins.find_login_of(conn, row.account_id) if row else None
            if row is None or login is None or row.used_at is not None or row.expires_at <= at:
                raise bad_link("It was used, or has run out; ask for another")
            return login

        login = await self._desk.db.read(find)
        check_password(password, login.email)
        hashed = await self._desk.passwords.hash(password)

        def change(conn: Connection) -> None:
            find(conn, lock=True)
            self._set_password(conn, login, hashed, by, at)

        await self._desk.db.write(change)
        self._desk.wake_mail()

    def _set_password(self, conn: Connection, login: LoginRow, hashed: str, by: Actor, at: int) -> None:
        logins.change_password(conn, login.account_id, hashed, at)
        logins.remove_sessions(conn, login.account_id)
        logins.use_reset(conn, login.account_id, at)
        self._desk.mail(conn, login.email, Letter(name="changed"), at)
        audit.record(conn, self._desk.ambient, by, "password.change", login.account_id, at)
