"""What can go wrong at the loopback fal, by name."""

from typing import Any, NamedTuple

from support.loopback_fal_http import Reply, answer

WIRE = {
    "reset": "reset",
    "lost": "none",
    "half": "half",
    "silent": "silent",
    "reset_before_body": "reset",
    "close_before_body": "none",
}
"""Faults of the socket. The two before the body happen although nothing was read of it."""

RETRY_AFTER_S = 3
"""Longer than the runner waits of its own accord."""
NGINX = b"<html><head><title>%d</title></head><body><center>nginx</center></body></html>"


def said(status: int, text: str, *, error_type: str | None = None, **headers: str) -> Reply:
    """A flat error body, with its type in the body and in the header."""
    if error_type is None:
        return answer(status, {"detail": text}, **headers)
    body = {"detail": text, "error_type": error_type}
    return answer(status, body, X_Fal_Error_Type=error_type, x_fal_request_id="r", **headers)


def model_error(status: int, kind: str, message: str, retryable: str = "", field: str = "prompt") -> Reply:
    """An error body of a model: a list."""
    detail = [{"loc": ["body", field], "msg": message, "type": kind, "input": "what was sent"}]
    headers = {"X_Fal_Retryable": retryable} if retryable else {}
    return answer(status, {"detail": detail}, x_fal_request_id="r", **headers)


def nginx(status: int, **headers: str) -> Reply:
    """A reply of the proxy in front of fal."""
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Reply(status, NGINX % status, named, "text/html")


FAULTS: dict[str, Reply] = {
    "401": said(401, "Invalid API key"),
    "403": said(403, "Forbidden"),
    "403_balance": said(403, "User is locked. Reason: Exhausted balance. Top up your balance."),
    "404": said(404, "Application not found"),
    "422": model_error(422, "less_than_equal", "Input should be at most 4", "false", "num_images"),
    "422_flat": said(422, "Unprocessable"),
    "422_policy": model_error(422, "content_policy_violation", "flagged", "false"),
    "422_policy_text": said(422, "Rejected by the content policy"),
    "429": said(429, "Too many", error_type="concurrent_requests_limit", Retry_After=str(RETRY_AFTER_S)),
    "500": said(500, "Internal Server Error"),
    "500_fal": said(500, "Internal error", error_type="internal_error"),
    "502": nginx(502),
    "503": nginx(503),
    "503_retry_after": nginx(503, Retry_After=str(RETRY_AFTER_S)),
    "503_scheduling": said(503, "No runner", error_type="runner_scheduling_failure"),
    "503_disconnected": said(503, "Runner gone", error_type="runner_disconnected"),
    "504": nginx(504),
    "504_request_timeout": said(504, "Request timed out", error_type="request_timeout"),
    "html": Reply(200, NGINX % 200, {}, "text/html"),
    "empty_object": answer(200, {}),
    "redirect": Reply(302, b"", {"Location": "http://127.0.0.1:1/"}),
    "not_ready": said(400, "Request is still in progress"),
    "410": said(410, "Gone"),
}


class _Ending(NamedTuple):
    status: dict[str, str] = {}
    """Added to the COMPLETED status."""
    result: Reply | dict[str, Any] | None = None
    """In place of the result, or laid over its body."""


_PLAIN = _Ending()

JobFault: dict[str | None, _Ending] = {
    "stuck": _PLAIN,  # IN_QUEUE at position 0 for ever
    "endless": _PLAIN,  # IN_PROGRESS for ever
    "error": _Ending(
        {"error": "Runner gone", "error_type": "runner_server_error"},
        said(500, "Runner gone", error_type="runner_server_error"),
    ),
    "error_in_status_alone": _Ending({"error": "Runner gone", "error_type": "runner_server_error"}),
    "error_result_gone": _Ending(
        {"error": "Runner gone", "error_type": "runner_server_error"}, said(404, "Request not found")
    ),
    "error_result_away": _Ending({"error": "Runner gone", "error_type": "runner_server_error"}, nginx(502)),
    "start_timeout": _Ending(
        {"error": "Not started in time", "error_type": "request_timeout"},
        said(504, "Not started in time", error_type="request_timeout"),
    ),
    "bad_request": _Ending({}, model_error(422, "image_too_small", "Too small", "false", "image_url")),
    "policy": _Ending({"error": "Invalid status code: 422"}, FAULTS["422_policy"]),
    "policy_flat": _Ending({}, FAULTS["422_policy_text"]),
    "nsfw": _Ending({}, {"has_nsfw_concepts": [True]}),
    "model_500": _Ending({}, model_error(500, "internal_server_error", "It broke", "true")),
    "model_500_permanent": _Ending({}, model_error(500, "no_media_generated", "Nothing", "false")),
    "model_504": _Ending({}, model_error(504, "generation_timeout", "Too slow", "true")),
    "expired": _Ending({}, said(404, "Request not found")),
    "expired_410": _Ending({}, FAULTS["410"]),
    "no_images": _Ending({}, {"images": [], "image": None}),
    "null_images": _Ending({}, {"images": None, "image": None}),
    "null_image": _Ending({}, {"images": [None]}),
    "file_url": _Ending({}, {"images": [{"url": "file:///etc/passwd"}]}),
    "result_html": _Ending({}, FAULTS["html"]),
    "image_html": _PLAIN,
    "image_truncated": _PLAIN,
    "image_other_size": _PLAIN,
    "image_svg": _PLAIN,
    "image_bomb": _PLAIN,
    "image_empty": _PLAIN,
}
