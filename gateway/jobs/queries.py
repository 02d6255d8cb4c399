"""Reading jobs back. Every read that a caller can reach filters by account, in SQL."""

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import ColumnElement, Connection, RowMapping, Select, and_, func, select, tuple_

from gateway.db.tables import attempt, image, job, progress
from gateway.jobs import refunds, windows
from gateway.jobs.records import (
    TERMINAL,
    UNDER_WAY,
    AttemptRow,
    Delivery,
    ImageRow,
    JobRow,
    Progress,
    decode_admitted,
)
from gateway.schemas import RoutingView
from providers.base import Handle
from providers.normalizer import ReportRow

__all__ = [
    "EVERY",
    "JobFilter",
    "Origin",
    "count_jobs",
    "find_image",
    "find_job",
    "images_of",
    "list_jobs",
    "origin_of",
    "waiting_accounts",
]


class JobFilter(Struct, frozen=True, kw_only=True):
    """Which jobs; what is not given does not matter."""

    statuses: tuple[str, ...] = ()
    """One of these; empty: any."""
    model: str | None = None
    end_user: str | None = None
    created_from: int | None = None
    """Then or later, in milliseconds UTC."""
    created_before: int | None = None


EVERY = JobFilter()


class Origin(Struct, frozen=True, kw_only=True):
    """Of a stored request, what it came with."""

    request_id: str | None = None
    traceparent: str | None = None


_origin = msgspec.json.Decoder(Origin)


def origin_of(conn: Connection, job_id: str) -> Origin:
    """What a job came with; nothing is known of one that is gone."""
    found = conn.execute(select(job.c.request).where(job.c.id == job_id)).scalar_one_or_none()
    return Origin() if found is None else _origin.decode(found)


def find_job(conn: Connection, job_id: str, account_id: str | None = None) -> JobRow | None:
    """A job; None when it is not there, or not the account's. Without an account: any (an admin's, ours)."""
    query = _jobs().where(job.c.id == job_id)
    if account_id is not None:
        query = query.where(job.c.account_id == account_id)
    row = conn.execute(query).mappings().first()
    return _job(conn, [row])[0] if row is not None else None


def list_jobs(
    conn: Connection,
    account_id: str | None,
    *,
    limit: int,
    only: JobFilter = EVERY,
    before: tuple[int, str] | None = None,
) -> list[JobRow]:
    """An account's jobs, or everybody's (for an admin), newest first.

    Args:
        conn: the connection.
        account_id: whose; None for everybody's.
        limit: at most so many.
        only: which of them.
        before: (created_at, id) of the last job of the page before.
    """
    query = _jobs().where(*_matching(account_id, only))
    if before is not None:
        query = query.where(tuple_(job.c.created_at, job.c.id) < tuple_(*before))
    rows = (
        conn.execute(query.order_by(job.c.created_at.desc(), job.c.id.desc()).limit(limit)).mappings().all()
    )
    return _job(conn, rows)


def count_jobs(conn: Connection, account_id: str | None, only: JobFilter = EVERY) -> dict[str, int]:
    """How many of an account's jobs, or of everybody's, have each status; one that none has is left out."""
    query = select(job.c.status, func.count()).where(*_matching(account_id, only)).group_by(job.c.status)
    return {str(status): int(count) for status, count in conn.execute(query)}


def _matching(account_id: str | None, only: JobFilter) -> list[ColumnElement[bool]]:
    equal = ((job.c.account_id, account_id), (job.c.model, only.model), (job.c.end_user, only.end_user))
    conditions = [column == value for column, value in equal if value is not None]
    if account_id is not None:
        # Its steps are part of a run. An operator, who has to know of each that is unknown, sees them all.
        conditions.append(job.c.parent_id.is_(None))
    if only.statuses:
        conditions.append(job.c.status.in_(only.statuses))
    if only.created_from is not None:
        conditions.append(job.c.created_at >= only.created_from)
    if only.created_before is not None:
        conditions.append(job.c.created_at < only.created_before)
    return conditions


def waiting_accounts(conn: Connection) -> list[str]:
    """Accounts that have jobs which wait."""
    query = select(job.c.account_id).where(job.c.status == "scheduled").distinct()
    return [str(found) for found in conn.execute(query).scalars()]


