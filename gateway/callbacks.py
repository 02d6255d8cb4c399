"""What a provider's call to us does: the job that it is about is looked at now.

Nothing of its payload is believed. A call about a submit that has no answer also says under which
id the provider has the job: then the job is followed from there, if the call is proven to be of
our own account.
"""

import logging
from collections.abc import Mapping

from gateway.core import Core
from gateway.jobs import taken
from gateway.jobs.records import AttemptRow, JobRow
from gateway.problems import Problem
from providers.base import CallsBack, Webhook, WebhookRefused
from registry.schema import Route

__all__ = ["take_call"]

log = logging.getLogger(__name__)

ENDING_S = 5.0
"""A job that was just left unknown is let go of by then."""


async def take_call(
    core: Core, provider_type: str, attempt_id: str, headers: Mapping[str, str], body: bytes
) -> None:
    """Do what a call asks for; nothing for a job that has ended, or is gone.

    Args:
        core: the gateway.
        provider_type: whose address was called.
        attempt_id: what the address is for, as `Webhooks.attempt_of` says.
        headers: their names in small letters.
        body: as it came.

    Raises:
        Problem: `not_found`, `bad_webhook`, `provider_not_configured`.
        ProviderUnavailable: what proves the call cannot be had now.
        DatabaseUnavailable: it cannot be looked up.
    """
    job = await core.db.read(lambda c: taken.job_of_attempt(c, attempt_id))
    if job is None:
        return
    attempt = next(row for row in job.attempts if row.id == attempt_id)
    route = job.admitted.candidates[attempt.route_index].route
    provider = _provider(core, route, provider_type)
    try:
        call = await provider.read_webhook(headers, body, core.ambient.now_ms() / 1000)
    except WebhookRefused as error:
        log.warning("a call of %s about job %s is refused: %s", provider_type, job.id, error)
        raise Problem("bad_webhook", f"The call is refused: {error}") from error
    if attempt.handle is None:
        await _find(core, job, attempt, provider, route, call)
    elif attempt.handle.remote_id in call.request_ids:
        core.runner.nudge(job.id, attempt.id)
    else:
        log.warning("job %s: %s calls about another request than its own", job.id, attempt.provider)


def _provider(core: Core, route: Route, provider_type: str) -> CallsBack:
    unavailable = core.providers.unavailable(route)
    if unavailable is not None:
        raise Problem("provider_not_configured", unavailable.reason, setting=unavailable.setting)
    provider = core.providers.get(route.provider)
    if not isinstance(provider, CallsBack) or provider.type != provider_type:
        raise Problem("not_found", "Nobody is called here")
    return provider


async def _find(
    core: Core, job: JobRow, attempt: AttemptRow, provider: CallsBack, route: Route, call: Webhook
) -> None:
    """A call about a submit without an answer: the provider has it, and this is its id there."""
    if attempt.status not in ("sent", "unknown"):
        return
    request_id = call.request_ids[0]
    if not call.ours:
        # Anybody with an account there can have the provider sign a call with an id of theirs.
        if attempt.status == "unknown":
            log.warning(
                "job %s: %s has it as %s, says a call of an account that is not proven to be ours. See "
                "that it is, then: gateway jobs adopt %s --request-id %s. With FAL_USER_ID set, this is done "
                "by itself",
                job.id, attempt.provider, request_id, job.id, request_id,
            )  # fmt: skip
        return
    handle = provider.handle_for(route, request_id)
    deadline_at = core.ambient.now_ms() + int(core.settings.job_timeout_s * 1000)
    if await core.db.write(lambda c: taken.note_taken(c, job.id, attempt.id, handle, deadline_at)):
        log.info("job %s: %s has it as %s, and called: it goes on", job.id, attempt.provider, request_id)
        # Whoever left it unknown may be just about to let go of it.
        await core.runner.wait(job.id, ENDING_S)
        core.runner.start(job.id)
