"""Jobs and attempts that are put into the tables as they are, many at a time."""

from typing import Any

from sqlalchemy import Connection, insert

from billing.costs import record_cost
from gateway.accounts import rows
from gateway.db.tables import attempt, job

__all__ = ["NOON", "plant"]

NOON = 20_000 * 86_400_000 + 43_200_000
"""Of a day in 2024, in milliseconds UTC."""


def plant(conn: Connection, *attempts: dict[str, Any], costs: bool = True) -> None:
    """Put attempts of fal's in, each of a job of its own: `number` and what is other than usual.

    Args:
        conn: inside a transaction.
        attempts: of each, what is not as usual.
        costs: enter what they cost in the ledger.
    """
    rows.ensure_account(conn, account_id="ann", name="Ann", postpaid=True, at=1)
    made = [_attempt(**one) for one in attempts]
    jobs = [_job(one["job_id"], one["started_at"], one["provider"]) for one in made]
    conn.execute(insert(job), jobs)
    conn.execute(insert(attempt), made)
    for one in made if costs else ():
        record_cost(
            conn,
            attempt_id=one["id"],
            job_id=one["job_id"],
            provider=one["provider"],
            amount_micros=one["provider_cost_micros"] or 0,
            at=one["ended_at"] or one["started_at"],
        )


def _attempt(number: int, **changed: Any) -> dict[str, Any]:
    return {
        "id": f"att_{number:032x}",
        "job_id": f"job_{number:032x}",
        "number": 1,
        "route_index": 0,
        "provider": "fal",
        "endpoint": "fal-ai/flux/dev",
        "status": "succeeded",
        "handle": f'{{"provider":"fal","remote_id":"r{number}","extra":{{"endpoint":"x"}}}}',
        "started_at": NOON,
        "ended_at": NOON + 5000,
        "provider_cost_micros": 25_000,
        "listed_cost_micros": None,
        "billable_units": "1",
        **changed,
    }


def _job(job_id: str, at: int, provider: str) -> dict[str, Any]:
    return {
        "id": job_id,
        "account_id": "ann",
        "status": "completed",
        "model": "flux-dev",
        "provider": provider,
        "registry_version": "x",
        "request": "{}",
        "report": "[]",
        "warnings": "[]",
        "routing": "{}",
        "quote_micros": 30_000,
        "ceiling_micros": 30_000,
        "charge_micros": 30_000,
        "deadline_at": at,
        "created_at": at,
        "completed_at": at,
    }
