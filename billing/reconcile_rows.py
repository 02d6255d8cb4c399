"""What is compared of a provider's bill and of the books, and what comes of it."""

from decimal import Decimal
from typing import Literal

from msgspec import Struct, field

__all__ = ["Attempt", "Charge", "Difference", "Kind", "Sum", "Tolerance", "Totals"]

Kind = Literal[
    "missing_here",
    "missing_there",
    "amount_differs",
    "units_differ",
    "unknown_attempt",
    "failed_but_billed",
    "sum_differs",
    "overhead",
]


class Charge(Struct, frozen=True, kw_only=True):
    """A request, as its provider has it."""

    request_id: str
    endpoint: str
    at: int | None
    """Milliseconds UTC."""
    micros: int | None
    """None: it is not said what it cost."""
    units: Decimal | None = None


class Sum(Struct, frozen=True, kw_only=True):
    """What was billed for an endpoint or an app from a time on."""

    name: str
    start: int
    """Milliseconds UTC."""
    micros: int
    identity: str = ""
    """Tells rows apart that are of one name and time."""


class Attempt(Struct, frozen=True, kw_only=True):
    """An attempt, as the books have it."""

    id: str
    job_id: str
    endpoint: str
    status: str
    request_id: str | None
    started_at: int
    ended_at: int | None
    micros: int | None
    """What its provider bills, as was known when it ended."""
    listed_micros: int | None = None
    """What that should be by our list of its prices."""
    units: Decimal | None = None


class Tolerance(Struct, frozen=True, kw_only=True):
    """How much two amounts may differ: by either of these."""

    micros: int = 1
    percent: Decimal = Decimal(0)

    def covers(self, ours: int, theirs: int) -> bool:
        """Whether two amounts are as good as equal."""
        apart = abs(theirs - ours)
        return apart <= self.micros or 100 * apart <= self.percent * max(abs(ours), abs(theirs))


class Difference(Struct, frozen=True, kw_only=True, rename="camel"):
    """What differs. Amounts are micro-dollars; a time is milliseconds UTC."""

    kind: Kind
    at: int | None
    endpoint: str
    """Or the app."""
    request_id: str | None = None
    attempt_id: str | None = None
    job_id: str | None = None
    ours_micros: int
    theirs_micros: int | None
    difference_micros: int
    """Theirs less ours; 0 where they do not say."""
    ours_units: str | None = None
    theirs_units: str | None = None
    attempts: tuple[str, ...] = ()
    """Of a sum: those that explain it best."""
    counts: bool
    """Something is wrong: it is more than is tolerated, and no overhead."""
    words: str
    command: str | None = None
    """What settles it."""
    total_micros: int
    """What the entries of its reference come to when it is put right."""


class Totals(Struct, kw_only=True, rename="camel"):
    """What was compared. Amounts are micro-dollars."""

    lines: int = 0
    """Rows of theirs."""
    repeated: int = 0
    """Rows that were there already."""
    without_cost: int = 0
    """Requests of which they do not say what they cost."""
    attempts: int = 0
    """Attempts of ours that a row of theirs is of."""
    pending: int = 0
    """Of those, how many are under way."""
    unfinished: int = 0
    """Intervals of sums that are not over, or not whole."""
    ours_micros: int = 0
    theirs_micros: int = 0
    difference_micros: int = 0
    differ: int = 0
    """Differences that count."""
    kinds: dict[str, int] = field(default_factory=dict)
