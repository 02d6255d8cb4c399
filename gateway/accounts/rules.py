"""What settings say of accounts: who may sign up, and how long a resend window may be."""

from msgspec import Struct

__all__ = ["MOST_RESEND_S", "SignupRule"]

MOST_RESEND_S = 3600
"""Seconds that equal requests without an Idempotency-Key may be one."""


class SignupRule(Struct, frozen=True, kw_only=True):
    """GATEWAY_SIGNUP, read: who may make an account."""

    verified: bool = True
    """By a mailed link first."""
    invited: bool = False
    """With an invitation alone."""
    domains: tuple[str, ...] = ()
    """With an address of these alone; of any when empty."""
