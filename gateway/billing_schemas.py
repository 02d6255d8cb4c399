"""What goes over the wire about money. Dollars are JSON numbers, exact; beside them micro-dollars."""

from decimal import Decimal

from msgspec import UNSET, Struct, UnsetType, field

from gateway.accounts.schemas import BalanceView

__all__ = [
    "MONEY",
    "AdminUsageCountsView",
    "AdminUsageRowView",
    "AdminUsageView",
    "BillingBalanceView",
    "LedgerView",
    "MonthLink",
    "MonthView",
    "MovementView",
    "SidesView",
    "StatementList",
    "StatementView",
    "SummedView",
    "UsageCountsView",
    "UsageRowView",
    "UsageView",
]


class MonthView(Struct, frozen=True, kw_only=True, rename="camel"):
    """What a month has cost so far."""

    month: str
    """`2026-11`, UTC."""
    jobs: int
    cost: Decimal
    """US dollars charged."""
    cost_micros: int
    refund_micros: int


class BillingBalanceView(BalanceView, frozen=True, kw_only=True, rename="camel"):
    """An account's money, and what this month has cost."""

    currency: str
    month: MonthView


class UsageCountsView(Struct, frozen=True, kw_only=True, rename="camel"):
    """Jobs that ended, and what they cost whoever sent them."""

    jobs: int
    completed: int
    failed: int
    canceled: int
    images: int
    quoted_micros: int
    """What they were quoted before they ran."""
    cost: Decimal
    """US dollars charged."""
    cost_micros: int
    """What was charged."""
    refund_micros: int
    """What was given back, on the day on which it was."""
    net: Decimal
    """US dollars: charged less given back."""
    net_micros: int


class UsageRowView(UsageCountsView, frozen=True, kw_only=True, rename="camel"):
    """A row of a report. Of what it is of, that is there which was asked for, and no more."""

    account: str | UnsetType = UNSET
    day: str | UnsetType = UNSET
    """`2026-11-27`, UTC: when the jobs ended."""
    month: str | UnsetType = UNSET
    model: str | UnsetType = UNSET
    provider: str | UnsetType = UNSET
    key: str | UnsetType | None = UNSET
    """The API key's id; null: jobs that came without one."""
    key_name: str | UnsetType | None = UNSET
    user_id: str | UnsetType | None = UNSET
    """Null: jobs without a `userId`."""


class UsageView(Struct, frozen=True, kw_only=True, rename="camel"):
    """What was used, and what it cost."""

    total: UsageCountsView
    """The sum of the rows."""
    rows: tuple[UsageRowView, ...]


class AdminUsageCountsView(UsageCountsView, frozen=True, kw_only=True, rename="camel"):
    """With what providers bill."""

    provider_cost: Decimal
    """US dollars."""
    provider_cost_micros: int
    listed_cost_micros: int
    """What they should bill by our list of their prices."""
    margin: Decimal
    """US dollars: charged, less given back, less what providers bill."""
    margin_micros: int


class AdminUsageRowView(UsageRowView, frozen=True, kw_only=True, rename="camel"):
    """A row of an admin's report."""

    provider_cost: Decimal
    """US dollars."""
    provider_cost_micros: int
    listed_cost_micros: int
    """What they should bill by our list of their prices."""
    margin: Decimal
    """US dollars: charged, less given back, less what providers bill."""
    margin_micros: int


class AdminUsageView(Struct, frozen=True, kw_only=True, rename="camel"):
    """What was used, what was charged, and what it cost us."""

    total: AdminUsageCountsView
    rows: tuple[AdminUsageRowView, ...]


class SidesView(Struct, frozen=True, kw_only=True, rename="camel"):
    """Money of an account, or what changed of it."""

    amount: Decimal
    """US dollars, in all."""
    amount_micros: int
    available_micros: int
    """Of that, what jobs can be paid with."""
    held_micros: int
    """Of that, what is set aside for jobs under way."""


class MovementView(SidesView, frozen=True, kw_only=True, rename="camel"):
    """Something that happened to an account's money. Amounts are what changed."""

    id: str
    at: str
    kind: str
    """topup, promotion, refund, payout, adjustment, hold, capture, release"""
    text: str
    """The kind, for people."""
    job_id: str | None
    reference: str
    """What was done, by its own id: the job, the payment, the refund."""
    note: str | None
    """Why, in a person's words."""


class LedgerView(Struct, frozen=True, kw_only=True, rename="camel"):
    """A page of an account's ledger, newest first."""

    entries: tuple[MovementView, ...]
    next_cursor: str | None
    """Give it as `cursor` for the next page; null on the last."""


class SummedView(SidesView, frozen=True, kw_only=True, rename="camel"):
    """All that moved in a month, of one kind."""

    kind: str
    text: str
    count: int


class MonthLink(Struct, frozen=True, kw_only=True, rename="camel"):
    """A month that has a statement."""

    month: str
    provisional: bool
    """The month is not over."""
    url: str


class StatementList(Struct, frozen=True, kw_only=True, rename="camel"):
    """The months in which anything moved, newest first."""

    statements: tuple[MonthLink, ...]


class StatementView(Struct, frozen=True, kw_only=True, rename="camel"):
    """A month of an account: `opening` and each of `movements` come to `closing`, exactly."""

    account_id: str
    account_name: str
    month: str
    first: str = field(name="from")
    """The first day, UTC."""
    last: str = field(name="to")
    """The last day."""
    provisional: bool
    """The month is not over: what is here is until `madeAt`."""
    made_at: str
    currency: str
    postpaid: bool
    opening: SidesView
    movements: tuple[SummedView, ...]
    closing: SidesView
    due: Decimal
    """US dollars that are to be paid at the end: of an account that pays afterwards."""
    due_micros: int
    models: tuple[UsageRowView, ...]
    """What was charged, by model: in all as much as the movements of kind `capture`."""
    keys: tuple[UsageRowView, ...]
    """The same, by API key."""
    entries: tuple[MovementView, ...]
    """Payments, credits, refunds and corrections, oldest first."""
    entries_left_off: int
    """How many of those are not shown, of a month that has very many; the sums have them all."""


MONEY: tuple[type[Struct], ...] = (
    BillingBalanceView,
    MonthView,
    UsageCountsView,
    UsageRowView,
    AdminUsageCountsView,
    AdminUsageRowView,
    SidesView,
    MovementView,
    SummedView,
    StatementView,
)
"""Views that hold dollars."""
