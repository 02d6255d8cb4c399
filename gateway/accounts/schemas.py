"""What goes over the wire about accounts and keys. camelCase outside."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, structs

from billing.money import json_number
from gateway.accounts.audit import AuditRow
from gateway.accounts.budget_rows import KeyLimits
from gateway.accounts.keys import PREFIX, NewKey
from gateway.accounts.logins import InviteRow
from gateway.accounts.passwords import MAX_LENGTH, MIN_LENGTH
from gateway.accounts.rows import KeyRow
from gateway.accounts.rules import MOST_RESEND_S
from gateway.accounts.scopes import Scope
from gateway.accounts.service import AMOUNTS, MAX_TOP_UP_USD, Funded
from gateway.ambient import iso

__all__ = [
    "AccountList",
    "AccountRequest",
    "AccountView",
    "AuditList",
    "AuditView",
    "BalanceView",
    "ChangeRequest",
    "Email",
    "InviteList",
    "InviteRequest",
    "InviteView",
    "KeyList",
    "KeyRequest",
    "KeyView",
    "LoginRequest",
    "NewInviteView",
    "NewKeyView",
    "NewPassword",
    "Password",
    "TopUpRequest",
    "account_view",
    "audit_view",
    "invite_view",
    "key_view",
    "new_key_view",
]

Name = Annotated[str, Meta(min_length=1, max_length=200)]
Email = Annotated[str, Meta(min_length=3, max_length=254)]
Password = Annotated[str, Meta(min_length=1, max_length=1000)]
_LENGTHS = {"minLength": MIN_LENGTH, "maxLength": MAX_LENGTH}
NewPassword = Annotated[str, Meta(min_length=1, max_length=1000, extra_json_schema=_LENGTHS)]
"""What may be one is decided by `gateway.accounts.passwords`, which says why not."""
_AMOUNT = {
    "type": ["number", "string"],
    "description": AMOUNTS,
    "exclusiveMinimum": 0,
    "maximum": MAX_TOP_UP_USD,
    "pattern": r"^[0-9]{1,7}([.][0-9]{1,6})?$",
}
Amount = Annotated[Decimal, Meta(extra_json_schema=_AMOUNT)]
"""What may be one is decided by `gateway.accounts.service`, which says why not."""


class AccountRequest(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """The body of `POST /api/admin/accounts`."""

    name: Name
    tier: Literal["normal", "premium"] = "normal"
    admin: bool = False
    """May it call `/api/admin`."""
    postpaid: bool = False
    """May its balance go below zero: it pays afterwards."""
    balance: Amount | None = None
    """US dollars that it starts with."""


class TopUpRequest(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """The body of `POST /api/admin/topup`."""

    account_id: str
    amount: Amount
    """US dollars."""
    reference: Annotated[str, Meta(min_length=1, max_length=40)] | None = None
    """The payment's own id: a second use of it is refused."""


