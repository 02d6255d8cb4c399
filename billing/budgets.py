"""Budgets: the most that an account, a key or a user may spend in a calendar month, or in all.

What counts is kept in `spend`, changed in the transaction that moves the money: a job's ceiling when it is
let in, and the difference to its charge when it ends. A month is never reset: the next one has a row of its
own.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Literal

from msgspec import Struct, structs
from sqlalchemy import ColumnElement, Connection, and_, bindparam, delete, insert, or_, select, tuple_, update

from billing.ledger import LedgerError
from billing.money import usd
from billing.sql import insert_new
from billing.tables import budget, spend

__all__ = [
    "EACH",
    "Budget",
    "BudgetExhausted",
    "Kind",
    "Payer",
    "Period",
    "Spent",
    "Standing",
    "budgets_of",
    "give_back",
    "month_of",
    "remove_budget",
    "set_budget",
    "spent_of",
    "standings",
    "take",
]

Kind = Literal["account", "key", "user"]
Period = Literal["month", "all"]
EACH = "*"
"""The subject of the budget of each user that has none of its own."""


class Payer(Struct, frozen=True, kw_only=True):
    """On whose account a job is."""

    account_id: str
    key_id: str | None = None
    end_user: str | None = None


class Budget(Struct, frozen=True, kw_only=True):
    """The most that may be spent."""

    kind: Kind
    subject: str
    """The key's id; the user's, or `*` for each user; empty for the account."""
    period: Period
    limit_micros: int


class Spent(Struct, frozen=True, kw_only=True):
    """What counts against a budget."""

    kind: Kind
    subject: str
    period: str
    """`2026-11`, or `all`"""
    used_micros: int


class Standing(Struct, frozen=True, kw_only=True):
    """A budget that holds for somebody, and what counts against it."""

    budget: Budget
    subject: str
    """Whose it is here: of a budget of each user, the user's id."""
    period: str
    """`2026-11`, or `all`"""
    used_micros: int

    @property
    def left_micros(self) -> int:
        """What new jobs may cost; never below zero."""
        return max(self.budget.limit_micros - self.used_micros, 0)

    @property
    def words(self) -> str:
        """It, for people."""
        whose = {"account": "the account's", "key": "the API key's", "user": f"the user {self.subject}'s"}
        when = "" if self.period == "all" else f" for {self.period}"
        return f"{whose[self.budget.kind]} budget{when}"


class BudgetExhausted(LedgerError):
    """A budget does not cover what is asked for; in micro-dollars."""

    def __init__(self, found: Budget, subject: str, period: str, used: int, needed: int) -> None:
        self.standing = Standing(budget=found, subject=subject, period=period, used_micros=used)
        self.left, self.needed = self.standing.left_micros, needed
        super().__init__(
            f"{self.standing.words} has {usd(self.left)} USD left, and the job may cost {usd(needed)} USD"
        )

    def __reduce__(self) -> tuple[object, ...]:
        one = self.standing
        return type(self), (one.budget, one.subject, one.period, one.used_micros, self.needed)


_MINE = (
    spend.c.account_id == bindparam("account"),
    spend.c.kind == bindparam("k"),
    spend.c.subject == bindparam("whose"),
    spend.c.period == bindparam("when"),
)
_TAKE = (
    update(spend)
    .where(*_MINE, spend.c.used_micros + bindparam("amount") <= bindparam("most"))
    .values(used_micros=spend.c.used_micros + bindparam("amount"))
)
_LOOK = select(spend.c.used_micros).where(*_MINE)
_FORGET = delete(spend).where(*_MINE)
_PUT = insert(spend).values(
    account_id=bindparam("account"),
    kind=bindparam("k"),
    subject=bindparam("whose"),
    period=bindparam("when"),
    used_micros=bindparam("used"),
)
_FIND = select(budget.c.kind, budget.c.subject, budget.c.period, budget.c.limit_micros).where(
    budget.c.account_id == bindparam("account"),
    or_(
        budget.c.kind == "account",
        and_(budget.c.kind == "key", budget.c.subject == bindparam("key")),
        and_(budget.c.kind == "user", budget.c.subject.in_((bindparam("user"), EACH))),
    ),
)
_GIVE_BACK = (
    update(spend)
    .where(
        spend.c.account_id == bindparam("account"),
        tuple_(spend.c.kind, spend.c.subject, spend.c.period).in_(bindparam("rows", expanding=True)),
    )
    .values(used_micros=spend.c.used_micros - bindparam("amount"))
)
_ORDER: dict[str, int] = {"account": 0, "key": 1, "user": 2}


def month_of(at: int) -> str:
    """The calendar month (UTC) of a time in milliseconds: `2026-11`."""
    return f"{datetime.fromtimestamp(at / 1000, UTC):%Y-%m}"


def budgets_of(conn: Connection, payer: Payer) -> list[tuple[Budget, str]]:
    """The budgets that a job counts against, and whose each is; in the order in which they are taken."""
    rows = conn.execute(
        _FIND, {"account": payer.account_id, "key": payer.key_id or "", "user": payer.end_user or ""}
    )
    found = [Budget(**row._mapping) for row in rows]
    own = {(one.kind, one.period) for one in found if one.kind == "user" and one.subject != EACH}
    kept = [
        one
        for one in found
        if one.kind != "user"
        or (payer.end_user is not None and (one.subject != EACH or (one.kind, one.period) not in own))
    ]
    # In one order, so that two transactions never wait for each other.
    kept.sort(key=lambda one: (_ORDER[one.kind], one.period))
    return [(one, payer.end_user or "" if one.kind == "user" else one.subject) for one in kept]


