"""What an operator does with accounts, their money and their keys."""

from collections.abc import Awaitable, Callable
from decimal import Decimal

from msgspec import UNSET, Struct, UnsetType, structs
from sqlalchemy import Connection

from billing import corrections, ledger
from billing.budgets import Budget, Period, set_budget
from gateway.accounts import audit, logins
from gateway.accounts.amounts import AMOUNTS, MAX_TOP_UP_USD, is_amount, micros_of
from gateway.accounts.audit import Actor, AuditRow
from gateway.accounts.entering import Asked, enter, no_account
from gateway.accounts.keys import NewKey, new_key
from gateway.accounts.rows import (
    AccountRow,
    KeyRow,
    change_account,
    find_account,
    insert_account,
    insert_key,
    list_accounts,
    list_keys,
    revoke_key,
)
from gateway.accounts.scopes import Scope, write_scopes
from gateway.ambient import DAY_MS, Ambient
from gateway.db.engine import Database
from gateway.problems import Problem

__all__ = [
    "AMOUNTS",
    "MAX_TOP_UP_USD",
    "Accounts",
    "Change",
    "Funded",
    "PremiumRule",
    "Release",
    "is_amount",
]

Release = Callable[[str], Awaitable[None]]


class Funded(Struct, frozen=True, kw_only=True):
    """An account and its money."""

    account: AccountRow
    balance: ledger.Balance


class PremiumRule(Struct, frozen=True, kw_only=True):
    """A payment that makes its account premium."""

    dollars: Decimal
    """Of so much, or more."""
    days: int


class Change(Struct, frozen=True, kw_only=True):
    """What an admin changes of an account; None leaves a thing as it is."""

    tier: str | None = None
    tier_days: int | None = None
    """How long the tier holds; for good when not given."""
    admin: bool | None = None
    closed: bool | None = None
    resend_window_s: int | UnsetType | None = UNSET
    """None: from now on as the settings say."""
    price_list: str | UnsetType | None = UNSET
    """None: from now on everybody's prices."""


