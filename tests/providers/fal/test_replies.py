"""Every shape of an error body."""

import httpx
import pytest

from providers.fal.replies import Said, read_reply, retry_after_s

DATE = "Sat, 21 Nov 2026 03:00:00 GMT"


def said(
    body: object = None, status: int = 422, text: str | None = None, secret: str = "", **headers: str
) -> Said:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if text is not None:
        return read_reply(httpx.Response(status, text=text, headers=named), secret)
    return read_reply(httpx.Response(status, json=body, headers=named), secret)


def test_a_models_list():
    found = said(
        {
            "detail": [
                {
                    "loc": ["body", "image_size", "width"],
                    "msg": "too big",
                    "type": "less_than_equal",
                    "input": "mine",
                },
                {"loc": ["body", "loras", 0, "path"], "msg": "no file", "type": "file_download_error"},
            ]
        },
        X_Fal_Retryable="False",
    )
    assert (found.error_type, found.text) == ("less_than_equal", "too big; no file")
    assert found.fields == ("image_size.width", "loras.0.path")
    assert found.retryable is False
    assert "mine" not in found.raw


def test_a_flat_one():
    found = said({"detail": "gone", "error_type": "runner_disconnected"}, 503)
    assert (found.text, found.error_type, found.retryable, found.from_fal) == (
        "gone",
        "runner_disconnected",
        None,
        False,
    )


def test_the_type_in_a_header():
    found = said({"detail": "gone"}, 503, X_Fal_Error_Type="internal_error", x_fal_request_id="r")
    assert (found.error_type, found.from_fal) == ("internal_error", True)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"detail": {"msg": "one", "type": "missing"}}, "one"),
        ({"detail": {"input": "mine"}}, ""),
        ({"status": "NOT_FOUND"}, "NOT_FOUND"),
        ({"error": "so"}, "so"),
        ({"detail": None}, ""),
        ({"detail": [1, None, "x"]}, ""),
        ({"detail": [{"loc": "prompt", "msg": 5, "type": 7}]}, "5"),
        ([1], ""),
        (7, ""),
        ({}, ""),
    ],
)
def test_other_shapes(body, text):
    assert said(body).text == text


@pytest.mark.parametrize("text", ["<html>\n <b>nginx</b></html>", "", "{", "[" * 100_000, "\x00"])
def test_no_json(text):
    found = said(text=text, status=502)
    assert (found.is_json, found.error_type) == (False, None)
    assert len(found.text) <= 300


def test_the_key_is_struck_out():
    found = said({"detail": [{"loc": ["body", "a:b"], "msg": "a:b is bad", "type": "a:b"}]}, secret="a:b")
    assert "a:b" not in f"{found}"


def test_a_long_text_is_cut():
    assert len(said({"detail": "x" * 10_000}).raw) < 400


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7),
        ({"Retry-After": "0"}, 0),
        ({"Retry-After": "99999"}, 300),
        ({"Retry-After": "Sat, 21 Nov 2026 03:00:30 GMT", "Date": DATE}, 30),
        ({"Retry-After": "Sat, 21 Nov 2026 02:00:00 GMT", "Date": DATE}, 0),
        ({"Retry-After": "Sun, 22 Nov 2099 02:00:00 GMT"}, 300),
        ({"Retry-After": "Sat, 21 Nov 2026 03:00:30 -0000", "Date": DATE}, 30),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "-5"}, None),
        ({"Retry-After": "1.5"}, None),
        ({"Retry-After": "Sat, 99 Nov 2026 99:00:00 GMT"}, None),
        ({}, None),
    ],
)
def test_how_long_to_wait(headers, seconds):
    assert retry_after_s(httpx.Headers(headers)) == seconds
