"""Any order of what moves money, with a second set of books kept in plain Python beside it."""

from collections import defaultdict
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from msgspec.structs import replace
from sqlalchemy import Connection, select
from support.new_jobs import new_attempt
from support.paid_jobs import (
    KEYS,
    NOON,
    PEOPLE,
    Job,
    limits_of,
    open_accounts,
    other_candidate,
    paid_job,
    share_of,
    used_before,
)

from billing import budgets, corrections, ledger
from billing.budgets import EACH, Budget, BudgetExhausted, month_of
from billing.corrections import NothingToRefund, ReferenceUsed, RefundTooLarge
from billing.ledger import InsufficientFunds
from billing.tables import COUNTS, budget, usage_day
from billing.usage import DAY_MS
from gateway import books
from gateway.jobs import admit, expiry, refunds, settle, store
from providers.errors import JobCanceled, ProviderFailed, SubmitUnknown

__all__ = ["Money"]

HOUR = 3_600_000
OTHER = other_candidate()
AMOUNT = st.integers(1, 120)
ACCOUNT = st.sampled_from(list(PEOPLE))
KEY = st.sampled_from(list(KEYS))
CEILINGS = st.lists(st.integers(0, 60), min_size=1, max_size=3)
USER = st.sampled_from([None, "eve", "max"])
WHICH = st.integers(0, 99)
CHANGE = st.tuples(
    st.sampled_from(["account", "key", "user", "none"]),
    st.sampled_from(["month", "all"]),
    st.integers(0, 200),
    WHICH,
)
"""Of a budget: its kind, its period, its limit, and whose it is; or that one is removed."""


