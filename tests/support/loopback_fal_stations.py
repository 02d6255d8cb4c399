"""Which part of the loopback fal a request is for, and how a wrong input is refused."""

from typing import Any

from support.loopback_fal_http import Reply, answer
from support.loopback_fal_schema import Bad


def station_of(method: str, path: str) -> str:
    if path == "/storage/auth/token":
        return "token"
    if path == "/.well-known/jwks.json":
        return "jwks"
    if path.startswith("/files/"):
        return "file" if method == "GET" else "upload"
    if "/requests/" not in path:
        return "submit"
    last = path.rpartition("/")[2]
    return last if last in ("status", "cancel") else "result"


def refusal(bad: list[Bad], request_id: str) -> Reply:
    return answer(
        422, {"detail": [one.detail() for one in bad]}, x_fal_request_id=request_id, X_Fal_Retryable="false"
    )


def drawn(payload: dict[str, Any]) -> str:
    """The prompt of a result: as it was sent, or as an endpoint that was asked to rewrote it."""
    rewritten = payload.get("enhance_prompt") or payload.get("expand_prompt")
    return f"{payload.get('prompt', '')}{', in great detail' if rewritten else ''}"


def is_vector(endpoint: str, payload: dict[str, Any]) -> bool:
    """Whether an endpoint answers SVG."""
    return endpoint.endswith("/text-to-vector") or str(payload.get("style", "")).startswith("vector_")
