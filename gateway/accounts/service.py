"""What an operator does with accounts, their money and their keys."""

from decimal import Decimal

from msgspec import Struct
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from billing import ledger
from billing.money import to_micros, usd
from gateway.accounts.keys import NewKey, new_key
from gateway.accounts.rows import (
    AccountRow,
    KeyRow,
    find_account,
    insert_account,
    insert_key,
    list_accounts,
    list_keys,
    revoke_key,
)
from gateway.ambient import Ambient
from gateway.db.engine import Database
from gateway.problems import Problem
from registry.errors import Fault

__all__ = ["AMOUNTS", "Accounts", "Funded", "is_amount"]

DAY_MS = 86_400_000
MAX_TOP_UP_USD = 1_000_000
AMOUNTS = f"US dollars, more than 0, at most {MAX_TOP_UP_USD}, six decimals"
"""What `is_amount` takes, for people."""


class Funded(Struct, frozen=True, kw_only=True):
    """An account and its money."""

    account: AccountRow
    balance: ledger.Balance


class Accounts:
    """Makes and changes accounts and keys.

    Args:
        db: keeps them.
        ambient: time, ids and randomness.
    """

    def __init__(self, db: Database, ambient: Ambient) -> None:
        self._db = db
        self._ambient = ambient

    async def create(
        self, name: str, *, tier: str, admin: bool, postpaid: bool, balance: Decimal | None
    ) -> Funded:
        """Make an account.

        Args:
            name: for people.
            tier: normal or premium.
            admin: may it call `/api/admin`.
            postpaid: may its balance go below zero: it pays afterwards.
            balance: dollars that it starts with.

        Raises:
            Problem: `invalid_body`, when the balance is no amount.
        """
        at = self._ambient.now_ms()
        row = AccountRow(id=self._ambient.new_id("acc"), name=name, tier=tier, admin=admin, created_at=at)
        amount = None if balance is None else _amount(balance, "/balance")
        reference = self._ambient.new_id("top")

        def make(conn: Connection) -> ledger.Balance:
            insert_account(conn, row, postpaid=postpaid)
            if amount is not None:
                ledger.top_up(conn, account_id=row.id, amount_micros=amount, reference=reference, at=at)
            return ledger.balance(conn, row.id)

        return Funded(account=row, balance=await self._db.write(make))

    async def find(self, account_id: str) -> Funded:
        """An account.

        Raises:
            Problem: `not_found`.
        """

        def look(conn: Connection) -> Funded | None:
            row = find_account(conn, account_id)
            return None if row is None else Funded(account=row, balance=ledger.balance(conn, account_id))

        found = await self._db.read(look)
        if found is None:
            raise _no_account(account_id)
        return found

    async def all(self) -> list[Funded]:
        """Every account, oldest first."""
        rows = await self._db.read(list_accounts)
        return [Funded(account=account, balance=balance) for account, balance in rows]

    async def top_up(self, account_id: str, dollars: Decimal, reference: str | None) -> Funded:
        """Add money that was paid in.

        Args:
            account_id: to whose wallet.
            dollars: more than 0.
            reference: the payment's own id, which counts once; one is made when not given.

        Raises:
            Problem: `not_found`, `invalid_body`, `reference_used`.
        """
        amount, at = _amount(dollars, "/amount"), self._ambient.now_ms()
        named = reference or self._ambient.new_id("top")
        try:
            await self._db.write(
                lambda c: ledger.top_up(
                    c, account_id=account_id, amount_micros=amount, reference=named, at=at
                )
            )
        except ledger.UnknownWallet as error:
            raise _no_account(account_id) from error
        except IntegrityError as error:
            detail = f"A payment with the reference {named!r} was entered before; nothing was changed"
            raise Problem("reference_used", detail) from error
        return await self.find(account_id)

    async def create_key(
        self, account_id: str, name: str, *, expires_in_days: int | None
    ) -> tuple[KeyRow, NewKey]:
        """Make an API key. Its text is in the answer and nowhere else.

        Raises:
            Problem: `not_found`.
        """
        await self.find(account_id)
        key, at = new_key(self._ambient.secret), self._ambient.now_ms()
        row = KeyRow(
            id=key.id,
            account_id=account_id,
            name=name,
            digest=key.digest,
            created_at=at,
            expires_at=None if expires_in_days is None else at + expires_in_days * DAY_MS,
            revoked_at=None,
            last_used_at=None,
        )
        await self._db.write(lambda c: insert_key(c, row))
        return row, key

    async def keys(self, account_id: str | None) -> list[KeyRow]:
        """An account's keys, or everybody's, oldest first.

        Raises:
            Problem: `not_found`.
        """
        if account_id is not None:
            await self.find(account_id)
        return await self._db.read(lambda c: list_keys(c, account_id))

    async def revoke(self, key_id: str) -> KeyRow:
        """Take a key back, at once and for good; a second time changes nothing.

        Raises:
            Problem: `not_found`.
        """
        at = self._ambient.now_ms()
        row = await self._db.write(lambda c: revoke_key(c, key_id, at))
        if row is None:
            detail = f"No API key has the id {key_id!r}; `gateway keys list ACCOUNT` shows an account's"
            raise Problem("not_found", detail)
        return row


def _no_account(account_id: str) -> Problem:
    return Problem("not_found", f"No account has the id {account_id!r}; `gateway account list` shows them")


def is_amount(dollars: Decimal) -> bool:
    """Whether so much can be paid in: whole micro-dollars of a sensible number."""
    return (
        dollars.is_finite() and 0 < dollars <= MAX_TOP_UP_USD and Decimal(usd(to_micros(dollars))) == dollars
    )


def _amount(dollars: Decimal, at: str) -> int:
    """Dollars as micro-dollars, exactly.

    Raises:
        Problem: `invalid_body`.
    """
    if is_amount(dollars):
        return to_micros(dollars)
    fault = Fault(pointer=at, code="out_of_range", message=f"{dollars} is no amount", allowed=AMOUNTS)
    raise Problem("invalid_body", f"{at}: {dollars} is no amount. Allowed: {AMOUNTS}", errors=[fault])
