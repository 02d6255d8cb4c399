"""Who may sign up, as a setting says it."""

from msgspec import Struct

__all__ = ["SignupRule"]


class SignupRule(Struct, frozen=True, kw_only=True):
    """GATEWAY_SIGNUP, read: who may make an account."""

    verified: bool = True
    """By a mailed link first."""
    invited: bool = False
    """With an invitation alone."""
    domains: tuple[str, ...] = ()
    """With an address of these alone; of any when empty."""
