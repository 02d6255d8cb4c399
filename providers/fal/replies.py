"""What an error reply of fal's says, in whichever of its shapes. Pure.

{"detail": [{"loc": ["body", "prompt"], "msg": "...", "type": "content_policy_violation"}]}
{"detail": "...", "error_type": "runner_connection_refused"}       + X-Fal-Error-Type
{"detail": "..."}, {"detail": {...}}, {"status": "NOT_FOUND"}, or no JSON at all
"""

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import msgspec
from msgspec import Struct

__all__ = ["Said", "read_reply", "retry_after_s"]

MOST_RETRY_AFTER_S = 300.0
MOST_TEXT = 300
MOST_FIELDS = 8


class Said(Struct, frozen=True, kw_only=True):
    """An error reply, read."""

    status: int
    """The HTTP status."""
    text: str = ""
    """fal's words, at most 300 characters; never what the caller had sent."""
    error_type: str | None = None
    fields: tuple[str, ...] = ()
    """The parameters that it is about, by the endpoint's own names."""
    retryable: bool | None = None
    """X-Fal-Retryable: whether the same request may succeed later; None when not said."""
    retry_after: float | None = None
    """Seconds."""
    from_fal: bool = False
    """fal's own application wrote the reply, not a proxy before it: it has a request id."""
    is_json: bool = False

    @property
    def raw(self) -> str:
        """For the log."""
        return f"HTTP {self.status} {self.error_type or '-'}: {self.text}"


def read_reply(response: httpx.Response, secret: str = "") -> Said:
    """Read an error reply.

    Args:
        response: read to its end.
        secret: struck out of the text, should the reply repeat it.
    """
    body = _json(response.content)
    details = _details(body)
    headers = response.headers
    error_type = headers.get("x-fal-error-type")
    if isinstance(body, dict) and isinstance(body.get("error_type"), str):
        error_type = body["error_type"]
    error_type = next((d["type"] for d in details if isinstance(d.get("type"), str)), error_type)
    text = _text(body, details) if body is not None else _visible(response)
    return Said(
        status=response.status_code,
        text=_struck(text, secret)[:MOST_TEXT],
        error_type=_struck(error_type, secret)[:80] if error_type else None,
        fields=tuple(_struck(_field(d), secret) for d in details[:MOST_FIELDS] if _field(d)),
        retryable={"true": True, "false": False}.get(headers.get("x-fal-retryable", "").lower()),
        retry_after=retry_after_s(headers),
        from_fal="x-fal-request-id" in headers,
        is_json=body is not None,
    )


def retry_after_s(headers: httpx.Headers) -> float | None:
    """Retry-After in seconds, 0 to 300, from a number or a date; None when there is none to read."""
    text = headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d{1,9}", text):
        return min(float(text), MOST_RETRY_AFTER_S)
    then = _date(text)
    if then is None:
        return None
    # The server's own clock where it shows one: ours may be off.
    now = _date(headers.get("date", "")) or datetime.now(UTC)
    return min(max(0.0, (then - now).total_seconds()), MOST_RETRY_AFTER_S)


def _date(text: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(text)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _json(content: bytes) -> Any:
    try:
        return msgspec.json.decode(content)
    except (msgspec.DecodeError, RecursionError):
        return None


def _details(body: Any) -> list[dict[str, Any]]:
    detail = body.get("detail") if isinstance(body, dict) else None
    found = detail if isinstance(detail, list) else [detail]
    return [item for item in found if isinstance(item, dict)]


def _text(body: Any, details: list[dict[str, Any]]) -> str:
    said = [str(d.get("msg") or d.get("message") or d.get("type") or "") for d in details]
    if not any(said) and isinstance(body, dict):
        said = [body[name] for name in ("detail", "error", "message", "status") if _is_text(body.get(name))][
            :1
        ]
    return "; ".join(part for part in said if part)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def _field(detail: dict[str, Any]) -> str:
    """`["body", "image_size", "width"]` is `image_size.width`."""
    where = detail.get("loc")
    if not isinstance(where, list):
        return ""
    parts = [str(part)[:80] for part in where if part is not None]
    return ".".join(parts[1:] if parts[:1] == ["body"] else parts)


def _visible(response: httpx.Response) -> str:
    return " ".join(response.content[:4000].decode("utf-8", "replace").split())


def _struck(text: str, secret: str) -> str:
    return text.replace(secret, "[key]") if secret else text
