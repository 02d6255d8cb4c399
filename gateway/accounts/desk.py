"""What sign-up, sign-in and passwords share: the database, letters, limits and the audit log."""

import hashlib
from collections.abc import Callable

from email_validator import EmailNotValidError, validate_email
from sqlalchemy import Connection

from gateway import limits
from gateway.accounts.logins import LoginRow
from gateway.accounts.passwords import Passwords
from gateway.ambient import Ambient
from gateway.db.engine import Database
from gateway.limits import Limit
from gateway.mail.letters import Letter
from gateway.mail.put import put_letter
from gateway.problems import Problem, too_many
from gateway.secret import Signer
from registry.errors import Fault

__all__ = [
    "MAIL_TO",
    "SIGN_IN_PAIR",
    "SIGN_UP_NETWORK",
    "Desk",
    "bad_link",
    "new_login",
    "read_email",
    "short",
]

SIGN_IN_PAIR = Limit(name="signin-pair", burst=8, per_s=1 / 60)
"""Tries that fail, of one address from one network: nobody keeps its owner out from elsewhere."""
SIGN_UP_NETWORK = Limit(name="signup-network", burst=10, per_s=1 / 360)
MAIL_TO = Limit(name="mail-to", burst=4, per_s=1 / 900)


class Desk:
    """Where people's requests are handled.

    Args:
        db: keeps accounts and logins.
        ambient: time, ids and randomness.
        passwords: makes and checks the hashes.
        signers: verify what links carry, by purpose.
        wake_mail: called when there is a letter to send.
    """

    def __init__(
        self,
        db: Database,
        ambient: Ambient,
        passwords: Passwords,
        signers: dict[str, Signer],
        wake_mail: Callable[[], None],
    ) -> None:
        self.db = db
        self.ambient = ambient
        self.passwords = passwords
        self.signers = signers
        self.wake_mail = wake_mail

    async def take(self, limit: Limit, whom: str, at: int) -> None:
        """Count a request.

        Raises:
            Problem: `too_many_requests`.
        """
        taken = await self.db.write(lambda c: limits.take(c, limit, whom, at))
        if not taken.allowed:
            raise too_many(taken, "requests of this kind")

    def read_link(self, purpose: str, token: str) -> str:
        """The id that a mailed link carries.

        Raises:
            Problem: `bad_link`.
        """
        id_, _, signature = token.partition(".")
        if not self.signers[purpose].verify(id_, signature):
            raise bad_link("It is not whole: copy all of it from the mail")
        return id_

    def mail(self, conn: Connection, address: str, letter: Letter, at: int) -> None:
        """Have a letter sent."""
        put_letter(conn, self.ambient.new_id("out"), address, letter, at)


def new_login(account_id: str, email: str, password_hash: str, at: int) -> LoginRow:
    """A login that was just made."""
    return LoginRow(
        account_id=account_id,
        email=email,
        password_hash=password_hash,
        created_at=at,
        password_changed_at=at,
    )


def read_email(text: str) -> str:
    """An address in the form that is kept: small letters.

    Raises:
        Problem: `invalid_email`.
    """
    try:
        return validate_email(text, check_deliverability=False).normalized.lower()
    except EmailNotValidError as error:
        allowed = "an address of mail: name@example.org"
        fault = Fault(pointer="/email", code="invalid_email", message=str(error), allowed=allowed)
        raise Problem("invalid_email", f"/email: {error}", errors=[fault]) from error


def short(address: str) -> str:
    """An address as the name of a bucket: what was typed there may be a password."""
    return hashlib.sha256(address.encode()).hexdigest()[:32]


def bad_link(why: str) -> Problem:
    """A mailed link that does not work."""
    return Problem("bad_link", f"The link does not work. {why}")
