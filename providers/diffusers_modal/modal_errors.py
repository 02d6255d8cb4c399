"""What Modal's exceptions mean to us, in one table.

By name, so that nothing of Modal's is imported. Three moments read it differently: asking (the
question may be put again), submitting (what was sent may have been taken), and the end of a call.
"""

from collections.abc import Iterator

from providers.diffusers_modal.wire import ErrorRecord
from providers.errors import (
    CredentialsRejected,
    JobLost,
    ProviderError,
    ProviderFailed,
    ProviderTimeout,
    ProviderUnavailable,
    RateLimited,
    RequestRejected,
    SubmitUnknown,
    TargetUnavailable,
)

__all__ = ["TABLE", "asking", "ended", "is_unknown_call", "kinds", "submitting"]

_REFUSED = "Modal refused the token. Set MODAL_TOKEN_ID and MODAL_TOKEN_SECRET to a valid one."
_DEPLOY = "The diffusers backend is not deployed on Modal. Run `gateway backend deploy`."
_AWAY = "Modal cannot be reached, or did not answer."
_OLD = "Modal does not know this client any more. Upgrade the package modal, and deploy again."
_CALL = "Modal did not accept the call."

TABLE: dict[str, tuple[type[ProviderError], str]] = {
    "modal.AuthError": (CredentialsRejected, _REFUSED),
    "modal.PermissionDeniedError": (CredentialsRejected, "The Modal token may not use the backend."),
    "modal.NotFoundError": (TargetUnavailable, _DEPLOY),
    "modal.VersionError": (TargetUnavailable, _OLD),
    "modal.UnimplementedError": (TargetUnavailable, _OLD),
    "modal.ResourceExhaustedError": (RateLimited, "Modal has too many requests of ours."),
    "modal.RequestSizeError": (RequestRejected, "The request is too large for Modal."),
    "modal.InvalidError": (ProviderFailed, _CALL),
    "modal.AlreadyExistsError": (ProviderFailed, _CALL),
    # The end of a call.
    "modal.OutputExpiredError": (JobLost, "Modal no longer has the result. Send the request again."),
    "modal.FunctionTimeoutError": (
        ProviderTimeout,
        "The job ran into the time limit of its GPU tier (DIFFUSERS_<TIER>_TIMEOUT).",
    ),
    "modal.InternalFailure": (ProviderFailed, "Modal lost the GPU container, and gave the job up."),
    "modal.RemoteError": (
        ProviderFailed,
        "The GPU container ended while the job ran. Nothing was charged; send the request again.",
    ),
    "modal.ExecutionError": (ProviderFailed, "The GPU backend failed."),
    "modal.DeserializationError": (ProviderFailed, "The GPU backend's answer cannot be read."),
    # Transport.
    "modal.ServiceError": (ProviderUnavailable, _AWAY),
    "modal.ConnectionError": (ProviderUnavailable, _AWAY),
    "modal.InternalError": (ProviderUnavailable, _AWAY),
    "modal.DataLossError": (ProviderUnavailable, _AWAY),
    "modal.TimeoutError": (ProviderUnavailable, _AWAY),
    "modal.ClientClosed": (ProviderUnavailable, _AWAY),
    "grpclib.StreamTerminatedError": (ProviderUnavailable, _AWAY),
    "aiohttp.ClientError": (ProviderUnavailable, "Modal's store for large data cannot be reached."),
    "builtins.OSError": (ProviderUnavailable, _AWAY),
}

# Of a spawn, what comes from uploading large arguments: the call itself is sent after that.
_BEFORE_SENDING = {"aiohttp.ClientError", "modal.ExecutionError"}
# Not what the call came to, but that its result could not be fetched from the blob store.
_FETCH_FAILED = "Get from url failed"


def kinds(error: BaseException) -> Iterator[str]:
    """The names of an exception's classes, nearest first: `package.Class`."""
    for cls in type(error).__mro__:
        yield f"{cls.__module__.split('.')[0]}.{cls.__name__}"


def asking(error: Exception, provider: str) -> ProviderError:
    """A question that was not answered; it may be put again."""
    found, message = _look_up(error) or (ProviderUnavailable, _AWAY)
    return found(message, provider=provider, raw=repr(error)[:500])


def submitting(error: Exception, provider: str) -> ProviderError:
    """A spawn that failed. What Modal refused was not taken; what got no answer may have been."""
    if _BEFORE_SENDING & set(kinds(error)):
        return ProviderUnavailable(
            "Modal's store for large data cannot be reached.", provider=provider, raw=repr(error)[:500]
        )
    found, message = _look_up(error) or (SubmitUnknown, "")
    if found in (SubmitUnknown, ProviderUnavailable):
        return SubmitUnknown(
            "Modal was sent the job and gave no answer.", provider=provider, raw=repr(error)[:500]
        )
    return found(message, provider=provider, raw=repr(error)[:500])


def is_unknown_call(error: Exception) -> bool:
    """Whether Modal does not know the call at all."""
    return "modal.NotFoundError" in kinds(error)


def ended(error: Exception, *, canceled: bool) -> ErrorRecord | None:
    """What a call came to that ended by an exception; None when it was only not answered.

    Args:
        error: of `FunctionCall.get`. Modal raises what the container raised as itself.
        canceled: whether we asked for its end.
    """
    if is_unknown_call(error):
        return ErrorRecord(code="unknown_job", message="Modal does not know the call.")
    if "modal.RemoteError" in kinds(error):
        text = str(error).strip()
        # A container that was told to stop says nothing; one that died has an exit code.
        if canceled or not text or "cancel" in text.lower():
            return ErrorRecord(code="canceled", message="The job was canceled.")
    if "modal.ExecutionError" in kinds(error) and _FETCH_FAILED in str(error):
        return None
    found, message = _look_up(error) or (ProviderFailed, f"The GPU backend failed: {type(error).__name__}.")
    if found is JobLost:
        return ErrorRecord(code="unknown_job", message=message)
    if found is ProviderTimeout:
        return ErrorRecord(code="timeout", message=message)
    if found is ProviderFailed:
        return ErrorRecord(code="engine_failed", message=message)
    return None


def _look_up(error: BaseException) -> tuple[type[ProviderError], str] | None:
    return next((TABLE[kind] for kind in kinds(error) if kind in TABLE), None)