class Accounts:
    """Makes and changes accounts and keys.

    Args:
        db: keeps them.
        ambient: time, ids and randomness.
        premium: what a payment must be to make its account premium, and for how long; none when no
            payment does.
        release: called with an account that became premium: its jobs need wait no longer.
    """

    def __init__(
        self,
        db: Database,
        ambient: Ambient,
        premium: PremiumRule | None = None,
        release: Release | None = None,
    ) -> None:
        self._db = db
        self._ambient = ambient
        self._premium = premium
        self._release = release

    async def create(
        self, name: str, *, tier: str, admin: bool, postpaid: bool, balance: Decimal | None, by: Actor
    ) -> Funded:
        """Make an account.

        Args:
            name: for people.
            tier: normal or premium.
            admin: may it call `/api/admin`.
            postpaid: may its balance go below zero: it pays afterwards.
            balance: dollars that it starts with.
            by: who makes it.

        Raises:
            Problem: `invalid_body`, when the balance is no amount.
        """
        at = self._ambient.now_ms()
        row = AccountRow(id=self._ambient.new_id("acc"), name=name, tier=tier, admin=admin, created_at=at)
        amount = None if balance is None else micros_of(balance, "/balance")
        reference = self._ambient.new_id("top")

        def make(conn: Connection) -> ledger.Balance:
            insert_account(conn, row, postpaid=postpaid)
            if amount is not None:
                ledger.top_up(conn, account_id=row.id, amount_micros=amount, reference=reference, at=at)
            audit.record(
                conn,
                self._ambient,
                by,
                "account.create",
                row.id,
                at,
                tier=tier,
                admin=admin,
                postpaid=postpaid,
            )
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
            raise no_account(account_id)
        return found

    async def all(self) -> list[Funded]:
        """Every account, oldest first."""
        rows = await self._db.read(list_accounts)
        return [Funded(account=account, balance=balance) for account, balance in rows]

    async def change(self, account_id: str, change: Change, by: Actor) -> Funded:
        """Change an account. A closed one keeps what it has; its sessions end.

        Raises:
            Problem: `not_found`.
        """
        at = self._ambient.now_ms()
        values: dict[str, object] = {}
        if change.tier is not None:
            until = None if change.tier_days is None else at + change.tier_days * DAY_MS
            values |= {"tier": change.tier, "tier_until": until}
        if change.admin is not None:
            values["admin"] = change.admin
        if change.closed is not None:
            values["closed_at"] = at if change.closed else None
        if change.resend_window_s is not UNSET:
            values["resend_window_s"] = change.resend_window_s
        if change.price_list is not UNSET:
            values["price_list"] = change.price_list

        def write(conn: Connection) -> AccountRow | None:
            row = change_account(conn, account_id, **values)
            if row is not None:
                if change.closed or change.admin is not None:
                    # What somebody may do has changed: they sign in again.
                    logins.remove_sessions(conn, account_id)
                audit.record(conn, self._ambient, by, "account.change", account_id, at, **_said(change))
            return row

        if await self._db.write(write) is None:
            raise no_account(account_id)
        return await self._found_and_released(account_id)

    async def audit_log(self, subject: str | None, before: str | None, limit: int) -> list[AuditRow]:
        """Who did what, newest first."""
        return await self._db.read(lambda c: audit.list_audit(c, subject=subject, before=before, limit=limit))

    async def top_up(self, account_id: str, dollars: Decimal, reference: str | None, by: Actor) -> Funded:
        """Add money that was paid in; enough of it makes the account premium for a while.

        Args:
            account_id: to whose wallet.
            dollars: more than 0.
            reference: the payment's own id, which counts once; one is made when not given.
            by: who enters it.

        Raises:
            Problem: `not_found`, `invalid_body`, `reference_used`, `reference_conflict`.
        """
        amount, at = micros_of(dollars, "/amount"), self._ambient.now_ms()
        named = reference or self._ambient.new_id("top")

        def pay(conn: Connection) -> None:
            # First, as where a job is let in: two at once come one after the other, whatever they change.
            find_account(conn, account_id, lock=True)
            corrections.refuse_used(conn, "topup", named)
            ledger.top_up(conn, account_id=account_id, amount_micros=amount, reference=named, at=at)
            audit.record(
                conn, self._ambient, by, "account.topup", account_id, at, micros=amount, reference=named
            )
            if self._premium is not None and dollars >= self._premium.dollars:
                self._extend_premium(conn, account_id, self._premium.days, by, at)

        asked = Asked(kind="topup", reference=named, account_id=account_id, amount_micros=amount)
        await enter(self._db, asked, pay)
        return await self._found_and_released(account_id)

    async def _found_and_released(self, account_id: str) -> Funded:
        """An account as it is after a change; what waits of it runs if it need not wait."""
        found = await self.find(account_id)
        if self._release is not None and found.account.tier_at(self._ambient.now_ms()) == "premium":
            await self._release(account_id)
        return found

    def _extend_premium(self, conn: Connection, account_id: str, days: int, by: Actor, at: int) -> None:
        """Premium from now, or from where it ends; what is premium for good stays so."""
        row = find_account(conn, account_id)
        if row is None or (row.tier == "premium" and row.tier_until is None):
            return
        begins = max(at, row.tier_until or at) if row.tier == "premium" else at
        until = begins + days * DAY_MS
        change_account(conn, account_id, tier="premium", tier_until=until)
        audit.record(conn, self._ambient, by, "account.premium", account_id, at, until=until)

    async def create_key(
        self,
        account_id: str,
        name: str,
        *,
        expires_in_days: int | None,
        by: Actor,
        scopes: frozenset[Scope] = frozenset(("generate", "read")),
        budget: Decimal | None = None,
        monthly_budget: Decimal | None = None,
    ) -> tuple[KeyRow, NewKey]:
        """Make an API key. Its text is in the answer and nowhere else.

        Args:
            account_id: whose.
            name: for people.
            expires_in_days: None: never.
            by: who makes it.
            scopes: what it is good for.
            budget: dollars that its jobs may cost in all.
            monthly_budget: dollars that they may cost in a calendar month.

        Raises:
            Problem: `not_found`, `invalid_body`.
        """
        await self.find(account_id)
        asked: tuple[tuple[Period, Decimal | None, str], ...] = (
            ("all", budget, "/budget"),
            ("month", monthly_budget, "/monthlyBudget"),
        )
        limits = [(period, micros_of(most, where)) for period, most, where in asked if most is not None]
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
            scopes=write_scopes(scopes),
        )

        def keep(conn: Connection) -> None:
            insert_key(conn, row)
            for period, micros in limits:
                # It has no jobs yet, and nobody else knows it.
                new = Budget(kind="key", subject=row.id, period=period, limit_micros=micros)
                set_budget(conn, account_id, new, {row.id: 0}, at)
            audit.record(conn, self._ambient, by, "key.create", account_id, at, key=row.id, scopes=row.scopes)

        await self._db.write(keep)
        return row, key

    async def keys(self, account_id: str | None) -> list[KeyRow]:
        """An account's keys, or everybody's, oldest first.

        Raises:
            Problem: `not_found`.
        """
        if account_id is not None:
            await self.find(account_id)
        return await self._db.read(lambda c: list_keys(c, account_id))

    async def revoke(self, key_id: str, by: Actor, account_id: str | None = None) -> KeyRow:
        """Take a key back, at once and for good; a second time changes nothing.

        Args:
            key_id: which.
            by: who takes it back.
            account_id: whose it must be; anybody's when not given.

        Raises:
            Problem: `not_found`.
        """
        at = self._ambient.now_ms()

        def take_back(conn: Connection) -> KeyRow | None:
            row = revoke_key(conn, key_id, at, account_id)
            if row is not None and row.revoked_at == at:
                audit.record(conn, self._ambient, by, "key.revoke", row.account_id, at, key=key_id)
            return row

        row = await self._db.write(take_back)
        if row is None:
            where = "GET /api/keys" if account_id else "`gateway keys list ACCOUNT`"
            raise Problem("not_found", f"No API key has the id {key_id!r}; {where} shows an account's")
        return row


def _said(change: Change) -> dict[str, object]:
    """What a change changes, for the audit log."""
    said = {name: value for name, value in structs.asdict(change).items() if value is not None}
    said |= {name: None for name in ("resend_window_s", "price_list") if getattr(change, name) is None}
    return {name: value for name, value in said.items() if value is not UNSET}
