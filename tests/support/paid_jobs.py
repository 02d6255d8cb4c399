"""Jobs that are let in and end on a bare connection, as the gateway's own SQL does it."""

from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy import Connection, insert, select
from support.new_jobs import new_job
from support.small_registry import small_catalog

from billing.budgets import EACH, Budget, month_of, set_budget
from billing.tables import budget
from gateway.accounts import rows
from gateway.db.tables import api_key
from gateway.jobs.admit import NewJob
from gateway.jobs.records import NewImage
from gateway.jobs.store import Share
from gateway.planning import Candidate

__all__ = [
    "KEYS",
    "NOON",
    "PEOPLE",
    "Job",
    "limits_of",
    "open_accounts",
    "other_candidate",
    "paid_job",
    "share_of",
    "used_before",
]

NOON = 1_796_040_000_000
"""Noon of 2026-11-30 UTC: a month ends soon."""
PEOPLE = {"ann": False, "bob": False, "op": True}
"""Accounts, and whether they are postpaid."""
KEYS = {"annkey": ("ann", None), "anncap": ("ann", 150), "opkey": ("op", None)}
"""API keys: whose, and what their jobs may cost in all."""


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


def open_accounts(conn: Connection) -> None:
    """Ann and Bob pay before, the operator afterwards; nobody has anything."""
    for name, postpaid in PEOPLE.items():
        rows.ensure_account(conn, account_id=name, name=name, postpaid=postpaid, at=1)
    for key, (owner, most) in KEYS.items():
        row = {"id": key, "account_id": owner, "name": key, "digest": key, "created_at": 1}
        conn.execute(insert(api_key).values(row))
        if most is not None:
            cap = Budget(kind="key", subject=key, period="all", limit_micros=most)
            set_budget(conn, owner, cap, {key: 0}, at=1)


def paid_job(
    number: int, account: str, ceiling: int, *, key: str | None = None, user: str | None = None
) -> NewJob:
    """`job<number>` with its attempt `att<number>.1`, which may cost so many micro-dollars."""
    return replace(
        new_job(number, ceiling=ceiling),
        account_id=account,
        end_user=user,
        quote_micros=ceiling // 2,
        key_id=key,
    )


def other_candidate() -> Candidate:
    """Of another model and another provider than `paid_job` has."""
    model = small_catalog().model("dear")
    return Candidate(
        route=model.routes[0],
        calls=(),
        width=None,
        height=None,
        price=model.price,
        ceiling_micros=1,
        cost_micros=0,
        report=(),
        warnings=(),
    )


def share_of(job_id: str, attempt_id: str, positions: range, cost: int, listed: int | None = None) -> Share:
    """Pictures that an attempt gave, at these places of its job, and what its provider bills."""
    images = tuple(
        NewImage(
            id=f"img_{job_id}.{place}",
            position=place,
            storage_key=f"images/{job_id}.{place}",
            content_type="image/png",
            width=8,
            height=8,
            byte_size=8,
            sha256="x",
            seed=None,
        )
        for place in positions
    )
    return Share(
        attempt_id=attempt_id,
        images=images,
        run_seconds=None,
        load_seconds=None,
        provider_cost_micros=cost,
        listed_cost_micros=listed,
    )


def limits_of(conn: Connection, one: Job) -> list[tuple[str, str, int]]:
    """The budgets that a job must fit: kind, period and limit."""
    rows = conn.execute(select(budget).where(budget.c.account_id == one.account)).all()
    subjects = {"account": "", "key": one.key, "user": one.user}
    own = {(row.kind, row.period) for row in rows if row.subject == one.user and row.kind == "user"}
    return [
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


def used_before(jobs: Sequence[Job], one: Job, kind: str, period: str) -> int:
    """What counts against a job's budget of a kind before it is let in."""
    return sum(
        other.counts
        for other in jobs
        if other.account == one.account
        and (kind != "key" or other.key == one.key)
        and (kind != "user" or other.user == one.user)
        and (period == "all" or month_of(other.at) == month_of(one.at))
    )
