"""Budgets of an account, its API keys and its end users: who may set which, and how they stand."""

from collections.abc import Iterable
from decimal import Decimal

from sqlalchemy import Connection

from billing import budgets
from billing.budgets import EACH, Budget, Kind, Payer, Period, Standing
from billing.money import to_micros
from gateway.accounts import audit, budget_rows
from gateway.accounts.audit import Actor
from gateway.accounts.budget_rows import KeyLimits
from gateway.accounts.budget_schemas import LIMITS, BudgetView, budget_view, is_limit
from gateway.accounts.principals import Principal
from gateway.accounts.rows import KeyRow, find_account, list_keys
from gateway.ambient import Ambient, iso
from gateway.controls import Affordable
from gateway.db.engine import Database
from gateway.problems import Problem
from registry.errors import Fault

__all__ = ["Budgets"]


class Budgets:
    """Sets budgets and says how they stand.

    Args:
        db: keeps them.
        ambient: time and ids.
    """

    def __init__(self, db: Database, ambient: Ambient) -> None:
        self._db = db
        self._ambient = ambient

    async def all(self, account_id: str, user: str | None = None) -> list[BudgetView]:
        """An account's budgets.

        Args:
            account_id: whose.
            user: of users those alone that hold for this one.

        Raises:
            Problem: `not_found`.
        """
        at = self._ambient.now_ms()

        def look(conn: Connection) -> list[Standing] | None:
            if find_account(conn, account_id) is None:
                return None
            found = budget_rows.list_budgets(conn, account_id, at)
            if user is None:
                return found
            his = budgets.standings(conn, Payer(account_id=account_id, end_user=user), at)
            kept = [one for one in found if one.budget.kind != "user"]
            return kept + [one for one in his if one.budget.kind == "user"]

        found = await self._db.read(look)
        if found is None:
            raise _no_account(account_id)
        return [self._view(one, at) for one in found]

    async def set(
        self, account_id: str, kind: Kind, subject: str | None, period: Period, limit: Decimal, by: Actor
    ) -> BudgetView:
        """Set a budget, in place of the one that there is; what was used counts.

        Args:
            account_id: whose account.
            kind: whose budget.
            subject: the key's id; the user's, or `*`; None for the account.
            period: for how long.
            limit: dollars.
            by: who sets it.

        Raises:
            Problem: `not_found`, `invalid_body`.
        """
        new = Budget(
            kind=kind, subject=_subject(kind, subject), period=period, limit_micros=_limit(limit, "/limit")
        )
        at = self._ambient.now_ms()

        def write(conn: Connection) -> Standing:
            self._lock(conn, account_id, new)
            budget_rows.put_budget(conn, account_id, new, at)
            self._note(conn, "budget.set", account_id, new, by, at, micros=new.limit_micros)
            return budget_rows.standing_of(conn, account_id, new, at)

        return self._view(await self._db.write(write), at)

    async def remove(
        self, account_id: str, kind: Kind, subject: str | None, period: Period, by: Actor
    ) -> BudgetView:
        """Remove a budget; it as it stood.

        Raises:
            Problem: `not_found`, `invalid_body`.
        """
        old = Budget(kind=kind, subject=_subject(kind, subject), period=period, limit_micros=0)
        at = self._ambient.now_ms()

        def write(conn: Connection) -> Standing:
            self._lock(conn, account_id, old)
            gone = budget_rows.drop_budget(conn, account_id, old, at)
            if gone is None:
                raise Problem("not_found", "There is no such budget; `GET /api/billing/budgets` lists them")
            self._note(conn, "budget.remove", account_id, old, by, at)
            return gone

        return self._view(await self._db.write(write), at)

    async def of_keys(self, keys: Iterable[KeyRow]) -> dict[str, KeyLimits]:
        """The budgets of API keys, by their ids."""
        ids = [key.id for key in keys]
        return await self._db.read(lambda c: budget_rows.limits_of_keys(c, ids))

    async def affordable(self, caller: Principal, user: str | None) -> Affordable | None:
        """The most that a job of a caller may cost now; None where nothing limits it."""
        at = self._ambient.now_ms()
        key_id = caller.key.id if caller.key else None
        payer = Payer(account_id=caller.account_id, key_id=key_id, end_user=user)
        return await self._db.read(lambda c: budget_rows.affordable(c, payer, at))

    async def check_may_set(self, caller: Principal, kind: Kind) -> None:
        """Refuse who may not set or remove a budget of this kind on their own account.

        Raises:
            Problem: `admin_required`, `missing_scope`.
        """
        if kind == "account" and not caller.admin:
            raise Problem(
                "admin_required",
                "The budget of an account is set by an admin: `gateway account set-budget ACCOUNT USD`",
            )
        if kind == "key":
            await self.check_unbounded(caller)

    async def check_unbounded(self, caller: Principal) -> None:
        """Refuse an API key that a budget of its own bounds: it would get around that.

        Raises:
            Problem: `missing_scope`.
        """
        key = caller.key
        if key is None or caller.admin:
            return
        if await self.of_keys([key]):
            raise Problem(
                "missing_scope",
                "This API key has a budget of its own: it makes no keys, and changes no key's budget. Sign "
                "in, or send a key that manages keys and has no budget",
            )

    def _lock(self, conn: Connection, account_id: str, one: Budget) -> None:
        if not budget_rows.lock_account(conn, account_id):
            raise _no_account(account_id)
        if one.kind == "key" and one.subject not in {key.id for key in list_keys(conn, account_id)}:
            raise Problem(
                "not_found",
                f"The account has no API key with the id {one.subject!r}: it is the part between igw_ and "
                "the next _",
            )

    def _note(
        self, conn: Connection, action: str, account_id: str, one: Budget, by: Actor, at: int, **more: int
    ) -> None:
        # A user's id may be an address of mail, which the log does not have.
        whose = {"key": one.subject} if one.kind == "key" else {}
        audit.record(
            conn, self._ambient, by, action, account_id, at, kind=one.kind, period=one.period, **whose, **more
        )

    def _view(self, one: Standing, at: int) -> BudgetView:
        return budget_view(one, iso(budget_rows.month_end(at)))


def _subject(kind: Kind, subject: str | None) -> str:
    """Whose budget, as the tables have it.

    Raises:
        Problem: `invalid_body`.
    """
    if (kind == "account") == (subject is None):
        return subject or ""
    allowed = {"account": "nothing", "key": "a key's id", "user": f"a user's id, or {EACH!r} for each user"}
    message = f"the subject of a budget of kind {kind!r} is {allowed[kind]}"
    fault = Fault(
        pointer="/subject", code="missing" if subject is None else "not_allowed", message=message,
        allowed=allowed[kind],
    )  # fmt: skip
    raise Problem("invalid_body", f"/subject: {message}", errors=[fault])


def _limit(dollars: Decimal, at: str) -> int:
    """Dollars as micro-dollars, exactly.

    Raises:
        Problem: `invalid_body`.
    """
    if is_limit(dollars):
        return to_micros(dollars)
    fault = Fault(pointer=at, code="out_of_range", message=f"{dollars} is no amount", allowed=LIMITS)
    raise Problem("invalid_body", f"{at}: {dollars} is no amount. Allowed: {LIMITS}", errors=[fault])


def _no_account(account_id: str) -> Problem:
    return Problem("not_found", f"No account has the id {account_id!r}; `gateway account list` shows them")
