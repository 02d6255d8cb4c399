"""What goes over the wire about sign-up and sign-in. camelCase outside."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from gateway.accounts.schemas import Email, NewPassword, Password

__all__ = [
    "PasswordRequest",
    "ResetConfirmRequest",
    "ResetRequest",
    "SessionView",
    "SigninRequest",
    "SignoutRequest",
    "SignupRequest",
    "SignupView",
    "VerifyRequest",
]

Token = Annotated[str, Meta(min_length=1, max_length=200)]


class SignupRequest(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """The body of `POST /api/auth/signup`."""

    email: Email
    password: NewPassword
    """12 characters or more, and hard to guess."""
    invite: Token | None = None
    """An invitation, where the gateway asks for one."""


class SignupView(Struct, frozen=True, kw_only=True, rename="camel"):
    """What comes next."""

    status: Literal["check_email", "sign_in"]
    next: str


class VerifyRequest(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """The body of `POST /api/auth/verify`."""

    token: Token


class SigninRequest(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """The body of `POST /api/auth/signin`."""

    email: Email
    password: Password
    cookie: bool = False
    """For pages: the session becomes a cookie that no script can read, and `token` is null."""


class SessionView(Struct, frozen=True, kw_only=True, rename="camel"):
    """A session that was just opened."""

    token: str | None
    """Send it as 'Authorization: Bearer'. Null when it is in a cookie."""
    account_id: str
    expires_at: str
    """At the latest; a day without use ends it before."""


class SignoutRequest(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """The body of `POST /api/auth/signout`."""

    everywhere: bool = False


class PasswordRequest(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """The body of `POST /api/auth/password`."""

    current: Password
    new: NewPassword


class ResetRequest(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """The body of `POST /api/auth/reset`."""

    email: Email


class ResetConfirmRequest(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """The body of `POST /api/auth/reset/confirm`."""

    token: Token
    password: NewPassword
