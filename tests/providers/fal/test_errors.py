"""The table of classes; the same over sockets is in test_queue.py."""

import pytest

from providers.errors import (
    ContentRejected,
    JobCanceled,
    JobLost,
    MalformedOutput,
    OutputFetchFailed,
    ProviderFailed,
    ProviderQuota,
    ProviderTimeout,
    ProviderUnavailable,
    RequestRejected,
    SubmitUnknown,
)
from providers.fal.errors import NEVER_BEGUN, TRANSIENT, of_result, of_run, of_status, of_submit, of_upload
from providers.fal.replies import Said


def said(status: int, error_type: str | None = None, text: str = "so", **other: object) -> Said:
    return Said(status=status, error_type=error_type, text=text, is_json=True, **other)  # type: ignore[arg-type] - Said's own names


@pytest.mark.parametrize("error_type", sorted(TRANSIENT | {None}, key=str))
@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_5xx_at_submit_is_unknown_unless_no_runner_had_it(status, error_type):
    found = of_submit(said(status, error_type), "fal")
    assert type(found) is (ProviderUnavailable if error_type in NEVER_BEGUN else SubmitUnknown)


@pytest.mark.parametrize(
    ("error_type", "error"),
    [
        ("startup_timeout", ProviderUnavailable),
        ("runner_scheduling_failure", ProviderUnavailable),
        ("runner_connection_refused", ProviderUnavailable),
        # The limit of an attempt that runs: fal ends the runner when it is reached.
        ("request_timeout", SubmitUnknown),
        ("runner_connection_timeout", SubmitUnknown),
        ("runner_connection_error", SubmitUnknown),
        ("internal_error", SubmitUnknown),
        ("a_type_of_tomorrow", SubmitUnknown),
    ],
)
def test_which_types_prove_that_no_runner_had_it(error_type, error):
    found = of_submit(said(504, error_type), "fal")
    assert type(found) is error
    assert found.retry_same is (error is ProviderUnavailable)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (301, MalformedOutput),
        (302, MalformedOutput),
        (307, MalformedOutput),
        (308, MalformedOutput),
        # "See the result there": said after the request was acted on.
        (303, SubmitUnknown),
        (300, SubmitUnknown),
        (304, SubmitUnknown),
    ],
)
def test_a_redirect_that_sends_the_request_elsewhere_took_nothing(status, error):
    found = of_submit(Said(status=status), "fal")
    assert type(found) is error
    assert "FAL_QUEUE_URL" in found.message
    assert not found.retry_same


@pytest.mark.parametrize(
    ("given", "error"),
    [
        (said(503, retry_after=1.0), ProviderUnavailable),
        (said(503, retry_after=1.0, from_fal=True), SubmitUnknown),
        (said(503, "runner_disconnected", retry_after=1.0), SubmitUnknown),
        (said(500, retry_after=1.0), SubmitUnknown),
        (said(408), SubmitUnknown),
        (said(499, "client_disconnected"), SubmitUnknown),
        (said(402), ProviderQuota),
        (said(400), RequestRejected),
        (said(409), RequestRejected),
    ],
)
def test_the_edges_of_a_submit(given, error):
    assert type(of_submit(given, "fal")) is error


@pytest.mark.parametrize(
    ("given", "error"),
    [
        (said(422, "content_policy_violation"), ContentRejected),
        (said(500, "content_policy_violation"), ContentRejected),
        (
            said(422, "image_too_small", "the content policy"),
            RequestRejected,
        ),  # the type goes before the text
        (said(422, None, "flagged as NSFW"), ContentRejected),
        (said(422, "image_load_error"), RequestRejected),
        (said(422, "image_load_error", retryable=True), ProviderFailed),  # the header goes before the type
        (said(500, "internal_server_error", retryable=False), RequestRejected),
        (said(500, "internal_server_error"), ProviderFailed),
        (said(500, None), ProviderFailed),
        (said(504, "request_timeout"), ProviderTimeout),
        (said(504, "startup_timeout"), ProviderFailed),
        (said(499, "client_cancelled"), JobCanceled),
    ],
)
def test_how_a_run_ended(given, error):
    found = of_run(given, "fal")
    assert type(found) is error
    assert not found.retry_same


@pytest.mark.parametrize(
    ("given", "error"),
    [
        (said(404), OutputFetchFailed),
        (said(410), OutputFetchFailed),
        (said(500), ProviderUnavailable),
        (said(500, from_fal=True), ProviderFailed),
        (said(503, "runner_disconnected"), ProviderFailed),
        (said(401), ProviderUnavailable),
        (said(429, "concurrent_requests_limit"), ProviderUnavailable),
        (said(422), RequestRejected),
    ],
)
def test_a_result(given, error):
    assert type(of_result(given, "fal")) is error


def test_a_404_of_a_proxy_loses_no_job():
    assert type(of_status(Said(status=404), "fal")) is ProviderUnavailable
    assert type(of_status(said(404), "fal")) is JobLost


@pytest.mark.parametrize("status", [300, 404, 408, 429, 500, 503])
def test_an_upload_never_is_an_unknown_submit(status):
    assert type(of_upload(said(status, retry_after=3.0), "fal")) is ProviderUnavailable


def test_words_of_a_proxy_are_for_the_log():
    found = of_submit(Said(status=422, text="<html>"), "fal")
    assert "<html>" not in found.message
    assert "<html>" in found.raw
