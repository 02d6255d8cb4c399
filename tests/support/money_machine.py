"""Any order of what moves money, with a second set of books kept in plain Python beside it."""

from collections import defaultdict
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy import Connection, select
from support.new_jobs import new_attempt
from support.paid_jobs import KEYS, NOON, PEOPLE, open_accounts, paid_job, share_of

from billing import budgets, corrections, ledger
from billing.budgets import EACH, Budget, BudgetExhausted, month_of
from billing.corrections import NothingToRefund, ReferenceUsed, RefundTooLarge
from billing.ledger import InsufficientFunds
from billing.tables import COUNTS, budget, usage_day
from billing.usage import DAY_MS
from gateway import books
from gateway.db.tables import attempt, job
from gateway.jobs import admit, expiry, refunds, settle, store
from providers.errors import JobCanceled, ProviderFailed, SubmitUnknown

__all__ = ["Money"]

HOUR = 3_600_000
AMOUNT = st.integers(1, 120)
ACCOUNT = st.sampled_from(list(PEOPLE))
KEY = st.sampled_from([None, *KEYS])
USER = st.sampled_from([None, "eve", "max"])
WHICH = st.integers(0, 99)
PERIOD = st.sampled_from(["month", "all"])


class Job(Struct, kw_only=True):
    """What is known of a job that was let in."""

    id: str
    account: str
    key: str | None
    user: str | None
    at: int
    ceiling: int
    model: str = "solo"
    provider: str = "first"
    status: str = "queued"
    kept: int = 0
    """Pictures that calls of it gave so far."""
    attempts: int = 1
    charge: int | None = None
    refunded: int = 0

    @property
    def counts(self) -> int:
        """Against budgets."""
        return self.ceiling if self.charge is None else self.charge


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
        self.money = dict.fromkeys(PEOPLE, 0)
        self.references: list[tuple[Callable[[str], object], str]] = []
        self.usage: dict[tuple[Any, ...], dict[str, int]] = defaultdict(lambda: dict.fromkeys(COUNTS, 0))
        self.costs: dict[str, list[int]] = defaultdict(lambda: [0, 0])

    def teardown(self) -> None:
        self.undo.rollback()

    # -- what is done ---------------------------------------------------------------------

    def do(self, fn: Callable[[], object]) -> Exception | None:
        """A step in a transaction of its own; what refused it, and then nothing of it is kept."""
        type(self).steps += 1
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

    def enter(self, fn: Callable[[str], object], account: str, amount: int) -> None:
        """Enter a movement: it is refused when a prepaid account has less, and only then."""
        reference = f"r{self.next_number()}"
        error = self.do(lambda: fn(reference))
        if not PEOPLE[account] and self.available(account) + amount < 0:
            assert isinstance(error, InsufficientFunds), error
            return
        assert error is None
        self.money[account] += amount
        self.references.append((fn, reference))

    def available(self, account: str) -> int:
        return self.money[account] - sum(one.ceiling for one in self.open_jobs() if one.account == account)

    def open_jobs(self) -> list[Job]:
        return [one for one in self.jobs if one.charge is None]

    @rule(account=ACCOUNT, amount=AMOUNT)
    def top_up(self, account: str, amount: int) -> None:
        at = self.at
        self.enter(
            lambda r: ledger.top_up(self.conn, account_id=account, amount_micros=amount, reference=r, at=at),
            account,
            amount,
        )

    @rule(account=ACCOUNT, amount=AMOUNT)
    def credit(self, account: str, amount: int) -> None:
        at = self.at
        self.enter(
            lambda r: corrections.promote(
                self.conn, account_id=account, amount_micros=amount, reference=r, at=at
            ),
            account,
            amount,
        )

    @rule(account=ACCOUNT, amount=AMOUNT)
    def pay_out(self, account: str, amount: int) -> None:
        at = self.at
        self.enter(
            lambda r: corrections.pay_out(
                self.conn, account_id=account, amount_micros=amount, reference=r, at=at
            ),
            account,
            -amount,
        )

    @rule(account=ACCOUNT, amount=AMOUNT, sign=st.sampled_from([1, -1]))
    def adjust(self, account: str, amount: int, sign: int) -> None:
        at = self.at
        self.enter(
            lambda r: corrections.adjust(
                self.conn, account_id=account, amount_micros=sign * amount, reference=r, at=at, note="x"
            ),
            account,
            sign * amount,
        )

    @rule(which=WHICH)
    def enter_again(self, which: int) -> None:
        if self.references:
            fn, reference = self.references[which % len(self.references)]
            # A payment's is refused by the constraint alone: gateway.accounts.entering looks first.
            kind = "topup" if "top_up" in fn.__qualname__ else None
            if kind is None:
                assert isinstance(self.do(lambda: fn(reference)), ReferenceUsed)
            else:
                assert corrections.find_movement(self.conn, "topup", reference) is not None

    @rule(account=ACCOUNT, key=KEY, user=USER, ceiling=st.integers(0, 90), waits=st.booleans())
    def let_in(self, account: str, key: str | None, user: str | None, ceiling: int, waits: bool) -> None:
        account = KEYS[key][0] if key else account
        number, at = self.next_number(), self.at
        new = paid_job(number, account, ceiling, key=key, user=user)
        if waits:
            new = replace(new, status="scheduled", runs_at=at)
        one = Job(id=new.id, account=account, key=key, user=user, at=at, ceiling=ceiling, status=new.status)
        fits = [limit - self.used(one, kind, period) for kind, period, limit in self.limits(one)]
        error = self.do(lambda: admit.admit(self.conn, new, at))
        if not PEOPLE[account] and self.available(account) < ceiling:
            assert isinstance(error, InsufficientFunds), error
        elif any(left < ceiling for left in fits):
            assert isinstance(error, BudgetExhausted), error
            assert error.left == max(min(left for left in fits if left < ceiling), 0) or len(fits) > 1
        else:
            assert error is None
            self.jobs.append(one)

    def limits(self, one: Job) -> list[tuple[str, str, int]]:
        """The budgets that a job must fit: kind, period and limit."""
        rows = self.conn.execute(select(budget).where(budget.c.account_id == one.account)).all()
        subjects = {"account": "", "key": one.key, "user": one.user}
        own = {(row.kind, row.period) for row in rows if row.subject == one.user and row.kind == "user"}
        found = [
            (row.kind, row.period, row.limit_micros)
            for row in rows
            if row.subject == subjects[row.kind]
            or (
                row.kind == "user"
                and row.subject == EACH
                and one.user is not None
                and ("user", row.period) not in own
            )
        ]
        cap = KEYS[one.key][1] if one.key else None
        return [*found, *([("key", "all", cap)] if cap is not None else [])]

    def used(self, one: Job, kind: str, period: str) -> int:
        """What counts against a job's budget of a kind before it is let in."""
        return sum(
            other.counts
            for other in self.jobs
            if other.account == one.account
            and (kind != "key" or other.key == one.key)
            and (kind != "user" or other.user == one.user)
            and (period == "all" or month_of(other.at) == month_of(one.at))
        )

    # -- how jobs go on and end -------------------------------------------------------------

    def one_of(self, which: int, *statuses: str) -> Job | None:
        found = [one for one in self.jobs if one.status in statuses]
        return found[which % len(found)] if found else None

    @rule(which=WHICH, pictures=st.integers(1, 2), cost=st.integers(0, 40))
    def a_call_gives_pictures(self, which: int, pictures: int, cost: int) -> None:
        """One of several calls: the others go on."""
        one = self.one_of(which, "queued")
        if one is None:
            return
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
    def another_candidate(self, which: int) -> None:
        """It is of another model and provider from then on."""
        one = self.one_of(which, "queued")
        if one is None or one.kept:
            return
        lost = [(self.last_attempt(one), ProviderFailed("no"))]
        self.open_attempt(one, call=0)
        self.conn.execute(attempt.update().where(attempt.c.id == lost[0][0]).values(status="failed"))
        one.model, one.provider = "other", "second"
        values = {"model": one.model, "provider": one.provider}
        self.conn.execute(job.update().where(job.c.id == one.id).values(**values))
        self.conn.execute(
            attempt.update().where(attempt.c.id == self.last_attempt(one)).values(provider="second")
        )

    @rule(which=WHICH, percent=st.integers(0, 100), pictures=st.integers(1, 3), cost=st.integers(0, 90))
    def complete(self, which: int, percent: int, pictures: int, cost: int) -> None:
        """With its last call's pictures, and a charge of a part of its ceiling, or of all."""
        one = self.one_of(which, "queued")
        if one is None:
            return
        share = self.share(one, pictures, cost)
        charge = one.ceiling * percent // 100
        assert self.do(lambda: store.complete(self.conn, one.id, [share], charge, self.at)) is None
        self.ended(one, "completed", charge)
        assert not store.complete(self.conn, one.id, [], charge, self.at)

    @rule(which=WHICH)
    def fail(self, which: int) -> None:
        one = self.one_of(which, "queued")
        if one is None or one.kept:
            return
        error = ProviderFailed("no")
        lost = [(self.last_attempt(one), error)]
        assert self.do(lambda: store.end_without_images(self.conn, one.id, lost, error, self.at)) is None
        self.ended(one, "failed", 0)

    @rule(which=WHICH)
    def cancel(self, which: int) -> None:
        """One that waits ends at once; of another the wish is noted, and then it ends."""
        one = self.one_of(which, "queued", "scheduled")
        if one is None or one.kept:
            return
        was, at = one.status, self.at
        assert self.do(lambda: store.request_cancel(self.conn, one.id, one.account, at)) is None
        if was == "queued":
            error = JobCanceled("no")
            lost = [(self.last_attempt(one), error)]
            store.end_without_images(self.conn, one.id, lost, error, self.at)
            at = self.at
        self.ended(one, "canceled", 0, at)

    @rule(which=WHICH)
    def its_turn_comes(self, which: int) -> None:
        one = self.one_of(which, "scheduled")
        if one is not None:
            for job_id in admit.release_scheduled(self.conn, one.account, self.at):
                next(other for other in self.jobs if other.id == job_id).status = "queued"

    @rule(which=WHICH)
    def no_answer(self, which: int) -> None:
        one = self.one_of(which, "queued")
        if one is None or one.kept:
            return
        lost = [(self.last_attempt(one), SubmitUnknown("no answer"))]
        assert self.do(lambda: store.mark_unknown(self.conn, one.id, lost, self.at)) is None
        one.status = "unknown"

    @rule(which=WHICH)
    def was_not_taken(self, which: int) -> None:
        one = self.one_of(which, "unknown")
        if one is not None:
            assert self.do(lambda: settle.fail(self.conn, one.id, self.at)) is None
            self.ended(one, "failed", 0)

    def ended(self, one: Job, status: str, charge: int, at: int | None = None) -> None:
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
            self.day_of(one, at)[name] += number

    def day_of(self, one: Job, at: int | None = None) -> dict[str, int]:
        day = (self.at if at is None else at) // DAY_MS
        return self.usage[one.account, day, one.model, one.provider, one.key or ""]

    @rule(which=WHICH, amount=st.one_of(st.none(), st.integers(1, 60)))
    def refund(self, which: int, amount: int | None) -> None:
        """A part of a job's charge, or what is left of it."""
        if not self.jobs:
            return
        one = self.jobs[which % len(self.jobs)]
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

    @rule(
        account=ACCOUNT,
        kind=st.sampled_from(["account", "key", "user"]),
        period=PERIOD,
        limit=st.integers(0, 200),
        who=WHICH,
    )
    def set_budget(self, account: str, kind: Any, period: Any, limit: int, who: int) -> None:
        subject = self.subject_of(account, kind, who)
        if subject is None or (subject == "anncap" and period == "all"):
            return
        used: dict[str, int] = defaultdict(int)
        for one in self.jobs:
            whose = {"account": "", "key": one.key, "user": one.user}[kind]
            fits = whose is not None and (subject in (whose, EACH))
            if one.account == account and fits and (period == "all" or month_of(one.at) == month_of(self.at)):
                used[whose or ""] += one.counts
        new = Budget(kind=kind, subject=subject, period=period, limit_micros=limit)
        budgets.set_budget(self.conn, account, new, used, self.at)

    def subject_of(self, account: str, kind: str, who: int) -> str | None:
        keys = [key for key, (owner, _) in KEYS.items() if owner == account]
        names = {"account": [""], "key": keys, "user": ["eve", "max", EACH]}[kind]
        return names[who % len(names)] if names else None

    @rule(which=WHICH)
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
