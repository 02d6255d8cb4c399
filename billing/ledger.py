"""Holds, captures and releases: the wallet's conditional update, and entries that sum to zero.

Every function is plain Core on the caller's connection and transaction, so that money moves with
the job or not at all. Ids follow from the job's (`<job_id>:<kind>:<n>`) and times are arguments:
a function that is run again writes the same rows. When one raises, the caller rolls back.
"""

from contextlib import suppress
from typing import Any

from msgspec import Struct
from sqlalchemy import Connection, bindparam, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from billing.audit import verify
from billing.findings import Finding
from billing.money import usd
from billing.tables import hold, ledger_entry, wallet

__all__ = [
    "AlreadyEnded",
    "Balance",
    "Finding",
    "InsufficientFunds",
    "LedgerError",
    "UnknownHold",
    "UnknownWallet",
    "balance",
    "capture",
    "move",
    "open_wallet",
    "place_hold",
    "record",
    "release",
    "top_up",
    "transfer",
    "verify",
]


class LedgerError(Exception):
    """The ledger refuses."""


class UnknownWallet(LedgerError):
    """No wallet was opened for this account."""


class UnknownHold(LedgerError):
    """No hold was placed for this job."""


class InsufficientFunds(LedgerError):
    """A prepaid wallet has less than the hold needs; both in micro-dollars."""

    def __init__(self, available: int, needed: int) -> None:
        super().__init__(f"{usd(needed)} USD needed, {usd(available)} USD available")
        self.available = available
        self.needed = needed

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.available, self.needed)


class AlreadyEnded(LedgerError):
    """The hold was captured or released before; nothing was changed.

    A caller that may be repeating itself compares: the same `status` and `captured_micros` as it
    asked for mean that its first call stands.
    """

    def __init__(self, status: str, captured_micros: int | None) -> None:
        super().__init__(f"the hold is {status} already")
        self.status = status
        self.captured_micros = captured_micros

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.status, self.captured_micros)


class Balance(Struct, frozen=True, kw_only=True):
    """An account's money, in micro-dollars."""

    available_micros: int
    """What new jobs can be held against; below zero only when postpaid."""
    held_micros: int
    postpaid: bool


# Built once: putting an expression together costs more than running it.
_TAKE = (
    update(wallet)
    .where(wallet.c.account_id == bindparam("account"))
    .where(or_(wallet.c.postpaid, wallet.c.available_micros >= bindparam("amount")))
    .values(
        available_micros=wallet.c.available_micros - bindparam("amount"),
        held_micros=wallet.c.held_micros + bindparam("amount"),
    )
)
_MOVE = (
    update(wallet)
    .where(wallet.c.account_id == bindparam("account"))
    .values(
        available_micros=wallet.c.available_micros + bindparam("to_available"),
        held_micros=wallet.c.held_micros + bindparam("to_held"),
    )
)
_MOVE_WITHIN = _MOVE.where(or_(wallet.c.postpaid, wallet.c.available_micros + bindparam("to_available") >= 0))
_END = (
    update(hold)
    .where(hold.c.job_id == bindparam("job"), hold.c.status == "open")
    .where(hold.c.amount_micros >= bindparam("least"))
    .values(status=bindparam("ended_as"), captured_micros=bindparam("captured"), ended_at=bindparam("at"))
    .returning(hold.c.account_id, hold.c.amount_micros)
)
_BALANCE = select(wallet.c.available_micros, wallet.c.held_micros, wallet.c.postpaid).where(
    wallet.c.account_id == bindparam("account")
)
_HOLD = select(hold.c.status, hold.c.captured_micros, hold.c.amount_micros).where(
    hold.c.job_id == bindparam("job")
)
_INSERT_HOLD = insert(hold)
_INSERT_ENTRIES = insert(ledger_entry)


def open_wallet(conn: Connection, account_id: str, *, postpaid: bool) -> None:
    """Give an account an empty wallet; one that it has is left as it is."""
    if conn.execute(_BALANCE, {"account": account_id}).first() is not None:
        return
    row = {"account_id": account_id, "postpaid": postpaid, "available_micros": 0, "held_micros": 0}
    # Another transaction may have opened it meanwhile.
    with suppress(IntegrityError), conn.begin_nested():
        conn.execute(insert(wallet), row)


def top_up(conn: Connection, *, account_id: str, amount_micros: int, reference: str, at: int) -> None:
    """Add money that was paid in.

    Args:
        conn: inside a transaction.
        account_id: whose wallet.
        amount_micros: above 0.
        reference: the payment's own id, at most 40 characters; a second use of it is refused.
        at: milliseconds UTC.

    Raises:
        UnknownWallet: no such wallet.
        ValueError: not a positive amount.
        sqlalchemy.exc.IntegrityError: the reference was used before.
    """
    if amount_micros <= 0:
        raise ValueError("a top-up is more than nothing")
    move(conn, account_id, amount_micros)
    available = f"available:{account_id}"
    record(conn, transfer(reference, "topup", "funding", available, amount_micros, at))


def move(conn: Connection, account_id: str, amount_micros: int) -> None:
    """Change what is available, in one conditional update: two at once cannot both take the last of it. Its
    entries are the caller's to `record`.

    Args:
        conn: inside a transaction.
        account_id: whose wallet.
        amount_micros: above 0 to add, below to take.

    Raises:
        InsufficientFunds: a prepaid wallet has less.
        UnknownWallet: no such wallet.
    """
    values = {"account": account_id, "to_available": amount_micros, "to_held": 0}
    if conn.execute(_MOVE_WITHIN, values).rowcount == 0:
        raise InsufficientFunds(balance(conn, account_id).available_micros, -amount_micros)