def standings(conn: Connection, payer: Payer, at: int) -> list[Standing]:
    """The budgets that a job would count against now, and how each stands.

    Args:
        conn: a connection.
        payer: on whose account.
        at: milliseconds UTC.
    """
    found: list[Standing] = []
    for one, subject in budgets_of(conn, payer):
        period = _period(one, at)
        keys = {"account": payer.account_id, "k": one.kind, "whose": subject, "when": period}
        used = conn.execute(_LOOK, keys).scalar()
        found.append(Standing(budget=one, subject=subject, period=period, used_micros=int(used or 0)))
    return found


def take(conn: Connection, payer: Payer, amount_micros: int, at: int) -> None:
    """Count a job that is let in against its budgets, each in one conditional update: two at once cannot
    both pass.

    Args:
        conn: inside the transaction that lets it in.
        payer: on whose account.
        amount_micros: the job's ceiling.
        at: milliseconds UTC.

    Raises:
        BudgetExhausted: one of them does not cover it; roll back.
    """
    for one, subject in budgets_of(conn, payer):
        period = _period(one, at)
        keys = {"account": payer.account_id, "k": one.kind, "whose": subject, "when": period}
        values = keys | {"amount": amount_micros, "most": one.limit_micros}
        if conn.execute(_TAKE, values).rowcount == 1:
            continue
        # It is the first job of the period, or there is too little left.
        _begin(conn, keys)
        if conn.execute(_TAKE, values).rowcount == 1:
            continue
        used = int(conn.execute(_LOOK, keys).scalar_one())
        raise BudgetExhausted(one, subject, period, used, amount_micros)


def give_back(conn: Connection, payer: Payer, amount_micros: int, let_in_at: int) -> None:
    """Take off what a job did not cost in the end.

    Args:
        conn: inside the transaction that ends it.
        payer: on whose account.
        amount_micros: its ceiling less its charge.
        let_in_at: when it was let in, in milliseconds UTC.
    """
    if not amount_micros:
        return
    whose = [("account", "")]
    if payer.key_id is not None:
        whose.append(("key", payer.key_id))
    if payer.end_user is not None:
        whose.append(("user", payer.end_user))
    rows = [(kind, subject, period) for kind, subject in whose for period in (month_of(let_in_at), "all")]
    conn.execute(_GIVE_BACK, {"account": payer.account_id, "rows": rows, "amount": amount_micros})


def set_budget(conn: Connection, account_id: str, new: Budget, used: Mapping[str, int], at: int) -> None:
    """Set a budget, in place of the one that there is.

    Args:
        conn: inside a transaction in which no job of the account can be let in or end.
        account_id: whose.
        new: the budget.
        used: micro-dollars that count in the period of now, by subject: of the subject, or of each user that
            has some; from the jobs themselves.
        at: milliseconds UTC.
    """
    key = {"account_id": account_id, "kind": new.kind, "subject": new.subject, "period": new.period}
    if not insert_new(conn, budget, key | {"limit_micros": new.limit_micros}):
        conn.execute(update(budget).where(*_is(account_id, new)).values(limit_micros=new.limit_micros))
    when = _period(new, at)
    places = [
        {"account": account_id, "k": new.kind, "whose": subject, "when": when, "used": micros}
        for subject, micros in used.items()
    ]
    if places:  # of each user there may be thousands
        conn.execute(_FORGET, places)
        conn.execute(_PUT, places)


def remove_budget(conn: Connection, account_id: str, old: Budget) -> bool:
    """Remove a budget, and what counts against it; False when there is none."""
    if conn.execute(delete(budget).where(*_is(account_id, old))).rowcount != 1:
        return False
    gone = [spend.c.account_id == account_id, spend.c.kind == old.kind]
    gone.append(spend.c.period == "all" if old.period == "all" else spend.c.period != "all")
    if old.subject != EACH:
        # A budget of each user may be there still.
        each = select(budget.c.subject).where(*_is(account_id, structs.replace(old, subject=EACH)))
        conn.execute(delete(spend).where(*gone, spend.c.subject == old.subject, ~each.exists()))
    else:
        own = select(budget.c.subject).where(
            budget.c.account_id == account_id, budget.c.kind == old.kind, budget.c.period == old.period
        )
        conn.execute(delete(spend).where(*gone, spend.c.subject.not_in(own)))
    return True


def spent_of(conn: Connection, account_id: str, periods: Sequence[str]) -> list[Spent]:
    """What counts against an account's budgets in these periods."""
    rows = conn.execute(
        select(spend.c.kind, spend.c.subject, spend.c.period, spend.c.used_micros)
        .where(spend.c.account_id == account_id, spend.c.period.in_(periods))
        .order_by(spend.c.kind, spend.c.subject, spend.c.period)
    )
    return [Spent(**row._mapping) for row in rows]


def _period(one: Budget, at: int) -> str:
    return "all" if one.period == "all" else month_of(at)


def _begin(conn: Connection, keys: dict[str, str]) -> bool:
    row = {
        "account_id": keys["account"],
        "kind": keys["k"],
        "subject": keys["whose"],
        "period": keys["when"],
        "used_micros": 0,
    }
    return insert_new(conn, spend, row)


def _is(account_id: str, one: Budget) -> tuple[ColumnElement[bool], ...]:
    return (
        budget.c.account_id == account_id,
        budget.c.kind == one.kind,
        budget.c.subject == one.subject,
        budget.c.period == one.period,
    )