def find_image(conn: Connection, image_id: str, account_id: str | None) -> ImageRow | None:
    """An account's picture; None when it is not there, or another's. Without an account: anybody's."""
    query = select(image).where(image.c.id == image_id)
    if account_id is not None:
        query = query.where(image.c.account_id == account_id)
    row = conn.execute(query).mappings().first()
    return _image(row) if row is not None else None


def images_of(conn: Connection, job_id: str) -> list[ImageRow]:
    """The pictures that a job has so far, in their order."""
    query = select(image).where(image.c.job_id == job_id).order_by(image.c.position)
    return [_image(row) for row in conn.execute(query).mappings()]


def _jobs() -> Select[Any]:
    """Jobs, and what is told of those under way."""
    told = and_(progress.c.job_id == job.c.id, job.c.status.in_(UNDER_WAY))
    return select(job, progress.c.body.label("told")).outerjoin_from(job, progress, told)


def _job(conn: Connection, rows: Sequence[RowMapping]) -> list[JobRow]:
    ids = [row["id"] for row in rows]
    attempts: dict[str, list[AttemptRow]] = {found: [] for found in ids}
    images: dict[str, list[ImageRow]] = {found: [] for found in ids}
    by_number = select(attempt).where(attempt.c.job_id.in_(ids)).order_by(attempt.c.number)
    for row in conn.execute(by_number).mappings():
        attempts[row["job_id"]].append(_attempt(row))
    by_position = select(image).where(image.c.job_id.in_(ids)).order_by(image.c.position)
    for row in conn.execute(by_position).mappings():
        images[row["job_id"]].append(_image(row))
    places = windows.places_of(conn, [row["id"] for row in rows if row["status"] == "scheduled"])
    under_way = [row["batch_id"] for row in rows if row["batch_id"] and row["status"] not in TERMINAL]
    groups = windows.groups_of(conn, under_way)
    steps = _steps(conn, [row["id"] for row in rows if row["template"]])
    refunded = refunds.refunded_of(conn, [row["id"] for row in rows if row["charge_micros"]])
    return [
        msgspec.structs.replace(
            _build(row, attempts[row["id"]], images[row["id"]]),
            place=places.get(row["id"]),
            group=groups.get(row["batch_id"]),
            refunded_micros=refunded.get(row["id"], 0),
            steps=steps.get(row["id"], ()),
        )
        for row in rows
    ]


def _steps(conn: Connection, run_ids: Sequence[str]) -> dict[str, tuple[JobRow, ...]]:
    """The jobs of the steps of runs, in the order in which they were let in."""
    if not run_ids:
        return {}
    query = _jobs().where(job.c.parent_id.in_(run_ids)).order_by(job.c.created_at, job.c.step, job.c.id)
    found: dict[str, tuple[JobRow, ...]] = {}
    for one in _job(conn, conn.execute(query).mappings().all()):
        found[str(one.parent_id)] = (*found.get(str(one.parent_id), ()), one)
    return found


def _build(row: RowMapping, attempts: list[AttemptRow], images: list[ImageRow]) -> JobRow:
    plain: dict[str, Any] = {
        name: row[name]
        for name in JobRow.__struct_fields__
        if name in row and name not in ("report", "delivery")
    }
    decoded = {
        "admitted": decode_admitted(row["request"]),
        "report": msgspec.json.decode(row["report"], type=tuple[ReportRow, ...]),
        "warnings": msgspec.json.decode(row["warnings"], type=tuple[str, ...]),
        "routing": msgspec.json.decode(row["routing"], type=RoutingView),
        "progress": msgspec.json.decode(row["told"], type=Progress) if row["told"] else None,
        "delivery": msgspec.json.decode(row["delivery"], type=Delivery) if row["delivery"] else None,
    }
    return JobRow(**{**plain, **decoded, "attempts": tuple(attempts), "images": tuple(images)})


def _attempt(row: RowMapping) -> AttemptRow:
    handle = msgspec.json.decode(row["handle"], type=Handle) if row["handle"] else None
    plain = {name: row[name] for name in AttemptRow.__struct_fields__ if name != "handle"}
    return AttemptRow(**plain, handle=handle)


def _image(row: RowMapping) -> ImageRow:
    return ImageRow(**{name: row[name] for name in ImageRow.__struct_fields__})
