"""What goes over the wire about accounts and keys. camelCase outside."""

from decimal import Decimal
from typing import Annotated, Literal

from msgspec import Meta, Struct, structs

from billing.money import json_number
from gateway.accounts.keys import PREFIX, NewKey
from gateway.accounts.rows import KeyRow
from gateway.accounts.service import Funded
from gateway.ambient import iso

__all__ = [
    "AccountList",
    "AccountRequest",
    "AccountView",
    "BalanceView",
    "KeyList",
    "KeyRequest",
    "KeyView",
    "NewKeyView",
    "TopUpRequest",
    "account_view",
    "key_view",
    "new_key_view",
]

Name = Annotated[str, Meta(min_length=1, max_length=200)]


class AccountRequest(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """The body of `POST /api/admin/accounts`."""

    name: Name
    tier: Literal["normal", "premium"] = "normal"
    admin: bool = False
    """May it call `/api/admin`."""
    postpaid: bool = False
    """May its balance go below zero: it pays afterwards."""
    balance: Decimal | None = None
    """US dollars that it starts with."""


class TopUpRequest(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """The body of `POST /api/admin/topup`."""

    account_id: str
    amount: Decimal
    """US dollars."""
    reference: Annotated[str, Meta(min_length=1, max_length=40)] | None = None
    """The payment's own id: a second use of it is refused."""


class KeyRequest(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """The body of `POST /api/admin/accounts/{id}/keys`."""

    name: Name
    """What it is for."""
    expires_in_days: Annotated[int, Meta(ge=1, le=3650)] | None = None


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
    admin: bool
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


class NewKeyView(KeyView, frozen=True, kw_only=True, rename="camel"):
    """An API key that was just made."""

    key: str
    """The key itself: shown this once."""


class KeyList(Struct, frozen=True, kw_only=True, rename="camel"):
    """An account's keys, oldest first."""

    keys: tuple[KeyView, ...]


def account_view(funded: Funded) -> AccountView:
    """An account as its owner and the operator see it."""
    account, balance = funded.account, funded.balance
    return AccountView(
        account_id=account.id,
        name=account.name,
        tier=account.tier,
        admin=account.admin,
        balance=BalanceView(
            available=json_number(balance.available_micros),
            available_micros=balance.available_micros,
            held=json_number(balance.held_micros),
            held_micros=balance.held_micros,
            postpaid=balance.postpaid,
        ),
        created_at=iso(account.created_at),
    )


def key_view(row: KeyRow) -> KeyView:
    """A key as the operator sees it."""
    return KeyView(
        key_id=row.id,
        starts_with=f"{PREFIX}{row.id}",
        account_id=row.account_id,
        name=row.name,
        created_at=iso(row.created_at),
        expires_at=_iso(row.expires_at),
        revoked_at=_iso(row.revoked_at),
        last_used_at=_iso(row.last_used_at),
    )


def new_key_view(row: KeyRow, key: NewKey) -> NewKeyView:
    """A key as it is shown once."""
    return NewKeyView(**structs.asdict(key_view(row)), key=key.text)


def _iso(at: int | None) -> str | None:
    return None if at is None else iso(at)
