"""The end of a job in the tables: its state, who is told of it, its usage and its budgets."""

import msgspec
from sqlalchemy import Connection, bindparam, func, select, update

from billing import budgets, usage
from gateway.db.tables import account, attempt, image, job
from gateway.delivery.events import tell_end
from gateway.jobs.records import TERMINAL, Delivery
from providers.errors import ProviderError

__all__ = ["Ended", "count_end", "end_job"]


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """Of a job that has just ended, what is counted and told."""

    account_id: str
    delivery: str | None
    status: str
    model: str
    provider: str
    key_id: str | None
    end_user: str | None
    created_at: int
    quote_micros: int
    ceiling_micros: int
    charge_micros: int


# Built once: putting a statement together costs more than running it. The account is locked as a row that
# refers to it would: whoever sets a budget waits for the job's end, or is waited for.
_ENDED = (
    select(*(job.c[name] for name in Ended.__struct_fields__))
    .join_from(job, account, job.c.account_id == account.c.id)
    .where(job.c.id == bindparam("job"))
    .with_for_update(read=True, key_share=True, of=account)
)
_COST = func.coalesce(attempt.c.provider_cost_micros, 0)
_SUMS = select(
    select(func.count()).where(image.c.job_id == bindparam("job")).scalar_subquery().label("images"),
    func.coalesce(func.sum(_COST), 0).label("cost"),
    func.coalesce(func.sum(func.coalesce(attempt.c.listed_cost_micros, _COST)), 0).label("listed"),
).where(attempt.c.job_id == bindparam("job"))


def end_job(
    conn: Connection,
    job_id: str,
    status: str,
    charge_micros: int,
    at: int,
    error: ProviderError | None = None,
) -> Ended | None:
    """Move a job to a terminal state unless it is in one, and have it told; who it was for, or None."""
    changed = conn.execute(
        update(job)
        .where(job.c.id == job_id, job.c.status.not_in(TERMINAL))
        .values(
            status=status,
            charge_micros=charge_micros,
            completed_at=at,
            owner=None,
            lease_until=None,
            error_code=error.code if error else None,
            error_message=error.message if error else None,
            error_status=error.http_status if error else None,
        )
    )
    if changed.rowcount != 1:
        return None
    ended = Ended(**conn.execute(_ENDED, {"job": job_id}).one()._mapping)
    if ended.delivery is not None:
        delivery = msgspec.json.decode(ended.delivery, type=Delivery)
        tell_end(conn, job_id, ended.account_id, delivery, status, at)
    return ended


def count_end(conn: Connection, job_id: str, ended: Ended, at: int) -> None:
    """Count a job that ended: its usage, and what its budgets have left."""
    sums = conn.execute(_SUMS, {"job": job_id}).one()
    usage.record_end(
        conn,
        usage.Ended(
            account_id=ended.account_id,
            model=ended.model,
            provider=ended.provider,
            key_id=ended.key_id,
            end_user=ended.end_user,
            status=ended.status,
            images=sums.images,
            quote_micros=ended.quote_micros,
            charge_micros=ended.charge_micros,
            cost_micros=int(sums.cost),
            listed_micros=int(sums.listed),
        ),
        at,
    )
    payer = budgets.Payer(account_id=ended.account_id, key_id=ended.key_id, end_user=ended.end_user)
    budgets.give_back(conn, payer, ended.ceiling_micros - ended.charge_micros, ended.created_at)
