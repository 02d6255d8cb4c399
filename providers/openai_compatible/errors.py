"""Which class of ours an answer of an OpenAI-compatible server is. Pure.

| answer | class | because |
|---|---|---|
| 400, 403, 422 about moderation | ContentRejected | by its code: `moderation_blocked` and the like |
| 401, 403 | CredentialsRejected | our key |
| 402, 429 about money | ProviderQuota | by its code: `insufficient_quota`, `billing_hard_limit_reached` |
| 404, 405 | TargetUnavailable | no such model or path |
| 429 | RateLimited | refused, so not made |
| 503 in its own words | ProviderUnavailable | it took nothing |
| 500 in its own words | ProviderFailed | it says that it failed |
| 400, 413, 415, 422 | RequestRejected | it would be refused again |
| every other one | SubmitUnknown | a proxy's: the pictures may have been made, and billed |

"In its own words": JSON with an `error` object, as the API has it.
"""

from typing import Any

import httpx
import msgspec
from msgspec import Struct

from providers.errors import (
    ContentRejected,
    CredentialsRejected,
    ProviderError,
    ProviderFailed,
    ProviderQuota,
    ProviderUnavailable,
    RateLimited,
    RequestRejected,
    SubmitUnknown,
    TargetUnavailable,
)

__all__ = ["of_answer"]

MODERATION = frozenset({"content_policy_violation", "image_generation_user_error", "moderation_blocked"})
MONEY = frozenset({"billing_hard_limit_reached", "billing_not_active", "insufficient_quota"})
SHOWN = 300
MAX_WAIT_S = 3600.0


class _Error(Struct, frozen=True):
    message: str | None = None
    type: str | None = None
    param: str | None = None
    code: str | int | None = None


class _Body(Struct, frozen=True):
    error: _Error | str | None = None


def of_answer(response: httpx.Response, provider: str, key: str) -> ProviderError:
    """The class of an answer that is no success; see the table above.

    Args:
        response: read to its end.
        provider: the registry's name of the provider.
        key: ours, which must not be repeated; empty when there is none.
    """
    error = _read(response)
    code = str(error.code or error.type or "") if error else ""
    said = (error.message if error else None) or response.text
    raw = (said.replace(key, "[key]") if key else said)[:SHOWN]
    kind, message = _kind(response.status_code, code, own=error is not None)
    if kind is RequestRejected:
        message = f"{message} {raw}".strip()
    return kind(message, provider=provider, raw=raw, retry_after=_retry_after(response))


def _kind(status: int, code: str, *, own: bool) -> tuple[type[ProviderError], str]:
    if code in MODERATION and status in (400, 403, 422):
        return ContentRejected, "The provider's moderation refused the prompt or the picture."
    if status == 402 or (code in MONEY and status in (400, 403, 429)):
        return ProviderQuota, "The gateway's account at the provider is out of funds. Nothing was charged."
    if status in (401, 403):
        return CredentialsRejected, "The provider refused the gateway's key. Nothing was charged."
    if status in (404, 405):
        return TargetUnavailable, "The provider has no such model (any more)."
    if status == 429:
        return RateLimited, "The provider takes no more requests at the moment. Nothing was charged."
    if status in (400, 413, 415, 422):
        return RequestRejected, "The provider refused the request:"
    if own and status == 503:
        return ProviderUnavailable, "The provider is overloaded. Nothing was charged."
    if own and status == 500:
        return ProviderFailed, "The provider failed at it, and says so."
    return SubmitUnknown, "The provider's answer did not say whether the pictures were made."


def _read(response: httpx.Response) -> _Error | None:
    try:
        found = msgspec.json.decode(response.content, type=_Body).error
    except (msgspec.DecodeError, RecursionError):
        return None
    return _Error(message=found) if isinstance(found, str) else found


def _retry_after(response: httpx.Response) -> float | None:
    text: Any = response.headers.get("retry-after", "")
    return min(float(text), MAX_WAIT_S) if text.isdecimal() and len(text) < 8 else None
