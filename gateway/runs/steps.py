"""A step of a run as a job of its own: without money, for its run has that."""

from msgspec import structs
from sqlalchemy import Connection, select

from gateway.ambient import Ambient
from gateway.db.tables import job
from gateway.jobs import admit
from gateway.jobs.records import Admitted, JobRow, NewAttempt
from gateway.media.decode import Kind
from gateway.media.references import keys_of
from gateway.media.walk import replaced
from gateway.model_plan import Candidate
from gateway.runs.pictures import Picture
from gateway.runs.records import STEP_URL, StepRecord
from providers.base import MediaRef

__all__ = ["admit_step", "new_step"]


def new_step(
    run: JobRow,
    step: StepRecord,
    job_id: str,
    source: Picture | None,
    ambient: Ambient,
    owner: str,
    *,
    traceparent: str | None = None,
) -> admit.NewJob:
    """A step's job, about to be let in.

    Args:
        run: whose step.
        step: as it was planned.
        job_id: of `step_job_id`.
        source: the picture that it takes, made by another step.
        ambient: time and ids.
        owner: the process that drives it.
        traceparent: of the run's own span.
    """
    candidates = tuple(_with_source(one, source) for one in step.candidates)
    first = candidates[0].route
    return admit.NewJob(
        id=job_id,
        account_id=run.account_id,
        end_user=run.end_user,
        model=step.model,
        registry_version=run.registry_version,
        admitted=Admitted(
            inputs={},
            options={},
            candidates=candidates,
            request_id=run.admitted.request_id,
            traceparent=traceparent,
            restored=run.admitted.restored,
        ),
        report=step.report,
        warnings=step.warnings,
        routing=step.routing,
        quote_micros=0,
        ceiling_micros=0,
        deadline_at=run.deadline_at,
        attempt=NewAttempt(
            id=ambient.new_id("att"),
            number=1,
            candidate=0,
            call=0,
            provider=first.provider,
            endpoint=first.endpoint,
        ),
        owner=owner,
        key_id=run.key_id,
        media_keys=keys_of(candidates),
        parent_id=run.id,
        step=step.name,
    )


def admit_step(conn: Connection, new: admit.NewJob, at: int) -> None:
    """Let a step's job in, unless that was done before the process that did so ended."""
    if conn.execute(select(job.c.id).where(job.c.id == new.id)).first() is None:
        admit.admit(conn, new, at)


def _with_source(candidate: Candidate, source: Picture | None) -> Candidate:
    """A candidate with the picture that was made in the place of its name."""
    if source is None:
        return candidate

    def change(ref: MediaRef, kind: Kind) -> MediaRef:
        return source.ref if ref.url.startswith(STEP_URL) else ref

    calls = tuple(structs.replace(call, payload=replaced(call.payload, change)) for call in candidate.calls)
    return structs.replace(candidate, calls=calls)