def place_hold(conn: Connection, *, job_id: str, account_id: str, amount_micros: int, at: int) -> None:
    """Set a job's ceiling aside, in one conditional update: two at once cannot both pass.

    Args:
        conn: inside a transaction.
        job_id: one hold each.
        account_id: whose wallet.
        amount_micros: 0 or more; a hold of 0 is recorded like any other.
        at: milliseconds UTC.

    Raises:
        InsufficientFunds: a prepaid wallet has less.
        UnknownWallet: no such wallet.
        ValueError: a negative amount.
        sqlalchemy.exc.IntegrityError: the job has a hold.
    """
    if amount_micros < 0:
        raise ValueError("a hold is not negative")
    if conn.execute(_TAKE, {"account": account_id, "amount": amount_micros}).rowcount == 0:
        raise InsufficientFunds(balance(conn, account_id).available_micros, amount_micros)
    conn.execute(
        _INSERT_HOLD,
        {
            "job_id": job_id,
            "account_id": account_id,
            "amount_micros": amount_micros,
            "status": "open",
            "captured_micros": None,
            "created_at": at,
            "ended_at": None,
        },
    )
    available, held = f"available:{account_id}", f"held:{account_id}"
    record(conn, transfer(job_id, "hold", available, held, amount_micros, at))


def capture(conn: Connection, *, job_id: str, amount_micros: int, at: int) -> None:
    """Charge a job and give the rest of its hold back.

    Args:
        conn: inside a transaction.
        job_id: whose hold.
        amount_micros: 0 up to the hold; 0 is recorded like any other.
        at: milliseconds UTC.

    Raises:
        AlreadyEnded: captured or released before.
        UnknownHold: the job has none.
        ValueError: negative, or more than was held.
    """
    if amount_micros < 0:
        raise ValueError("a charge is not negative")
    account_id, held_micros = _end(conn, job_id, "captured", amount_micros, at)
    rest = held_micros - amount_micros
    conn.execute(_MOVE, {"account": account_id, "to_available": rest, "to_held": -held_micros})
    held = f"held:{account_id}"
    entries = transfer(job_id, "capture", held, "revenue", amount_micros, at)
    if rest:
        entries += transfer(job_id, "release", held, f"available:{account_id}", rest, at)
    record(conn, entries)


def release(conn: Connection, *, job_id: str, at: int) -> None:
    """Give a job's whole hold back: it costs nothing.

    Args:
        conn: inside a transaction.
        job_id: whose hold.
        at: milliseconds UTC.

    Raises:
        AlreadyEnded: captured or released before.
        UnknownHold: the job has none.
    """
    account_id, held_micros = _end(conn, job_id, "released", None, at)
    conn.execute(_MOVE, {"account": account_id, "to_available": held_micros, "to_held": -held_micros})
    held, available = f"held:{account_id}", f"available:{account_id}"
    record(conn, transfer(job_id, "release", held, available, held_micros, at))


def balance(conn: Connection, account_id: str) -> Balance:
    """What an account has.

    Raises:
        UnknownWallet: no such wallet.
    """
    row = conn.execute(_BALANCE, {"account": account_id}).first()
    if row is None:
        raise UnknownWallet(account_id)
    return Balance(
        available_micros=row.available_micros, held_micros=row.held_micros, postpaid=bool(row.postpaid)
    )


def _end(conn: Connection, job_id: str, status: str, captured: int | None, at: int) -> tuple[str, int]:
    """End an open hold; returns its account and amount."""
    row = conn.execute(
        _END, {"job": job_id, "least": captured or 0, "ended_as": status, "captured": captured, "at": at}
    ).first()
    if row is not None:
        return row.account_id, row.amount_micros
    found = conn.execute(_HOLD, {"job": job_id}).first()
    if found is None:
        raise UnknownHold(job_id)
    if found.status != "open":
        raise AlreadyEnded(found.status, found.captured_micros)
    raise ValueError(f"a charge of {usd(captured or 0)} USD on a hold of {usd(found.amount_micros)} USD")


def transfer(
    reference: str,
    kind: str,
    source: str,
    target: str,
    amount_micros: int,
    at: int,
    *,
    job_id: str | None = None,
    note: str | None = None,
) -> list[dict[str, Any]]:
    """The two entries that move an amount from one ledger account to another.

    Args:
        reference: the business id; with the kind it is unique.
        kind: of the movement.
        source: loses the amount.
        target: gets it.
        amount_micros: micro-dollars.
        at: milliseconds UTC.
        job_id: the job that it is about, where the reference is another.
        note: why, in a person's words.
    """
    return [
        {
            "id": f"{reference}:{kind}:{number}",
            "reference": reference,
            "kind": kind,
            "ledger_account": account,
            "amount_micros": amount,
            "created_at": at,
            "job_id": job_id,
            "note": note,
        }
        for number, (account, amount) in enumerate(((source, -amount_micros), (target, amount_micros)), 1)
    ]


def record(conn: Connection, entries: list[dict[str, Any]]) -> None:
    """Append entries; their sum is zero."""
    conn.execute(_INSERT_ENTRIES, entries)
