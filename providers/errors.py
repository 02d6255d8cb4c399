"""What can go wrong at a provider, as one small tree.

    ProviderError
    |- CredentialsRejected    502  our key was refused: the operator's fault, never a 401 to the caller
    |- ProviderQuota          503  our account there is out of funds or not allowed     try_next
    |- RateLimited            503  too many requests; the provider did not take it      retry_same, try_next
    |- RequestRejected        422  the provider says that the request is wrong
    |- ContentRejected        422  moderation
    |- TargetUnavailable      502  the remote model is gone or was never deployed       try_next
    |- ProviderUnavailable    503  it did not take the request: refused, 503            retry_same, try_next
    |- ProviderFailed         502  it took the job and then failed                      try_next
    |- ProviderTimeout        504  the job did not end before its deadline
    |- JobLost                502  it no longer knows a job that it took
    |- JobCanceled            409  the job was canceled
    |- OutputFetchFailed      502  the result could not be fetched; only the fetch is repeated
    |- MalformedOutput        502  its answer is not what its protocol says
    |- NotTaken               502  an operator found out that a submit was never taken
    `- SubmitUnknown          502  a submit was sent and got no answer: never sent again blindly

`retry_same` and `try_next` say what the runner may do, and are False unless a class says
otherwise: only a submit that was provably not taken may be repeated.
"""

from typing import ClassVar

__all__ = [
    "ContentRejected",
    "CredentialsRejected",
    "JobCanceled",
    "JobLost",
    "MalformedOutput",
    "NotTaken",
    "OutputFetchFailed",
    "ProviderError",
    "ProviderFailed",
    "ProviderQuota",
    "ProviderTimeout",
    "ProviderUnavailable",
    "RateLimited",
    "RequestRejected",
    "SubmitUnknown",
    "TargetUnavailable",
    "all_errors",
    "by_code",
]


class ProviderError(Exception):
    """A provider did not do what was asked.

    Args:
        message: one or two sentences for the caller: what happened and what to do next.
            Never a credential, never a stack trace.
        provider: the registry's name of the provider.
        retry_after: seconds that the provider asked us to wait.
        raw: what the provider said, for the log alone.
    """

    code: ClassVar[str] = "provider_error"
    http_status: ClassVar[int] = 502
    retry_same: ClassVar[bool] = False
    try_next: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        provider: str = "",
        retry_after: float | None = None,
        raw: str = "",
    ) -> None:
        super().__init__(message)
        self.message = message
        self.provider = provider
        self.retry_after = retry_after
        self.raw = raw

    def __reduce__(self) -> tuple[object, ...]:
        # Keyword-only arguments break the default pickling of exceptions.
        return _rebuild, (type(self), self.message, self.provider, self.retry_after, self.raw)


def _rebuild(
    cls: type[ProviderError], message: str, provider: str, retry_after: float | None, raw: str
) -> ProviderError:
    return cls(message, provider=provider, retry_after=retry_after, raw=raw)


class CredentialsRejected(ProviderError):
    """The provider refused our key."""

    code = "provider_credentials_rejected"


class ProviderQuota(ProviderError):
    """Our account at the provider is out of funds or may not use this model."""

    code = "provider_quota"
    http_status = 503
    try_next = True


class RateLimited(ProviderError):
    """The provider has too much to do and did not take the request."""

    code = "provider_rate_limited"
    http_status = 503
    retry_same = True
    try_next = True


class RequestRejected(ProviderError):
    """The provider says that the request is wrong."""

    code = "provider_rejected_request"
    http_status = 422


class ContentRejected(ProviderError):
    """The provider's moderation refused the prompt or the picture."""

    code = "content_policy"
    http_status = 422


class TargetUnavailable(ProviderError):
    """The remote model is gone, or was never deployed."""

    code = "provider_target_unavailable"
    try_next = True


class ProviderUnavailable(ProviderError):
    """The provider could not be reached and provably did not take the request."""

    code = "provider_unavailable"
    http_status = 503
    retry_same = True
    try_next = True


class ProviderFailed(ProviderError):
    """The provider took the job and failed at it, and says so."""

    code = "provider_failed"
    try_next = True


class ProviderTimeout(ProviderError):
    """The job did not end before its deadline."""

    code = "provider_timeout"
    http_status = 504


class JobLost(ProviderError):
    """The provider no longer knows a job that it had taken."""

    code = "provider_lost_job"


class JobCanceled(ProviderError):
    """The job was canceled."""

    code = "canceled"
    http_status = 409


class OutputFetchFailed(ProviderError):
    """A finished result could not be fetched; the fetch alone is repeated, never the job."""

    code = "provider_output_fetch_failed"


class MalformedOutput(ProviderError):
    """The provider's answer, or its picture, is not what its protocol says."""

    code = "provider_bad_response"


class NotTaken(ProviderError):
    """The provider never took the job, as an operator found out."""

    code = "provider_not_taken"


class SubmitUnknown(ProviderError):
    """A submit was sent and got no answer. It may have been taken, and is never resent blindly."""

    code = "provider_submit_unknown"


def all_errors(cls: type[ProviderError] = ProviderError) -> list[type[ProviderError]]:
    """A class and every one below it; those of packages that were loaded too."""
    return [cls] + [c for sub in cls.__subclasses__() for c in all_errors(sub)]


def by_code(code: str) -> type[ProviderError]:
    """The class with a stable `code`, as stored with an attempt; `ProviderError` if none has it."""
    return next((c for c in all_errors() if c.code == code), ProviderError)
