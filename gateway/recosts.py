"""Corrections of what providers bill, as an operator enters them after a comparison."""

from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta, Struct
from sqlalchemy import Connection, select

from billing.recosts import correct, request_reference, sum_reference
from gateway.accounts import audit
from gateway.accounts.audit import Actor
from gateway.ambient import Ambient
from gateway.db.tables import attempt
from gateway.problems import Problem

__all__ = ["AT_ONCE", "Correction", "CorrectionsRequest", "CorrectionsView", "book"]

AT_ONCE = 200
"""Corrections of one transaction."""
MOST_MICROS = 10**12
Text = Annotated[str, Meta(min_length=1, max_length=200)]


class SumOf(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """A sum of a provider's bill."""

    name: Text
    """The endpoint, or the app."""
    start: Annotated[int, Meta(ge=0, le=1 << 53)]
    """From when on, in milliseconds UTC."""


class Correction(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What a provider billed for an attempt, for a request that no attempt is known for, or in a sum."""

    attempt_id: Annotated[str, Meta(min_length=1, max_length=40)] | None = None
    request_id: Text | None = None
    """The provider's own."""
    sum: SumOf | None = None
    total_micros: Annotated[int, Meta(ge=-MOST_MICROS, le=MOST_MICROS)]
    """What the entries about it are to come to."""
    note: Annotated[str, Meta(min_length=1, max_length=500)]
    """Why, for whoever reads the ledger."""


class CorrectionsRequest(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """The body of `POST /api/admin/billing/corrections`."""

    provider: Annotated[str, Meta(min_length=1, max_length=100)]
    """The registry's name of it."""
    corrections: Annotated[tuple[Correction, ...], Meta(min_length=1, max_length=AT_ONCE)]


class CorrectionsView(Struct, frozen=True, kw_only=True, rename="camel"):
    """What was entered."""

    entered: int
    """Corrections; the others were in the books already."""
    micros: int
    """By how much what the provider bills has changed."""


def book(
    conn: Connection, ambient: Ambient, provider: str, corrections: Sequence[Correction], by: Actor, at: int
) -> CorrectionsView:
    """Enter corrections; one that is in the books already changes nothing.

    Args:
        conn: inside a transaction.
        ambient: makes the id of the audit's row.
        provider: the registry's name of it.
        corrections: what it billed.
        by: who enters them.
        at: milliseconds UTC.

    Raises:
        Problem: `not_found`, `invalid_body`.
        TooOften: one was corrected too often.
        sqlalchemy.exc.IntegrityError: somebody else corrects the same at this moment.
    """
    changed: list[int] = []
    for one in corrections:
        references, job_id = _about(conn, provider, one)
        entered = correct(
            conn,
            provider=provider,
            references=references,
            job_id=job_id,
            total_micros=one.total_micros,
            note=one.note,
            at=at,
        )
        changed.append(entered)
    made = CorrectionsView(entered=sum(map(bool, changed)), micros=sum(changed))
    if made.entered:
        detail = {"entered": made.entered, "micros": made.micros}
        audit.record(conn, ambient, by, "billing.correct", provider[:40], at, **detail)
    return made


def _about(conn: Connection, provider: str, one: Correction) -> tuple[list[str], str | None]:
    """The references of a correction, and the job that it is about."""
    if (one.sum is None) == (one.attempt_id is None and one.request_id is None):
        raise Problem("invalid_body", "A correction has an attemptId, a requestId or both, or else a sum")
    if one.sum is not None:
        return [sum_reference(provider, one.sum.name, one.sum.start)], None
    references = [] if one.request_id is None else [request_reference(provider, one.request_id)]
    if one.attempt_id is None:
        return references, None
    mine = select(attempt.c.job_id).where(attempt.c.id == one.attempt_id, attempt.c.provider == provider)
    job_id = conn.execute(mine).scalar_one_or_none()
    if job_id is None:
        raise Problem("not_found", f"{provider} has no attempt {one.attempt_id}")
    return [one.attempt_id, *references], job_id
