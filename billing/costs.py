"""What providers bill us, in the ledger: an expense of ours and a debt to the provider, for each attempt."""

from sqlalchemy import Connection

from billing.ledger import record, transfer

__all__ = ["record_cost"]


def record_cost(
    conn: Connection, *, attempt_id: str, job_id: str, provider: str, amount_micros: int, at: int
) -> None:
    """Note what a provider bills for an attempt, once. An attempt that costs nothing has no entry.

    Args:
        conn: inside the transaction that keeps the attempt's pictures.
        attempt_id: whose.
        job_id: of the job.
        provider: the registry's name of it.
        amount_micros: micro-dollars.
        at: milliseconds UTC.

    Raises:
        ValueError: a negative amount.
        sqlalchemy.exc.IntegrityError: the attempt has its entry.
    """
    if amount_micros < 0:
        raise ValueError("a cost is not negative")
    if amount_micros:
        record(
            conn,
            transfer(
                attempt_id,
                "cost",
                f"payable:{provider}",
                f"cost:{provider}",
                amount_micros,
                at,
                job_id=job_id,
            ),
        )
