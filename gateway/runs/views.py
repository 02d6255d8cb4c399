"""A run's steps, as its owner sees them."""

from collections.abc import Callable

from billing.money import json_number
from gateway.jobs.records import JobRow
from gateway.runs.records import StepRecord
from gateway.schemas import ErrorView, StepView

__all__ = ["step_views"]


def step_views(job: JobRow, link: Callable[[str], str]) -> tuple[StepView, ...]:
    """The steps of a run, those whose turn has not come included; none, of another job.

    Args:
        job: the run's.
        link: makes the link to a picture.
    """
    if job.admitted.run is None:
        return ()
    return tuple(
        view
        for step in job.admitted.run.steps
        for view in (
            [_begun(step, one, link) for one in job.steps if one.step == step.name] or [_waiting(step)]
        )
    )


def _begun(step: StepRecord, one: JobRow, link: Callable[[str], str]) -> StepView:
    return StepView(
        name=step.name,
        do=step.do,
        job_id=one.id,
        status=one.status,
        model=one.model,
        provider=one.provider,
        image_urls=tuple(link(image.id) for image in one.images),
        cost=None if one.due_micros is None else json_number(one.due_micros),
        report=one.report,
        error=ErrorView(code=one.error_code, message=one.error_message or "") if one.error_code else None,
    )


def _waiting(step: StepRecord) -> StepView:
    return StepView(
        name=step.name,
        do=step.do,
        job_id=None,
        status="waiting",
        model=step.model,
        provider=step.candidates[0].route.provider,
        image_urls=(),
        cost=None,
        report=step.report,
        error=None,
    )
