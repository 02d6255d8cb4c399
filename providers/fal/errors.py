"""Which class of ours an answer of fal's is. Pure; HTTP status first, then the error type, text last.

An answer means different things by what was asked:

| asked | answer | class | because |
|---|---|---|---|
| submit | 400, 409, 413, 415, 422 | RequestRejected, ContentRejected | refused, so not taken |
| | 401, 403 | CredentialsRejected | our key |
| | 402, 403 about money | ProviderQuota | our balance |
| | 404, 405, 410 | TargetUnavailable | no such endpoint |
| | 429 | RateLimited | refused, so not taken |
| | 301, 302, 307, 308 | MalformedOutput | not fal's queue; it sends the request elsewhere |
| | every other 3xx | SubmitUnknown | 303 comes after the request was acted on |
| | 503 + Retry-After, from a proxy | ProviderUnavailable | it says that it did not handle it |
| | 5xx of a run that never began | ProviderUnavailable | the type says that no runner had it |
| | 408, 499, every other 5xx | SubmitUnknown | it may have been queued before that |
| status | 404 in JSON | JobLost | fal knows it no more |
| | anything else | ProviderUnavailable | says nothing of the job, which may go on |
| result | 404, 410 | OutputFetchFailed | expired |
| | 401, 403, 408, 429, untyped 5xx of a proxy | ProviderUnavailable | says nothing of the job |
| | the rest | as the run ended | the model's own answer |
| upload | 401 to 403, 400, 413, 415, 422 | as above | our key, our balance, this file |
| | the rest | ProviderUnavailable | nothing was submitted |

How a run ended: content policy and `client_*` by their type; a start that took too long is
ProviderTimeout; else X-Fal-Retryable, the type, the status, in that order, tell ProviderFailed
(another route may do it) from RequestRejected (it would fail again).
"""

import re

from providers.errors import (
    ContentRejected,
    CredentialsRejected,
    JobCanceled,
    JobLost,
    MalformedOutput,
    OutputFetchFailed,
    ProviderError,
    ProviderFailed,
    ProviderQuota,
    ProviderTimeout,
    ProviderUnavailable,
    RateLimited,
    RequestRejected,
    SubmitUnknown,
    TargetUnavailable,
)
from providers.fal.replies import Said

__all__ = ["content_rejected", "of_result", "of_run", "of_status", "of_submit", "of_upload"]

_POLICY = "content_policy_violation"
_MONEY = re.compile(r"balance|top.?up|credit|billing|payment|funds|locked", re.IGNORECASE)
_MODERATION = re.compile(r"content.?polic|nsfw|moderation|safety", re.IGNORECASE)

NEVER_BEGUN = frozenset({"startup_timeout", "runner_scheduling_failure", "runner_connection_refused"})
"""Types of a request that fal gave up before any runner had it. Not `request_timeout`: that is the
limit of an attempt which runs (fal's documents: queue, `start_timeout`)."""
TRANSIENT = NEVER_BEGUN | {
    "downstream_service_error",
    "downstream_service_unavailable",
    "generation_timeout",
    "internal_error",
    "internal_server_error",
    "request_timeout",
    "runner_connection_error",
    "runner_connection_timeout",
    "runner_disconnected",
    "runner_incomplete_response",
    "runner_server_error",
}
"""Types after which the same request may succeed."""
_ABOUT_THE_CALLER = frozenset({400, 409, 413, 415, 422})
_ELSEWHERE = frozenset({301, 302, 307, 308})


def of_submit(said: Said, provider: str) -> ProviderError:
    """The class of an answer to a submit that is no acceptance; see the table above."""
    status = said.status
    if status in (401, 402, 403):
        return _of_account(said, provider)
    if status in (404, 405, 410):
        return TargetUnavailable(
            "fal has no such model endpoint (any more).", provider=provider, raw=said.raw
        )
    if status == 429:
        return RateLimited(
            "fal takes no more requests from this gateway at the moment. Nothing was charged.",
            provider=provider,
            retry_after=said.retry_after,
            raw=said.raw,
        )
    if status >= 500 or status in (408, 499):
        return _of_server(said, provider)
    if status < 400:
        redirected = MalformedOutput if status in _ELSEWHERE else SubmitUnknown
        return redirected(
            f"fal's queue answered a request with HTTP {status}: is FAL_QUEUE_URL right?",
            provider=provider,
            raw=said.raw,
        )
    return _rejected(said, provider)


