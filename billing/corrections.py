"""What moves money beside jobs: promotions, refunds, pay-outs, adjustments. Each is a new pair of entries;
nothing that was written is changed.

As in `billing.ledger`: plain Core on the caller's transaction, and when one raises, the caller rolls back. A
reference names one movement of its kind, for ever.
"""

from typing import Literal

from msgspec import Struct
from sqlalchemy import Connection, bindparam, func, select

from billing.ledger import LedgerError, UnknownHold, move, record, transfer
from billing.money import usd
from billing.tables import hold, ledger_entry

__all__ = [
    "NothingToRefund",
    "Posting",
    "ReferenceUsed",
    "RefundTooLarge",
    "adjust",
    "find_posting",
    "pay_out",
    "promote",
    "refund",
    "refunded_of",
    "refuse_used",
]

Kind = Literal["topup", "promotion", "refund", "payout", "adjustment"]


class Posting(Struct, frozen=True, kw_only=True):
    """Money that was moved to an account, or from it."""

    kind: Kind
    reference: str
    account_id: str
    amount_micros: int
    """Above 0: the account got it."""
    at: int
    """Milliseconds UTC."""
    job_id: str | None = None


class ReferenceUsed(LedgerError):
    """The reference names a movement of this kind already; nothing was changed."""

    def __init__(self, found: Posting) -> None:
        super().__init__(f"the reference {found.reference!r} was used before")
        self.found = found

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.found,)


class NothingToRefund(LedgerError):
    """The job was charged nothing, or all of it was given back."""


class RefundTooLarge(LedgerError):
    """More than is left of a job's charge; in micro-dollars."""

    def __init__(self, left: int, asked: int) -> None:
        super().__init__(f"{usd(left)} USD of the job's charge are left, {usd(asked)} USD were asked for")
        self.left, self.asked = left, asked

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.left, self.asked)


_AVAILABLE = "available:"
_E = ledger_entry.c
_MOVEMENT = select(_E.ledger_account, _E.amount_micros, _E.created_at, _E.job_id).where(
    _E.reference == bindparam("reference"),
    _E.kind == bindparam("of"),
    _E.ledger_account.startswith(_AVAILABLE),
)
_REFUNDED = select(func.coalesce(func.sum(_E.amount_micros), 0)).where(
    _E.job_id == bindparam("job"), _E.kind == "refund", _E.ledger_account.startswith(_AVAILABLE)
)
# Locked: two refunds of one job come one after the other, and each sees what the other gave.
_CHARGED = (
    select(hold.c.account_id, hold.c.captured_micros)
    .where(hold.c.job_id == bindparam("job"))
    .with_for_update()
)


def find_posting(conn: Connection, kind: Kind, reference: str) -> Posting | None:
    """What a reference names; None when it names nothing of this kind."""
    row = conn.execute(_MOVEMENT, {"of": kind, "reference": reference}).first()
    if row is None:
        return None
    return Posting(
        kind=kind,
        reference=reference,
        account_id=row.ledger_account.removeprefix(_AVAILABLE),
        amount_micros=row.amount_micros,
        at=row.created_at,
        job_id=row.job_id,
    )


def refuse_used(conn: Connection, kind: Kind, reference: str) -> None:
    """Look for an earlier use of a reference. Of two at once the unique constraint refuses the second.

    Raises:
        ReferenceUsed: there is one.
    """
    found = find_posting(conn, kind, reference)
    if found is not None:
        raise ReferenceUsed(found)


def promote(
    conn: Connection, *, account_id: str, amount_micros: int, reference: str, at: int, note: str | None = None
) -> None:
    """Give credit that nobody paid for.

    Args:
        conn: inside a transaction.
        account_id: whose wallet.
        amount_micros: above 0.
        reference: its own id, at most 40 characters.
        at: milliseconds UTC.
        note: why, in a person's words.

    Raises:
        ReferenceUsed: a second use.
        UnknownWallet: no such wallet.
        ValueError: not a positive amount.
        sqlalchemy.exc.IntegrityError: a second use at the same moment.
    """
    _positive(amount_micros)
    refuse_used(conn, "promotion", reference)
    move(conn, account_id, amount_micros)
    available = _AVAILABLE + account_id
    record(conn, transfer(reference, "promotion", "promotions", available, amount_micros, at, note=note))


