"""Corrections of what providers bill us: further entries where a provider billed another amount than was
known when the attempt ended.

An entry is never changed, and an attempt's row keeps what was known of it then. So what a provider bills for
an attempt is the sum of its `cost` and of its corrections, of the kind `recost`.
"""

import hashlib
from collections.abc import Sequence

from sqlalchemy import Connection, select

from billing.ledger import LedgerError, record, transfer
from billing.tables import ledger_entry

__all__ = ["KIND", "MOST", "TooOften", "base_of", "correct", "request_reference", "sum_reference"]

KIND = "recost"
MOST = 20
"""Corrections under one reference."""


class TooOften(LedgerError):
    """Something was corrected too often for a mistake not to be elsewhere."""


def request_reference(provider: str, request_id: str) -> str:
    """The reference of corrections about a request that no attempt is known for.

    Args:
        provider: the registry's name of it.
        request_id: the provider's.
    """
    return f"req_{_digest(provider, request_id)}"


def sum_reference(provider: str, name: str, start: int) -> str:
    """The reference of corrections about what was billed in sum.

    Args:
        provider: the registry's name of it.
        name: of the endpoint or the app.
        start: of the time that it is about, in milliseconds UTC.
    """
    return f"sum_{_digest(provider, name, str(start))}"


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def base_of(reference: str) -> str:
    """What a correction is about: `att_1` for `att_1`, and for its further ones, `att_1~2` and so on."""
    return reference.partition("~")[0]


def correct(
    conn: Connection,
    *,
    provider: str,
    references: Sequence[str],
    job_id: str | None,
    total_micros: int,
    note: str,
    at: int,
) -> int:
    """Enter what is missing until all entries of an expense come to what was billed.

    Args:
        conn: inside a transaction.
        provider: who bills.
        references: what it is about: an attempt's id, a reference of a request or of a sum. The correction is
            entered under the first of them.
        job_id: of the attempt, if there is one.
        total_micros: what was billed.
        note: why, in a person's words.
        at: milliseconds UTC.

    Returns:
        Micro-dollars that were entered; 0 when the entries came to that already.

    Raises:
        TooOften: there are too many corrections under this reference.
        sqlalchemy.exc.IntegrityError: another transaction corrects the same at this moment.
    """
    expense = f"cost:{provider}"
    series = [f"{one}~{number}" for one in references for number in range(2, MOST + 1)]
    e = ledger_entry.c
    rows = conn.execute(
        select(e.reference, e.kind, e.amount_micros)
        .where(e.reference.in_([*references, *series]), e.ledger_account == expense)
        .where(e.kind.in_(("cost", KIND)))
    ).all()
    missing = total_micros - sum(int(row.amount_micros) for row in rows)
    if missing == 0:
        return 0
    base = references[0]
    before = sum(row.kind == KIND and base_of(row.reference) == base for row in rows)
    if before >= MOST:
        raise TooOften(f"{base} was corrected {MOST} times")
    reference = base if before == 0 else f"{base}~{before + 1}"
    payable = f"payable:{provider}"
    source, target = (payable, expense) if missing > 0 else (expense, payable)
    record(conn, transfer(reference, KIND, source, target, abs(missing), at, job_id=job_id, note=note))
    return missing