def of_status(said: Said, provider: str) -> ProviderError:
    """The class of an answer to a status call or a cancel that is not 2xx."""
    if said.status == 404 and said.is_json:
        return JobLost("fal no longer knows this job. Nothing was charged.", provider=provider, raw=said.raw)
    return _not_asked(said, provider)


def of_result(said: Said, provider: str) -> ProviderError:
    """The class of an answer, not 2xx, to the question for an ended job's result."""
    if said.status in (404, 410):
        return OutputFetchFailed(
            "The picture was made, but fal keeps it no longer. Nothing was charged.",
            provider=provider,
            raw=said.raw,
        )
    aside = said.status in (401, 402, 403, 408) or (said.status >= 500 and not said.from_fal)
    if said.status == 429 or (aside and said.error_type is None):
        return _not_asked(said, provider)
    return of_run(said, provider)


def of_run(said: Said, provider: str) -> ProviderError:
    """The class of what fal says of a job that ended without a picture."""
    if said.error_type in ("client_cancelled", "client_disconnected"):
        return JobCanceled("The job was canceled.", provider=provider, raw=said.raw)
    if said.error_type == "request_timeout":
        return ProviderTimeout(
            "fal gave the job up: it did not start, or did not end, in the time that it had there. "
            "Nothing was charged.",
            provider=provider,
            raw=said.raw,
        )
    if _is_moderation(said) or not _may_succeed_later(said):
        return _rejected(said, provider)
    return ProviderFailed(
        f"fal took the job and failed at it{_words(said)}. Nothing was charged.",
        provider=provider,
        retry_after=said.retry_after,
        raw=said.raw,
    )


def of_upload(said: Said, provider: str) -> ProviderError:
    """The class of an answer to an upload that is not 2xx."""
    if said.status in (401, 402, 403):
        return _of_account(said, provider)
    if said.status in _ABOUT_THE_CALLER:
        return RequestRejected(
            f"fal does not take one of the request's files{_words(said)}.", provider=provider, raw=said.raw
        )
    return ProviderUnavailable(
        "A file of the request could not be handed to fal. Nothing was sent or charged.",
        provider=provider,
        retry_after=said.retry_after,
        raw=said.raw,
    )


def content_rejected(provider: str, raw: str = "") -> ContentRejected:
    """The refusal of fal's moderation: of the prompt, an input or the picture."""
    return ContentRejected(
        "fal's moderation refused the prompt or the picture. Nothing was charged; change the "
        "prompt or the image.",
        provider=provider,
        raw=raw,
    )


def _of_account(said: Said, provider: str) -> ProviderError:
    if said.status == 402 or (said.status == 403 and _MONEY.search(said.text)):
        return ProviderQuota(
            "The gateway's account at fal is out of funds. Its operator has to top it up.",
            provider=provider,
            raw=said.raw,
        )
    return CredentialsRejected(
        "fal refused the gateway's key, or it may not use this model. Its operator has to check FAL_KEY.",
        provider=provider,
        raw=said.raw,
    )


def _of_server(said: Said, provider: str) -> ProviderError:
    declined = said.status == 503 and said.retry_after is not None and not said.from_fal
    if said.error_type in NEVER_BEGUN or (declined and said.error_type is None):
        return ProviderUnavailable(
            "fal did not take the request. Nothing was charged.",
            provider=provider,
            retry_after=said.retry_after,
            raw=said.raw,
        )
    return SubmitUnknown(
        "fal failed while it was given the job, and may have taken it.", provider=provider, raw=said.raw
    )


def _not_asked(said: Said, provider: str) -> ProviderUnavailable:
    return ProviderUnavailable(
        "fal could not be asked about the job.",
        provider=provider,
        retry_after=said.retry_after,
        raw=said.raw,
    )


def _rejected(said: Said, provider: str) -> ProviderError:
    if _is_moderation(said):
        return content_rejected(provider, said.raw)
    where = f" ({', '.join(said.fields)})" if said.fields else ""
    return RequestRejected(
        f"fal does not take this request{where}{_words(said)}. Nothing was charged.",
        provider=provider,
        raw=said.raw,
    )


def _is_moderation(said: Said) -> bool:
    if said.error_type is not None:
        return said.error_type == _POLICY
    return 400 <= said.status < 500 and bool(_MODERATION.search(said.text))


def _may_succeed_later(said: Said) -> bool:
    if said.retryable is not None:
        return said.retryable
    return said.error_type in TRANSIENT or said.status >= 500


def _words(said: Said) -> str:
    return f": {said.text.rstrip('.')}" if said.text and said.is_json else ""