def pay_out(
    conn: Connection, *, account_id: str, amount_micros: int, reference: str, at: int, note: str | None = None
) -> None:
    """Pay money back that was paid in.

    Args:
        conn: inside a transaction.
        account_id: whose wallet.
        amount_micros: above 0.
        reference: the payment's own id, at most 40 characters.
        at: milliseconds UTC.
        note: why, in a person's words.

    Raises:
        InsufficientFunds: a prepaid wallet has less.
        ReferenceUsed, UnknownWallet, ValueError, sqlalchemy.exc.IntegrityError: as `promote`.
    """
    _positive(amount_micros)
    refuse_used(conn, "payout", reference)
    move(conn, account_id, -amount_micros)
    available = _AVAILABLE + account_id
    record(conn, transfer(reference, "payout", available, "funding", amount_micros, at, note=note))


def adjust(
    conn: Connection, *, account_id: str, amount_micros: int, reference: str, at: int, note: str
) -> None:
    """Put a balance right.

    Args:
        conn: inside a transaction.
        account_id: whose wallet.
        amount_micros: above 0 to add, below to take.
        reference: its own id, at most 40 characters.
        at: milliseconds UTC.
        note: why, in a person's words.

    Raises:
        InsufficientFunds: a prepaid wallet has less than is taken.
        ValueError: an amount of 0, or no note.
        ReferenceUsed, UnknownWallet, sqlalchemy.exc.IntegrityError: as `promote`.
    """
    if not amount_micros or not note:
        raise ValueError("an adjustment moves something, and says why")
    refuse_used(conn, "adjustment", reference)
    move(conn, account_id, amount_micros)
    ways = ("adjustments", _AVAILABLE + account_id)
    source, target = ways if amount_micros > 0 else ways[::-1]
    record(conn, transfer(reference, "adjustment", source, target, abs(amount_micros), at, note=note))


def refund(
    conn: Connection,
    *,
    job_id: str,
    amount_micros: int | None,
    reference: str,
    at: int,
    note: str | None = None,
) -> Posting:
    """Give back what a job was charged, or a part of it: all refunds of it together are never more.

    Usage and budgets are the caller's: `billing.usage.record_refund`, in the same transaction. What counts
    against a budget stays.

    Args:
        conn: inside a transaction.
        job_id: whose charge.
        amount_micros: above 0; None: what is left of it.
        reference: the refund's own id, at most 40 characters.
        at: milliseconds UTC.
        note: why, in a person's words.

    Raises:
        NothingToRefund: nothing was charged, or nothing is left.
        RefundTooLarge: less is left.
        UnknownHold: no such job.
        ReferenceUsed, ValueError, sqlalchemy.exc.IntegrityError: as `promote`.
    """
    if amount_micros is not None:
        _positive(amount_micros)
    charged = conn.execute(_CHARGED, {"job": job_id}).first()
    if charged is None:
        raise UnknownHold(job_id)
    refuse_used(conn, "refund", reference)
    left = (charged.captured_micros or 0) - refunded_of(conn, job_id)
    if left <= 0:
        raise NothingToRefund("the job was charged nothing, or all of its charge was given back")
    amount = left if amount_micros is None else amount_micros
    if amount > left:
        raise RefundTooLarge(left, amount)
    move(conn, charged.account_id, amount)
    available = _AVAILABLE + charged.account_id
    record(conn, transfer(reference, "refund", "revenue", available, amount, at, job_id=job_id, note=note))
    return Posting(
        kind="refund",
        reference=reference,
        account_id=charged.account_id,
        amount_micros=amount,
        at=at,
        job_id=job_id,
    )


def refunded_of(conn: Connection, job_id: str) -> int:
    """What was given back of a job's charge so far."""
    return int(conn.execute(_REFUNDED, {"job": job_id}).scalar_one())


def _positive(amount_micros: int) -> None:
    if amount_micros <= 0:
        raise ValueError("a movement is of more than nothing")
