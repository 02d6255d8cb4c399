"""The stations of a job as spans, and what each says of itself."""

import msgspec

from gateway.jobs.records import AttemptRow, JobRow
from gateway.model_plan import Candidate
from gateway.observe import genai
from gateway.observe.genai import Attributes
from gateway.observe.tracing import NO_SPAN, Span, Tracing
from providers.base import Handle, Succeeded
from providers.errors import JobCanceled, ProviderError

__all__ = ["accepted", "attempt", "failed", "job", "settle", "submit"]

MOST_PROMPT = 8000
"""Characters."""


def job(tracing: Tracing, row: JobRow, *, recovered: bool) -> Span:
    """A job in the process that drives it, inside the request that it came with.

    Args:
        tracing: makes it.
        row: the job.
        recovered: another process had it before.
    """
    if not tracing.on:
        return NO_SPAN
    attributes: Attributes = {
        genai.JOB: row.id,
        genai.ACCOUNT: row.account_id,
        genai.MODEL: row.model,
        genai.PROVIDER: row.provider,
    }
    if row.admitted.request_id is not None:
        attributes[genai.REQUEST_ID] = row.admitted.request_id
    if recovered:
        attributes[genai.RECOVERED] = True
    if row.step is not None:
        attributes[genai.STEP] = row.step
    if row.admitted.run is not None:
        attributes[genai.TEMPLATE] = row.admitted.run.template
        return tracing.span(f"run {row.admitted.run.template}", attributes, parent=row.admitted.traceparent)
    attributes |= _asked_of(row.admitted.candidates[0], row.model)
    if tracing.prompts:
        attributes |= _messages_of(row)
    return tracing.span(f"{genai.GENERATE} {row.model}", attributes, parent=row.admitted.traceparent)


def attempt(tracing: Tracing, row: JobRow, one: AttemptRow) -> Span:
    """One submission of a call, with everything until its pictures are stored."""
    return tracing.span("attempt", _of_attempt(row, one)) if tracing.on else NO_SPAN


def submit(tracing: Tracing, row: JobRow, one: AttemptRow, candidate: Candidate) -> Span:
    """Handing a call to its provider."""
    if not tracing.on:
        return NO_SPAN
    attributes = _of_attempt(row, one) | _asked_of(candidate, one.endpoint)
    return tracing.span("submit", attributes, kind="client")


def accepted(span: Span, answer: Handle | Succeeded) -> None:
    """Note what a provider calls the job."""
    if isinstance(answer, Handle):
        span.set(genai.RESPONSE_ID, answer.remote_id)


def settle(tracing: Tracing, outcome: str, *, cost_micros: int = 0, images: int = 0) -> Span:
    """A job's end in the books, noted of the job's own span too: call it in that.

    Args:
        tracing: makes it.
        outcome: completed, failed, canceled or unknown.
        cost_micros: what the caller pays.
        images: how many there are.
    """
    if not tracing.on:
        return NO_SPAN
    attributes: Attributes = {genai.OUTCOME: outcome, genai.COST: cost_micros, genai.IMAGES: images}
    whole = tracing.current()
    for name, value in attributes.items():
        whole.set(name, value)
    return tracing.span("settle", attributes)


def failed(tracing: Tracing, error: ProviderError) -> Span:
    """As `settle`, of a job that gave no picture."""
    if error.code == JobCanceled.code:
        return settle(tracing, "canceled")
    tracing.current().fail(error.code)
    return settle(tracing, "failed")


def _of_attempt(row: JobRow, one: AttemptRow) -> Attributes:
    return {
        genai.JOB: row.id,
        genai.MODEL: row.admitted.candidates[one.route_index].route.model,
        genai.PROVIDER: one.provider,
        genai.ENDPOINT: one.endpoint,
        genai.ATTEMPT: one.number,
        genai.ATTEMPT_ID: one.id,
    }


def _asked_of(candidate: Candidate, model: str) -> Attributes:
    """What is asked of one that can serve, `model` being the name that it is asked under."""
    found: Attributes = {
        genai.OPERATION: genai.GENERATE,
        genai.OUTPUT: "image",
        genai.GEN_PROVIDER: candidate.route.provider,
        genai.REQUEST_MODEL: model,
        genai.CHOICES: candidate.num_images,
    }
    seed = candidate.calls[0].payload.get("seed")
    if isinstance(seed, int):
        found[genai.SEED] = seed
    return found


def _messages_of(row: JobRow) -> Attributes:
    """The prompt as it is sent, for who opted in."""
    prompt = row.admitted.candidates[0].calls[0].payload.get("prompt")
    if not isinstance(prompt, str):
        return {}
    said = [{"role": "user", "parts": [{"type": "text", "content": prompt[:MOST_PROMPT]}]}]
    return {genai.MESSAGES: msgspec.json.encode(said).decode()}
