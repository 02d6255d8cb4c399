"""Sign-up: who may have an account, and the link that makes it.

What is answered never tells whether an address has an account: whoever owns the address learns it
from the mail.
"""

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from gateway import limits
from gateway.accounts import audit, logins
from gateway.accounts.audit import Actor
from gateway.accounts.desk import MAIL_TO, SIGN_UP_NETWORK, Desk, bad_link, new_login, read_email, short
from gateway.accounts.logins import SignupRow
from gateway.accounts.passwords import check_password
from gateway.accounts.rows import AccountRow, find_account, insert_account
from gateway.accounts.rules import SignupRule
from gateway.ambient import HOUR_MS
from gateway.mail.letters import Letter, Link
from gateway.network import network_of
from gateway.problems import Problem

__all__ = ["Signups"]

VERIFY_HOURS = 24


class Signups:
    """Lets people in.

    Args:
        desk: what all of them share.
        rule: who may sign up; None: nobody.
    """

    def __init__(self, desk: Desk, rule: SignupRule | None) -> None:
        self._desk = desk
        self._rule = rule

    async def sign_up(self, email: str, password: str, invite: str | None, by: Actor) -> bool:
        """Ask for an account. True when a mailed link comes first, false when one can sign in now.

        Raises:
            Problem: `invalid_email`, `weak_password`, `signup_refused`, `too_many_requests`.
        """
        rule = self._rule
        if rule is None:
            raise _refused("This gateway takes no sign-ups; ask whoever runs it for an account")
        address = read_email(email)
        check_password(password, address)
        invite_id = self._admit(rule, address, invite)
        at = self._desk.ambient.now_ms()
        await self._desk.take(SIGN_UP_NETWORK, network_of(by.address), at)
        hashed = await self._desk.passwords.hash(password)
        row = SignupRow(
            id=self._desk.ambient.new_id("sgn"),
            email=address,
            password_hash=hashed,
            tier="normal",
            invite_id=invite_id,
            created_at=at,
            expires_at=at + VERIFY_HOURS * HOUR_MS,
        )
        await self._desk.db.write(lambda c: self._keep_signup(c, rule, row, by, at))
        self._desk.wake_mail()
        return rule.verified

    def _admit(self, rule: SignupRule, address: str, invite: str | None) -> str | None:
        """The invitation's id, if one was sent; refuse whom the rule does not let in."""
        invite_id, _, signature = (invite or "").partition(".")
        if invite is not None and not self._desk.signers["invite"].verify(invite_id, signature):
            raise _refused("The invitation is not whole, or of another gateway")
        if rule.invited and invite is None:
            raise _refused("Accounts of this gateway are by invitation: send it as `invite`")
        if rule.domains and address.rpartition("@")[2] not in rule.domains:
            domains = ", ".join(rule.domains)
            raise _refused(f"Accounts of this gateway are for addresses of {domains}")
        return invite_id or None

    def _keep_signup(self, conn: Connection, rule: SignupRule, row: SignupRow, by: Actor, at: int) -> None:
        """Keep it and mail the link; to an address that has an account, mail that it has one."""
        if row.invite_id is not None:
            invite = logins.find_invite(conn, row.invite_id)
            if invite is None or invite.used_at is not None or invite.expires_at <= at:
                raise _refused("The invitation was used, or has run out: ask for another")
            if invite.email is not None and invite.email != row.email:
                raise _refused("The invitation is for another address")
        if rule.verified and not limits.take(conn, MAIL_TO, short(row.email), at).allowed:
            return  # whoever reads that mail has enough of them
        if logins.find_login(conn, row.email) is not None:
            self._desk.mail(conn, row.email, Letter(name="known"), at)
            return
        logins.insert_signup(conn, row)
        if rule.verified:
            link = Link(purpose="verify", id=row.id, hours=VERIFY_HOURS)
            self._desk.mail(conn, row.email, Letter(name="verify", link=link), at)
        else:
            self._make_account(conn, row, by, at)

    async def verify(self, token: str, by: Actor) -> None:
        """Make the account whose link was followed. A second time changes nothing.

        Raises:
            Problem: `bad_link`.
        """
        signup_id = self._desk.read_link("verify", token)
        at = self._desk.ambient.now_ms()

        def make(conn: Connection) -> None:
            row = logins.find_signup(conn, signup_id, lock=True)
            if row is None or (row.expires_at <= at and row.used_at is None):
                raise bad_link("It has run out; sign up again")
            if row.used_at is None:
                self._make_account(conn, row, by, at)

        await self._desk.db.write(make)
        self._desk.wake_mail()

    def _make_account(self, conn: Connection, row: SignupRow, by: Actor, at: int) -> None:
        if logins.find_login(conn, row.email) is not None:
            logins.use_signup(conn, row.id, at)
            return  # of two links to one address the first counts
        try:
            with conn.begin_nested():
                self._insert_account(conn, row, by, at)
        except IntegrityError:
            # Another transaction was quicker with the same address, which is unique.
            logins.use_signup(conn, row.id, at)

    def _insert_account(self, conn: Connection, row: SignupRow, by: Actor, at: int) -> None:
        invite = logins.find_invite(conn, row.invite_id) if row.invite_id else None
        name = row.email
        made = AccountRow(
            id=self._desk.ambient.new_id("acc"),
            name=name,
            tier=invite.tier if invite else row.tier,
            admin=False,
            created_at=at,
        )
        if invite is not None and not logins.use_invite(conn, invite.id, made.id, at):
            raise bad_link("The invitation was used by somebody else; ask for another")
        insert_account(conn, made, postpaid=False)
        logins.insert_login(conn, new_login(made.id, row.email, row.password_hash, at))
        logins.use_signup(conn, row.id, at)
        self._desk.mail(conn, row.email, Letter(name="welcome"), at)
        audit.record(conn, self._desk.ambient, by, "account.signup", made.id, at)

    async def give_login(self, account_id: str, email: str, password: str, by: Actor) -> None:
        """Let a person sign in to an account that was made by hand.

        Raises:
            Problem: `invalid_email`, `weak_password`, `not_found`, `email_used`.
        """
        address = read_email(email)
        check_password(password, address)
        hashed = await self._desk.passwords.hash(password)
        at = self._desk.ambient.now_ms()

        def give(conn: Connection) -> None:
            if find_account(conn, account_id) is None:
                raise Problem("not_found", f"No account has the id {account_id!r}")
            logins.insert_login(conn, new_login(account_id, address, hashed, at))
            audit.record(conn, self._desk.ambient, by, "login.create", account_id, at)

        try:
            await self._desk.db.write(give)
        except IntegrityError as error:
            raise Problem("email_used", "The address, or the account, has a login already") from error


def _refused(why: str) -> Problem:
    return Problem("signup_refused", why)
