"""Who calls, for tests that are not about that."""

from gateway.accounts.audit import Actor
from gateway.accounts.principals import OPERATOR, Caller, Principal
from gateway.accounts.scopes import SCOPES

__all__ = ["BY", "caller", "premium"]

BY = Actor(account_id="acc_admin", credential="operator", address="127.0.0.1")


def premium(account_id: str = OPERATOR) -> Principal:
    """Somebody whose jobs run at once; the local operator when not said."""
    return Principal(account_id=account_id, tier="premium", admin=False, scopes=frozenset(SCOPES))


def caller(
    *authorization: str, cookie: str | None = None, changes: bool = False, own_page: bool = False
) -> Caller:
    """A request's credentials."""
    return Caller(
        authorization=list(authorization),
        cookie=cookie,
        address="127.0.0.1",
        changes=changes,
        own_page=own_page,
    )
