"""The SQL of budgets: what jobs have used is summed up once, when a budget is set; from then on
`billing.budgets` counts it.
"""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from msgspec import Struct
from sqlalchemy import ColumnElement, Connection, and_, func, literal, select

from billing import budgets, ledger
from billing.budgets import EACH, Budget, Payer, Standing, month_of
from billing.tables import budget
from gateway.ambient import HOUR_MS, moment
from gateway.controls import Affordable
from gateway.db.tables import account, api_key, job

__all__ = [
    "KeyLimits",
    "affordable",
    "drop_budget",
    "limits_of_keys",
    "list_budgets",
    "lock_account",
    "month_end",
    "put_budget",
    "standing_of",
]


class KeyLimits(Struct, frozen=True, kw_only=True):
    """The budgets of an API key, in micro-dollars."""

    total_micros: int | None = None
    month_micros: int | None = None


def lock_account(conn: Connection, account_id: str) -> bool:
    """Keep jobs of an account from being let in and from ending until the transaction ends; False when there
    is no such account.

    Those under way are waited for: each holds a weaker lock on the account, from its row on
    (`gateway.jobs.admit`) or from its end on (`gateway.jobs.ending`).
    """
    query = select(account.c.id).where(account.c.id == account_id).with_for_update()
    return conn.execute(query).first() is not None


def put_budget(conn: Connection, account_id: str, new: Budget, at: int) -> None:
    """Set a budget, in place of the one that there is, with what jobs have used of it.

    Args:
        conn: inside a transaction that has `lock_account`.
        account_id: whose.
        new: the budget.
        at: milliseconds UTC.
    """
    for when in _moments(new, at):
        budgets.set_budget(conn, account_id, new, _used(conn, account_id, new, when), when)


def drop_budget(conn: Connection, account_id: str, old: Budget, at: int) -> Standing | None:
    """Remove a budget; it as it stood, or None when there is none.

    Args:
        conn: inside a transaction that has `lock_account`.
        account_id: whose.
        old: the budget; its limit does not matter.
        at: milliseconds UTC.
    """
    which = (old.kind, old.subject, old.period)
    for one in list_budgets(conn, account_id, at):
        if (one.budget.kind, one.budget.subject, one.budget.period) == which:
            budgets.remove_budget(conn, account_id, old)
            return one
    return None


def list_budgets(conn: Connection, account_id: str, at: int) -> list[Standing]:
    """An account's budgets and how they stand; one of each user as if nothing were used. Those of keys that
    were revoked bound nobody any more.
    """
    columns = (budget.c.kind, budget.c.subject, budget.c.period, budget.c.limit_micros)
    revoked = select(api_key.c.id).where(api_key.c.revoked_at.is_not(None))
    rows = conn.execute(
        select(*columns)
        .where(budget.c.account_id == account_id)
        .where(~and_(budget.c.kind == "key", budget.c.subject.in_(revoked)))
        .order_by(*columns[:3])
    ).mappings()
    return _standings(conn, account_id, [Budget(**row) for row in rows], at)


def standing_of(conn: Connection, account_id: str, one: Budget, at: int) -> Standing:
    """How a budget stands."""
    return _standings(conn, account_id, [one], at)[0]


def limits_of_keys(conn: Connection, key_ids: Iterable[str]) -> dict[str, KeyLimits]:
    """The budgets of API keys, by their ids; of those that have some."""
    rows = conn.execute(
        select(budget.c.subject, budget.c.period, budget.c.limit_micros).where(
            budget.c.kind == "key", budget.c.subject.in_(list(key_ids))
        )
    )
    found: dict[str, dict[str, int]] = {}
    for row in rows:
        name = "total_micros" if row.period == "all" else "month_micros"
        found.setdefault(row.subject, {})[name] = row.limit_micros
    return {key_id: KeyLimits(**limits) for key_id, limits in found.items()}


def affordable(conn: Connection, payer: Payer, at: int) -> Affordable | None:
    """The most that a job may cost now; None where nothing limits it."""
    balance = ledger.balance(conn, payer.account_id)
    found = [] if balance.postpaid else [Affordable(micros=balance.available_micros, of="the balance")]
    found += [Affordable(micros=one.left_micros, of=one.words) for one in budgets.standings(conn, payer, at)]
    return min(found, key=lambda one: one.micros, default=None)


def month_end(at: int) -> int:
    """When the calendar month (UTC) of a time ends, and the next begins; in milliseconds."""
    return _month(at)[1]


def _month(at: int) -> tuple[int, int]:
    begins = moment(at).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    ends = (begins + timedelta(days=32)).replace(day=1)
    return int(begins.timestamp() * 1000), int(ends.timestamp() * 1000)


def _moments(new: Budget, at: int) -> list[int]:
    """A time in each period in which jobs are let in about now: at the turn of a month some are late, and
    another machine's clock may be ahead.
    """
    if new.period == "all":
        return [at]
    return list({month_of(when): when for when in (at - HOUR_MS, at + HOUR_MS, at)}.values())


def _used(conn: Connection, account_id: str, new: Budget, at: int) -> dict[str, int]:
    """What jobs that were let in in the period of a time hold or were charged, by whose it is."""
    whose: ColumnElement[Any] = {"account": literal(""), "key": job.c.key_id, "user": job.c.end_user}[
        new.kind
    ]
    which = [job.c.account_id == account_id]
    if new.period == "month":
        begins, ends = _month(at)
        which += [job.c.created_at >= begins, job.c.created_at < ends]
    each = new.kind == "user" and new.subject == EACH
    if each:
        which.append(whose.is_not(None))
    elif new.kind != "account":
        which.append(whose == new.subject)
    counted = func.sum(func.coalesce(job.c.charge_micros, job.c.ceiling_micros))
    query = select(whose.label("whose"), counted.label("used")).where(*which).group_by(whose)
    used = {str(row.whose): int(row.used) for row in conn.execute(query)}
    return used if each else {new.subject: 0} | used


def _standings(conn: Connection, account_id: str, of: list[Budget], at: int) -> list[Standing]:
    spent: dict[tuple[str, str, str], int] = {
        (one.kind, one.subject, one.period): one.used_micros
        for one in budgets.spent_of(conn, account_id, (month_of(at), "all"))
    }
    periods = ["all" if one.period == "all" else month_of(at) for one in of]
    return [
        Standing(
            budget=one,
            subject=one.subject,
            period=period,
            used_micros=spent.get((one.kind, one.subject, period), 0),
        )
        for one, period in zip(of, periods, strict=True)
    ]
