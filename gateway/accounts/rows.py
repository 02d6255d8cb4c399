"""The SQL of accounts and API keys: plain functions that take a connection and are told the time."""

from contextlib import suppress
from typing import Any

from msgspec import Struct, structs
from sqlalchemy import Connection, RowMapping, bindparam, insert, select, update
from sqlalchemy.exc import IntegrityError

from billing import ledger
from gateway.db.tables import account, api_key

__all__ = [
    "AccountRow",
    "KeyHolder",
    "KeyRow",
    "change_account",
    "ensure_account",
    "find_account",
    "find_holder",
    "insert_account",
    "insert_key",
    "list_accounts",
    "list_keys",
    "note_use",
    "revoke_key",
]


class AccountRow(Struct, frozen=True, kw_only=True):
    """A row of `account`."""

    id: str
    name: str
    tier: str
    """normal or premium"""
    admin: bool
    created_at: int
    tier_until: int | None = None
    """Milliseconds UTC; None: for good."""
    closed_at: int | None = None
    resend_window_s: int | None = None
    """In it equal requests without an Idempotency-Key are one; None: as the settings say."""
    price_list: str | None = None
    """A key of the registry's `price_lists`; None: everybody's prices."""

    def tier_at(self, at: int) -> str:
        """The tier that holds at a time, in milliseconds UTC."""
        return self.tier if self.tier_until is None or at < self.tier_until else "normal"


class KeyRow(Struct, frozen=True, kw_only=True):
    """A row of `api_key`. Times are milliseconds UTC."""

    id: str
    account_id: str
    name: str
    digest: str
    created_at: int
    expires_at: int | None
    revoked_at: int | None
    last_used_at: int | None
    scopes: str
    """As `gateway.accounts.scopes` writes them."""


class KeyHolder(Struct, frozen=True, kw_only=True):
    """A key and whose it is."""

    key: KeyRow
    account: AccountRow


def insert_account(conn: Connection, row: AccountRow, *, postpaid: bool) -> None:
    """Make an account and its empty wallet."""
    conn.execute(insert(account).values(**structs.asdict(row)))
    ledger.open_wallet(conn, row.id, postpaid=postpaid)


def ensure_account(
    conn: Connection, *, account_id: str, name: str, postpaid: bool, at: int, admin: bool = False
) -> None:
    """Make a premium account and its wallet unless it is there."""
    if find_account(conn, account_id) is None:
        row = AccountRow(id=account_id, name=name, tier="premium", admin=admin, created_at=at)
        # Another process may have made it meanwhile.
        with suppress(IntegrityError), conn.begin_nested():
            insert_account(conn, row, postpaid=postpaid)


def find_account(conn: Connection, account_id: str, *, lock: bool = False) -> AccountRow | None:
    """An account; None when there is none of this id.

    Args:
        conn: the connection.
        account_id: which.
        lock: keep others from changing it until the transaction ends, which is one that writes.
    """
    query = select(account).where(account.c.id == account_id)
    if lock:
        # Rows that refer to it may come all the same.
        query = query.with_for_update(key_share=True)
    row = conn.execute(query).mappings().first()
    return _account(row) if row is not None else None


def list_accounts(conn: Connection) -> list[tuple[AccountRow, ledger.Balance]]:
    """Every account with its balance, oldest first."""
    rows = conn.execute(select(account).order_by(account.c.created_at, account.c.id)).mappings().all()
    return [(_account(row), ledger.balance(conn, row["id"])) for row in rows]


def change_account(conn: Connection, account_id: str, **values: Any) -> AccountRow | None:
    """Change columns of an account; the account as it is then, or None when there is none."""
    if values:
        conn.execute(update(account).where(account.c.id == account_id).values(**values))
    return find_account(conn, account_id)


def insert_key(conn: Connection, row: KeyRow) -> None:
    """Keep a key."""
    conn.execute(insert(api_key).values(**structs.asdict(row)))


def list_keys(conn: Connection, account_id: str | None = None) -> list[KeyRow]:
    """An account's keys, or everybody's, oldest first; revoked and expired ones too."""
    query = select(api_key).order_by(api_key.c.created_at, api_key.c.id)
    if account_id is not None:
        query = query.where(api_key.c.account_id == account_id)
    return [_key(row) for row in conn.execute(query).mappings()]


# Every request asks this: built once, and read by place.
_HOLDER = (
    select(
        *(api_key.c[name] for name in KeyRow.__struct_fields__),
        *(account.c[name] for name in AccountRow.__struct_fields__),
    )
    .join_from(api_key, account)
    .where(api_key.c.id == bindparam("key"))
)
_KEY_SIZE = len(KeyRow.__struct_fields__)


def find_holder(conn: Connection, key_id: str) -> KeyHolder | None:
    """A key and whose it is; None when there is none of this id."""
    row = conn.execute(_HOLDER, {"key": key_id}).first()
    if row is None:
        return None
    key = dict(zip(KeyRow.__struct_fields__, row[:_KEY_SIZE], strict=True))
    holder = dict(zip(AccountRow.__struct_fields__, row[_KEY_SIZE:], strict=True))
    return KeyHolder(key=KeyRow(**key), account=AccountRow(**holder))


def revoke_key(conn: Connection, key_id: str, at: int, account_id: str | None = None) -> KeyRow | None:
    """Take a key back; the key as it is then, or None when there is none. A second time changes nothing.

    Args:
        conn: inside a transaction.
        key_id: which.
        at: milliseconds UTC.
        account_id: whose it must be; anybody's when not given.
    """
    one = [api_key.c.id == key_id]
    if account_id is not None:
        one.append(api_key.c.account_id == account_id)
    conn.execute(update(api_key).where(*one, api_key.c.revoked_at.is_(None)).values(revoked_at=at))
    row = conn.execute(select(api_key).where(*one)).mappings().first()
    return _key(row) if row is not None else None


def note_use(conn: Connection, key_id: str, at: int) -> None:
    """Note when a key was used."""
    conn.execute(update(api_key).where(api_key.c.id == key_id).values(last_used_at=at))


def _account(row: RowMapping) -> AccountRow:
    return AccountRow(**_plain(row, AccountRow))


def _key(row: RowMapping) -> KeyRow:
    return KeyRow(**_plain(row, KeyRow))


def _plain(row: RowMapping, into: type[Struct]) -> dict[str, Any]:
    return {name: row[name] for name in into.__struct_fields__}