class Money(RuleBasedStateMachine):
    """Accounts, keys, users and jobs, on one connection."""

    conn: Connection
    """Set by the test."""
    steps = 0
    refused: dict[str, int] = defaultdict(int)
    """How often, and what for, in all runs."""

    def __init__(self) -> None:
        super().__init__()
        self.undo = self.conn.begin_nested()
        open_accounts(self.conn)
        self.at = NOON
        self.number = 0
        self.jobs: list[Job] = []
        self.money = dict.fromkeys(PEOPLE, 200)
        for account, amount in self.money.items():
            ledger.top_up(
                self.conn, account_id=account, amount_micros=amount, reference=f"first {account}", at=1
            )
        self.references: list[tuple[Callable[[str], object], str]] = []
        self.usage: dict[tuple[Any, ...], dict[str, int]] = defaultdict(lambda: dict.fromkeys(COUNTS, 0))
        self.costs: dict[str, list[int]] = defaultdict(lambda: [0, 0])
        self.begin()

    def begin(self) -> None:
        """A few budgets and jobs, of which some have ended: each rule finds something to do at once."""
        for kind, period, limit, who in (
            ("account", "month", 260, 0),
            ("key", "month", 90, 0),
            ("user", "all", 130, 2),
        ):
            self.set_budget("ann", kind, period, limit, who)
        for user in ("eve", "max"):
            for account, key in (("ann", None), ("ann", "annkey"), ("ann", "anncap"), ("op", "opkey")):
                self.ask(account, key, user, 30, False)
            self.complete(0, 80, 1, 10)
            self.complete(1, 50, 2, 5)

    def teardown(self) -> None:
        self.undo.rollback()

    # -- what is done ---------------------------------------------------------------------

    def do(self, fn: Callable[[], object]) -> Exception | None:
        """A step in a transaction of its own; what refused it, and then nothing of it is kept."""
        self.at += 1000
        savepoint = self.conn.begin_nested()
        try:
            fn()
        except (ledger.LedgerError, ValueError) as error:
            savepoint.rollback()
            self.refused[type(error).__name__] += 1
            return error
        savepoint.commit()
        return None

    def next_number(self) -> int:
        self.number += 1
        return self.number

    def enter(self, kind: str, fn: Callable[[str], object], account: str, amount: int) -> None:
        """Enter a movement: it is refused when a prepaid account has less, and only then."""
        reference = f"r{self.next_number()}"
        error = self.do(lambda: fn(reference))
        if not PEOPLE[account] and self.available(account) + amount < 0:
            assert isinstance(error, InsufficientFunds), error
            return
        assert error is None
        self.money[account] += amount
        # A payment's is refused by the constraint alone: `gateway.accounts.entering` looks first.
        if kind != "topup":
            self.references.append((fn, reference))

    def available(self, account: str) -> int:
        return self.money[account] - sum(one.ceiling for one in self.open_jobs() if one.account == account)

    def one_of(self, which: int, *statuses: str) -> Job | None:
        found = [one for one in self.jobs if one.status in statuses]
        return found[which % len(found)] if found else None

    def open_jobs(self) -> list[Job]:
        return [one for one in self.jobs if one.charge is None]

    @rule(
        account=ACCOUNT, amount=AMOUNT, kind=st.sampled_from(["topup", "promotion", "payout", "more", "less"])
    )
    def money_moves(self, account: str, amount: int, kind: str) -> None:
        about = {"account_id": account, "amount_micros": amount, "at": self.at}
        less = about | {"amount_micros": -amount, "note": "x"}
        moves: dict[str, Callable[[str], object]] = {
            "topup": lambda r: ledger.top_up(self.conn, reference=r, **about),
            "promotion": lambda r: corrections.promote(self.conn, reference=r, **about),
            "payout": lambda r: corrections.pay_out(self.conn, reference=r, **about),
            "more": lambda r: corrections.adjust(self.conn, reference=r, **about, note="x"),
            "less": lambda r: corrections.adjust(self.conn, reference=r, **less),
        }
        self.enter(kind, moves[kind], account, -amount if kind in ("payout", "less") else amount)

    @rule(which=WHICH)
    def enter_again(self, which: int) -> None:
        if self.references:
            fn, reference = self.references[which % len(self.references)]
            assert isinstance(self.do(lambda: fn(reference)), ReferenceUsed)

    @rule(account=ACCOUNT, user=USER, ceilings=CEILINGS, waits=st.booleans())
    def let_in(self, account: str, user: str | None, ceilings: list[int], waits: bool) -> None:
        for ceiling in ceilings:
            self.ask(account, None, user, ceiling, waits)

    @rule(key=KEY, user=USER, ceilings=CEILINGS)
    def let_in_with_a_key(self, key: str, user: str | None, ceilings: list[int]) -> None:
        for ceiling in ceilings:
            self.ask(KEYS[key][0], key, user, ceiling, False)

    def ask(self, account: str, key: str | None, user: str | None, ceiling: int, waits: bool) -> None:
        """Ask for a job: it is refused when there is not enough for it, and only then."""
        number, at = self.next_number(), self.at
        new = paid_job(number, account, ceiling, key=key, user=user)
        if waits:
            new = replace(new, status="scheduled", runs_at=at)
        one = Job(id=new.id, account=account, key=key, user=user, at=at, ceiling=ceiling, status=new.status)
        fits = [
            limit - used_before(self.jobs, one, kind, period)
            for kind, period, limit in limits_of(self.conn, one)
        ]
        error = self.do(lambda: admit.admit(self.conn, new, at))
        if not PEOPLE[account] and self.available(account) < ceiling:
            assert isinstance(error, InsufficientFunds), error
        elif any(left < ceiling for left in fits):
            assert isinstance(error, BudgetExhausted), error
            assert error.left == max(min(left for left in fits if left < ceiling), 0) or len(fits) > 1
        else:
            assert error is None
            self.jobs.append(one)

    # -- how jobs go on and end -------------------------------------------------------------

    @rule(which=WHICH, pictures=st.integers(1, 2), cost=st.integers(0, 40))
    def a_call_gives_pictures(self, which: int, pictures: int, cost: int) -> None:
        """One of several calls: the others go on."""
        if (one := self.one_of(which, "queued")) is not None:
            share = self.share(one, pictures, cost)
            assert self.do(lambda: store.keep_share(self.conn, one.id, share, self.at)) is None
            self.open_attempt(one, call=1)

    def share(self, one: Job, pictures: int, cost: int) -> store.Share:
        places = range(one.kept, one.kept + pictures)
        one.kept += pictures
        self.costs[one.id][0] += cost
        self.costs[one.id][1] += cost // 2
        return share_of(one.id, self.last_attempt(one), places, cost, cost // 2)

    def last_attempt(self, one: Job) -> str:
        return f"att{one.id[3:]}.{one.attempts}"

    def open_attempt(self, one: Job, *, call: int) -> None:
        one.attempts += 1
        new = replace(new_attempt(int(one.id[3:]), one.attempts), candidate=0, call=call)
        store.insert_attempt(self.conn, one.id, new, self.at)

    @rule(which=WHICH)
    def something_happens(self, which: int) -> None:
        """To a job that has no picture yet: its turn comes, another model is tried, a submit has no answer."""
        one = self.one_of(which, "scheduled", "queued")
        if one is None or one.kept:
            return
        if one.status == "scheduled":
            for job_id in admit.release_scheduled(self.conn, one.account, self.at):
                next(other for other in self.jobs if other.id == job_id).status = "queued"
        elif which % 2:
            lost = [(self.last_attempt(one), SubmitUnknown("no answer"))]
            assert self.do(lambda: store.mark_unknown(self.conn, one.id, lost, self.at)) is None
            one.status = "unknown"
        else:
            self.another_model(one)

    def another_model(self, one: Job) -> None:
        one.attempts += 1
        new = replace(new_attempt(int(one.id[3:]), one.attempts), provider="second")
        lost = [(f"att{one.id[3:]}.{one.attempts - 1}", ProviderFailed("no"))]
        assert self.do(lambda: store.next_candidate(self.conn, one.id, lost, new, OTHER, self.at)) is None
        one.model, one.provider = OTHER.route.model, OTHER.route.provider

    @rule(which=WHICH, percent=st.integers(0, 100), pictures=st.integers(1, 3), cost=st.integers(0, 90))
    def complete(self, which: int, percent: int, pictures: int, cost: int) -> None:
        """With its last call's pictures, and a charge of a part of its ceiling, or of all."""
        if (one := self.one_of(which, "queued")) is not None:
            share, charge = self.share(one, pictures, cost), one.ceiling * percent // 100
            assert self.do(lambda: store.complete(self.conn, one.id, [share], charge, self.at)) is None
            self.ended(one, "completed", charge)
            assert not store.complete(self.conn, one.id, [], charge, self.at)

    @rule(which=WHICH)
    def end_without_picture(self, which: int) -> None:
        """It fails, is canceled, or was never taken."""
        one = self.one_of(which, "scheduled", "queued", "unknown")
        if one is None or one.kept:
            return
        how = {"scheduled": "canceled", "unknown": "failed"}.get(one.status) or ("failed", "canceled")[
            which % 2
        ]
        error = JobCanceled("no") if how == "canceled" else ProviderFailed("no")
        lost = [(self.last_attempt(one), error)]

        def end() -> None:
            if one.status == "scheduled":
                assert store.request_cancel(self.conn, one.id, one.account, self.at) == "canceled"
            elif one.status == "unknown":
                assert settle.fail(self.conn, one.id, self.at)
            else:
                assert store.end_without_images(self.conn, one.id, lost, error, self.at)

        assert self.do(end) is None
        self.ended(one, how, 0)
        assert not store.end_without_images(self.conn, one.id, lost, error, self.at)

    def ended(self, one: Job, status: str, charge: int) -> None:
        one.status, one.charge = status, charge
        self.money[one.account] -= charge
        billed, listed = self.costs[one.id]
        counted = {
            "jobs": 1,
            status: 1,
            "images": one.kept,
            "quote_micros": one.ceiling // 2,
            "charge_micros": charge,
            "cost_micros": billed,
            "listed_micros": listed,
        }
        for name, number in counted.items():
            self.day_of(one)[name] += number

    def day_of(self, one: Job) -> dict[str, int]:
        return self.usage[one.account, self.at // DAY_MS, one.model, one.provider, one.key or ""]

    @rule(which=WHICH, amount=st.one_of(st.none(), st.integers(1, 60)))
    def refund(self, which: int, amount: int | None) -> None:
        """A part of a job's charge, or what is left of it."""
        # Of those that were charged, most of the time.
        one = self.one_of(which, "completed") or self.one_of(which, "queued", "failed", "canceled")
        if one is None:
            return
        reference, left = f"r{self.next_number()}", (one.charge or 0) - one.refunded

        def give_back(of: str) -> None:
            refunds.refund(self.conn, job_id=one.id, amount_micros=amount, reference=of, at=self.at)

        error = self.do(lambda: give_back(reference))
        if left == 0:
            assert isinstance(error, NothingToRefund), error
        elif amount is not None and amount > left:
            assert isinstance(error, RefundTooLarge), error
            assert error.left == left
        else:
            assert error is None
            given = left if amount is None else amount
            one.refunded += given
            self.money[one.account] += given
            self.day_of(one)["refund_micros"] += given
            self.references.append((give_back, reference))

    @rule(which=WHICH)
    def pictures_expire(self, which: int) -> None:
        one = self.one_of(which, "completed")
        if one is not None:
            expiry.remove_pictures(self.conn, [one.id], 30)

    # -- budgets and time -------------------------------------------------------------------

    @rule(changes=st.lists(CHANGE, min_size=1, max_size=4))
    def budgets_change(self, changes: list[tuple[Any, Any, int, int]]) -> None:
        for kind, period, limit, who in changes:
            if kind == "none":
                self.remove_budget(who)
            else:
                self.set_budget(("ann", "ann", "op")[who % 3], kind, period, limit, who)

    def set_budget(self, account: str, kind: Any, period: Any, limit: int, who: int) -> None:
        subject = self.subject_of(account, kind, who)
        if subject is None:
            return
        used: dict[str, int] = defaultdict(int)
        for one in self.jobs:
            whose = {"account": "", "key": one.key, "user": one.user}[kind]
            now = period == "all" or month_of(one.at) == month_of(self.at)
            if one.account == account and whose is not None and subject in (whose, EACH) and now:
                used[whose] += one.counts
        new = Budget(kind=kind, subject=subject, period=period, limit_micros=limit)
        budgets.set_budget(self.conn, account, new, used, self.at)

    def subject_of(self, account: str, kind: str, who: int) -> str | None:
        keys = [key for key, (owner, _) in KEYS.items() if owner == account]
        names = {"account": [""], "key": keys, "user": ["eve", "max", EACH]}[kind]
        return names[who % len(names)] if names else None

    def remove_budget(self, which: int) -> None:
        found = self.conn.execute(select(budget).order_by(*budget.primary_key.columns)).mappings().all()
        if found:
            row = dict(found[which % len(found)])
            account = row.pop("account_id")
            assert budgets.remove_budget(self.conn, account, Budget(**row))

    @rule(hours=st.sampled_from([1, 11, 13, 40, 24 * 31]))
    def time_goes_on(self, hours: int) -> None:
        self.at += hours * HOUR

    # -- what must hold -----------------------------------------------------------------------

    @invariant()
    def the_books_are_right(self) -> None:
        type(self).steps += 1
        assert books.verify(self.conn, self.at) == []

    @invariant()
    def everybody_has_what_they_should(self) -> None:
        for account, postpaid in PEOPLE.items():
            found = ledger.balance(self.conn, account)
            held = sum(one.ceiling for one in self.open_jobs() if one.account == account)
            assert (found.available_micros, found.held_micros) == (self.available(account), held)
            assert postpaid or found.available_micros >= 0

    @invariant()
    def usage_is_counted(self) -> None:
        rows = self.conn.execute(select(usage_day)).mappings().all()
        key = ("account_id", "day", "model", "provider", "key_id")
        counted = {tuple(row[name] for name in key): {name: row[name] for name in COUNTS} for row in rows}
        assert counted == dict(self.usage)
