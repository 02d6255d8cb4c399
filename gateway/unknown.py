"""An operator's word on a job whose submit got no answer: whether its provider took it."""

from typing import TYPE_CHECKING

from gateway.jobs import settle
from gateway.jobs.records import JobRow
from gateway.problems import Problem

if TYPE_CHECKING:
    from gateway.core import Core

__all__ = ["adopt", "fail"]


async def adopt(core: "Core", job_id: str, request_id: str) -> JobRow:
    """Follow an unknown job from the id that its provider has for it; the job as it is then.

    Args:
        core: has the job.
        job_id: its id, or that of the template's run of which it is a step.
        request_id: the provider's own.

    Raises:
        Problem: `not_found`, `job_not_unknown`, `provider_not_configured`.
    """
    job = _unknown_one(await core.job(job_id, None))
    if not job.attempts:
        raise _known(job)
    lost = next((one for one in job.attempts if one.status == "unknown"), job.attempts[-1])
    route = job.admitted.candidates[lost.route_index].route
    unavailable = core.providers.unavailable(route)
    if unavailable is not None:
        raise Problem("provider_not_configured", unavailable.reason, setting=unavailable.setting)
    handle = core.providers.get(route.provider).handle_for(route, request_id)
    deadline_at = core.ambient.now_ms() + int(core.settings.job_timeout_s * 1000)
    if not await core.db.write(lambda c: settle.adopt(c, job.id, handle, deadline_at)):
        raise _known(job)
    core.runner.start(job.id)
    return await core.job(job_id, None)


async def fail(core: "Core", job_id: str) -> JobRow:
    """End an unknown job that its provider never took; the job as it is then.

    Args:
        core: has the job.
        job_id: its id, or that of the template's run of which it is a step.

    Raises:
        Problem: `not_found`, `job_not_unknown`.
    """
    job = _unknown_one(await core.job(job_id, None))
    at = core.ambient.now_ms()
    if not await core.db.write(lambda c: settle.fail(c, job.id, at)):
        raise _known(job)
    core.delivery.wake()
    if job.parent_id is not None:
        core.runner.start(job.parent_id)
    return await core.job(job_id, None)


def _unknown_one(job: JobRow) -> JobRow:
    """The job that an operator's word is about: of a template's run, the step that is unknown."""
    return next((step for step in job.steps if step.status == "unknown"), job)


def _known(job: JobRow) -> Problem:
    return Problem("job_not_unknown", f"{job.id} is {job.status}: nobody needs to say what became of it")