class KeyRequest(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """The body of `POST /api/keys` and of `POST /api/admin/accounts/{id}/keys`."""

    name: Name
    """What it is for."""
    expires_in_days: Annotated[int, Meta(ge=1, le=3650)] | None = None
    scopes: Annotated[tuple[Scope, ...], Meta(min_length=1)] = ("generate", "read")
    """What it is good for: generate, read, manage (keys), admin (where the account may)."""
    budget: Amount | None = None
    """US dollars that its jobs may cost in all; without it what the account has."""
    monthly_budget: Amount | None = None
    """US dollars that its jobs may cost in each calendar month (UTC)."""


class ChangeRequest(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """The body of `PATCH /api/admin/accounts/{id}`. What is not there stays as it is."""

    tier: Literal["normal", "premium"] | None = None
    tier_days: Annotated[int, Meta(ge=1, le=3650)] | None = None
    """How long the tier holds, with `tier`; for good when not given."""
    admin: bool | None = None
    closed: bool | None = None
    """A closed account keeps what it has, and nobody gets in."""
    resend_window_s: Annotated[int, Meta(ge=0, le=MOST_RESEND_S)] | UnsetType | None = UNSET
    """Seconds in which equal requests without an Idempotency-Key are one; 0: never; null: as
    GATEWAY_RESEND_WINDOW_S says."""
    price_list: Annotated[str, Meta(min_length=1, max_length=60)] | UnsetType | None = UNSET
    """By which of the registry's price lists it pays; null: everybody's prices."""


class LoginRequest(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """The body of `POST /api/admin/accounts/{id}/login`."""

    email: Email
    password: NewPassword


class InviteRequest(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """The body of `POST /api/admin/invites`."""

    email: Email | None = None
    """For whom; for whoever has the code when not given."""
    tier: Literal["normal", "premium"] = "normal"
    expires_in_days: Annotated[int, Meta(ge=1, le=365)] = 14


class InviteView(Struct, frozen=True, kw_only=True, rename="camel"):
    """An invitation."""

    invite_id: str
    email: str | None
    tier: str
    created_by: str
    created_at: str
    expires_at: str
    used_by: str | None
    used_at: str | None


class NewInviteView(InviteView, frozen=True, kw_only=True, rename="camel"):
    """An invitation that was just made."""

    invite: str
    """What its holder sends with the sign-up."""


class InviteList(Struct, frozen=True, kw_only=True, rename="camel"):
    """Every invitation, oldest first."""

    invites: tuple[InviteView, ...]


class AuditView(Struct, frozen=True, kw_only=True, rename="camel"):
    """One thing that somebody did."""

    id: str
    at: str
    actor: str
    """The account that acted; `-`: nobody was signed in."""
    credential: str
    action: str
    subject: str
    detail: dict[str, Any]
    address: str


class AuditList(Struct, frozen=True, kw_only=True, rename="camel"):
    """Who did what, newest first."""

    entries: tuple[AuditView, ...]
    next_cursor: str | None


class BalanceView(Struct, frozen=True, kw_only=True, rename="camel"):
    """An account's money."""

    available: Decimal
    """US dollars that new jobs can be held against."""
    available_micros: int
    held: Decimal
    """US dollars set aside for jobs under way."""
    held_micros: int
    postpaid: bool


class AccountView(Struct, frozen=True, kw_only=True, rename="camel"):
    """An account."""

    account_id: str
    name: str
    tier: str
    """As it holds now."""
    tier_until: str | None
    """Null: for good."""
    admin: bool
    closed_at: str | None
    resend_window_s: int | None
    """Null: as the gateway's settings say."""
    price_list: str | None
    """By which it pays; null: everybody's prices."""
    balance: BalanceView
    created_at: str


class AccountList(Struct, frozen=True, kw_only=True, rename="camel"):
    """Every account, oldest first."""

    accounts: tuple[AccountView, ...]


class KeyView(Struct, frozen=True, kw_only=True, rename="camel"):
    """An API key, without its secret."""

    key_id: str
    starts_with: str
    """How the key begins, to find it in a client's settings."""
    account_id: str
    name: str
    created_at: str
    expires_at: str | None
    revoked_at: str | None
    last_used_at: str | None
    """To the minute."""
    scopes: tuple[str, ...]
    budget: Decimal | None
    """US dollars that its jobs may cost in all."""
    monthly_budget: Decimal | None
    """US dollars that its jobs may cost in each calendar month (UTC)."""


class NewKeyView(KeyView, frozen=True, kw_only=True, rename="camel"):
    """An API key that was just made."""

    key: str
    """The key itself: shown this once."""


class KeyList(Struct, frozen=True, kw_only=True, rename="camel"):
    """An account's keys, oldest first."""

    keys: tuple[KeyView, ...]


def account_view(funded: Funded, at: int) -> AccountView:
    """An account as its owner and the operator see it, at a time in milliseconds UTC."""
    account, balance = funded.account, funded.balance
    return AccountView(
        account_id=account.id,
        name=account.name,
        tier=account.tier_at(at),
        tier_until=_iso(account.tier_until) if account.tier_at(at) == account.tier else None,
        admin=account.admin,
        closed_at=_iso(account.closed_at),
        resend_window_s=account.resend_window_s,
        price_list=account.price_list,
        balance=BalanceView(
            available=json_number(balance.available_micros),
            available_micros=balance.available_micros,
            held=json_number(balance.held_micros),
            held_micros=balance.held_micros,
            postpaid=balance.postpaid,
        ),
        created_at=iso(account.created_at),
    )


def key_view(row: KeyRow, limits: Mapping[str, KeyLimits]) -> KeyView:
    """A key as the operator sees it.

    Args:
        row: the key.
        limits: the budgets of keys, by their ids.
    """
    own = limits.get(row.id, KeyLimits())
    return KeyView(
        key_id=row.id,
        starts_with=f"{PREFIX}{row.id}",
        account_id=row.account_id,
        name=row.name,
        created_at=iso(row.created_at),
        expires_at=_iso(row.expires_at),
        revoked_at=_iso(row.revoked_at),
        last_used_at=_iso(row.last_used_at),
        scopes=tuple(row.scopes.split()),
        budget=None if own.total_micros is None else json_number(own.total_micros),
        monthly_budget=None if own.month_micros is None else json_number(own.month_micros),
    )


def new_key_view(row: KeyRow, key: NewKey, limits: Mapping[str, KeyLimits]) -> NewKeyView:
    """A key as it is shown once."""
    return NewKeyView(**structs.asdict(key_view(row, limits)), key=key.text)


def invite_view(row: InviteRow) -> InviteView:
    """An invitation as an admin sees it."""
    return InviteView(
        invite_id=row.id,
        email=row.email,
        tier=row.tier,
        created_by=row.created_by,
        created_at=iso(row.created_at),
        expires_at=iso(row.expires_at),
        used_by=row.used_by,
        used_at=_iso(row.used_at),
    )


def audit_view(row: AuditRow) -> AuditView:
    """A row of the audit log."""
    return AuditView(**{**structs.asdict(row), "at": iso(row.at)})


def _iso(at: int | None) -> str | None:
    return None if at is None else iso(at)
