"""Everything that has to do with people, put together from the settings."""

from collections.abc import Callable

from gateway.accounts.budgets import Budgets
from gateway.accounts.desk import Desk
from gateway.accounts.invites import Invites
from gateway.accounts.passwords import Passwords
from gateway.accounts.resets import Resets
from gateway.accounts.service import Accounts, PremiumRule, Release
from gateway.accounts.sessions import Sessions
from gateway.accounts.signup import Signups
from gateway.ambient import Ambient
from gateway.db.engine import Database
from gateway.secret import Signer
from gateway.settings import Settings

__all__ = ["Office"]

PURPOSES = ("verify", "reset", "invite")


class Office:
    """Accounts, budgets, sign-up, sessions, passwords and invitations.

    Args:
        settings: the settings.
        secrets: what links are signed with.
        db: keeps it all.
        ambient: time, ids and randomness.
        release: lets the jobs of an account that became premium run.
        wake_mail: called when there is a letter to send.
    """

    def __init__(
        self,
        settings: Settings,
        secrets: tuple[bytes, ...],
        db: Database,
        ambient: Ambient,
        release: Release,
        wake_mail: Callable[[], None],
    ) -> None:
        signers = {purpose: Signer(secrets, purpose) for purpose in PURPOSES}
        desk = Desk(db, ambient, Passwords(), signers, wake_mail)
        self.accounts = Accounts(db, ambient, _premium(settings), release)
        self.budgets = Budgets(db, ambient)
        self.signups = Signups(desk, settings.signup)
        self.sessions = Sessions(desk)
        self.resets = Resets(desk)
        self.invites = Invites(desk)


def _premium(settings: Settings) -> PremiumRule | None:
    if settings.premium_topup is None:
        return None
    return PremiumRule(dollars=settings.premium_topup, days=settings.premium_days)
