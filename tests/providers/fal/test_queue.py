"""Every fault that money can hang on: the class we act on, and one invoice at most."""

import asyncio
from typing import NamedTuple

import pytest
from support.loopback_fal_client import ROUTES, SHORT, call, provider_of
from support.loopback_fal_faults import RETRY_AFTER_S

from providers.base import Failed, Handle, ImageUrl, Poll, Running, Succeeded, Waiting
from providers.conformance import finish
from providers.errors import (
    ContentRejected,
    CredentialsRejected,
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
from providers.fal.provider import FalProvider

MANY = 64


def patience_s(kind: str) -> float:
    """Short where the fault ends with it."""
    return 1.5 if kind == "silent" else 20.0


class Fault(NamedTuple):
    kind: str
    error: type[ProviderError]
    taken: int
    """Invoices for a submit that met it."""


# What the socket does to a submit. Whether it was taken or not, we cannot know: unknown.
WIRE = [
    Fault("reset_before_body", SubmitUnknown, 0),
    Fault("close_before_body", SubmitUnknown, 0),
    Fault("reset", SubmitUnknown, 1),
    Fault("lost", SubmitUnknown, 1),
    Fault("half", SubmitUnknown, 1),
    Fault("silent", SubmitUnknown, 1),
]
# What fal says. A 5xx may come after the job was queued, and here it does.
SAID = [
    Fault("401", CredentialsRejected, 0),
    Fault("403", CredentialsRejected, 0),
    Fault("403_balance", ProviderQuota, 0),
    Fault("404", TargetUnavailable, 0),
    Fault("410", TargetUnavailable, 0),
    Fault("422", RequestRejected, 0),
    Fault("422_flat", RequestRejected, 0),
    Fault("422_policy", ContentRejected, 0),
    Fault("422_policy_text", ContentRejected, 0),
    Fault("429", RateLimited, 0),
    Fault("redirect", MalformedOutput, 0),
    Fault("500", SubmitUnknown, 1),
    Fault("500_fal", SubmitUnknown, 1),
    Fault("502", SubmitUnknown, 1),
    Fault("503", SubmitUnknown, 1),
    Fault("503_disconnected", SubmitUnknown, 1),
    Fault("504", SubmitUnknown, 1),
    Fault("504_request_timeout", SubmitUnknown, 1),
    # 2xx is an acceptance, whatever follows.
    Fault("html", SubmitUnknown, 0),
    Fault("empty_object", SubmitUnknown, 0),
]
# A 503 that proves that it was not taken.
DECLINED = [Fault("503_retry_after", ProviderUnavailable, 0), Fault("503_scheduling", ProviderUnavailable, 0)]


def named(faults: list[Fault]) -> list[object]:
    return [pytest.param(fault, id=fault.kind) for fault in faults]


async def refused(provider: FalProvider, prompt: str = "a cat") -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        await provider.submit(call(prompt))
    return caught.value


@pytest.mark.parametrize("fault", named(WIRE + SAID))
async def test_a_fault_at_submit(fal, impatient, fault):
    fal.fail("submit", fault.kind)
    error = await refused(impatient(patience_s(fault.kind)))
    assert type(error) is fault.error
    assert (len(fal.jobs), len(fal.seen("POST"))) == (fault.taken, 0 if "before" in fault.kind else 1)


@pytest.mark.parametrize("fault", named(DECLINED))
async def test_a_submit_that_was_declined(fal, provider, fault):
    fal.fail("submit", fault.kind, taken=False)
    error = await refused(provider)
    assert type(error) is fault.error
    assert error.retry_same
    assert fal.jobs == []


@pytest.mark.parametrize("fault", named(WIRE + SAID))
async def test_a_fault_at_submit_with_64_in_flight(fal, impatient, fault):
    fal.fail("submit", fault.kind, times=-1)
    provider = impatient(2 * patience_s(fault.kind))
    errors = await asyncio.gather(*(refused(provider, f"p{n}") for n in range(MANY)))
    assert {type(error) for error in errors} == {fault.error}
    assert [len(fal.invoices(f"p{n}")) for n in range(MANY)] == [fault.taken] * MANY


async def test_64_good_ones_among_lost_ones_are_each_billed_once(fal, provider):
    fal.fail("submit", "lost", times=20)
    answers = await asyncio.gather(
        *(provider.submit(call(f"p{n}")) for n in range(MANY)), return_exceptions=True
    )
    handles = [answer for answer in answers if isinstance(answer, Handle)]
    assert len(handles) == MANY - 20
    ended = await asyncio.gather(*(finish(provider, handle) for handle in handles))
    assert all(isinstance(end, Succeeded) for end in ended)
    assert sorted(job.payload["prompt"] for job in fal.jobs) == sorted(f"p{n}" for n in range(MANY))


async def test_a_refused_connection_took_nothing(fal, provider):
    fal.go_away()
    error = await refused(provider)
    assert type(error) is ProviderUnavailable
    assert error.retry_same
    fal.come_back()
    assert isinstance(await provider.submit(call()), Handle)
    assert len(fal.jobs) == 1


async def test_what_is_no_tls_took_nothing(fal):
    secure = fal.url.replace("http", "https")
    provider = provider_of(fal, SHORT, FAL_QUEUE_URL=secure)
    assert type(await refused(provider)) is ProviderUnavailable
    await provider.aclose()


@pytest.mark.parametrize("kind", ["429", "503_retry_after"])
async def test_a_wait_that_fal_asks_for(fal, provider, kind):
    fal.fail("submit", kind, taken=False)
    assert (await refused(provider)).retry_after == RETRY_AFTER_S


async def test_a_refusal_names_the_field(fal, provider):
    fal.fail("submit", "422")
    error = await refused(provider)
    assert "num_images" in error.message
    assert "at most 4" in error.message


@pytest.mark.parametrize(
    "base",
    [
        "https://evil.example",
        "http://queue.fal.run",
        "https://fal.run.evil.example",
        "https://a@queue.fal.run",
    ],
)
async def test_an_acceptance_that_names_another_host_is_not_followed(fal, provider, base):
    fal.foreign_urls = base
    error = await refused(provider)
    assert type(error) is SubmitUnknown
    assert fal.jobs[0].id in error.raw  # for the operator, who can adopt it
    assert len(fal.requests) == 1


async def test_a_status_url_keeps_its_own_query(fal, provider):
    handle = await provider.submit(call())
    assert isinstance(handle, Handle)
    extra = handle.extra | {"status_url": handle.extra["status_url"] + "?shard=7"}
    await provider.poll(Handle(provider="fal", remote_id=handle.remote_id, extra=extra))
    assert fal.requests[-1].query == {"shard": ["7"], "logs": ["true"]}


async def test_a_stored_handle_that_names_another_host_is_not_followed(fal, provider):
    url = "https://evil.example/requests/1"
    urls = {"status_url": url, "response_url": url, "cancel_url": url}
    ended = await provider.poll(Handle(provider="fal", remote_id="1", extra=urls))
    assert isinstance(ended, Failed)
    assert type(ended.error) is MalformedOutput
    with pytest.raises(MalformedOutput):
        await provider.cancel(Handle(provider="fal", remote_id="1", extra=urls))
    assert fal.requests == []


# -- a look at a job -----------------------------------------------------------------------

AWAY = ["reset_before_body", "reset", "lost", "half", "silent"]
ODD = ["401", "403", "429", "500", "500_fal", "502", "503", "504", "redirect", "html", "empty_object", "422"]


@pytest.mark.parametrize("kind", AWAY + ODD)
async def test_a_look_that_fails_says_nothing_of_the_job(fal, impatient, kind):
    provider = impatient(patience_s(kind))
    handle = await provider.submit(call())
    fal.fail("status", kind)
    with pytest.raises(ProviderUnavailable):
        await provider.poll(handle)
    assert len(fal.seen("GET", "/status")) == (0 if "before" in kind else 1)  # fal-client's ten tries are off
    assert isinstance(await finish(provider, handle), Succeeded)


@pytest.mark.parametrize("kind", [*AWAY, "401", "403", "429", "502", "503", "504", "500"])
async def test_a_result_that_cannot_be_asked_for_is_asked_for_again(fal, impatient, kind):
    provider = impatient(patience_s(kind))
    handle = await provider.submit(call())
    fal.fail("result", kind)
    assert isinstance(await provider.poll(handle), Waiting)
    assert isinstance(await provider.poll(handle), Running)
    with pytest.raises(ProviderUnavailable):
        await provider.poll(handle)
    assert isinstance(await provider.poll(handle), Succeeded)
    assert len(fal.jobs) == 1


async def test_fal_is_away_while_a_job_runs(fal, provider):
    handle = await provider.submit(call())
    fal.go_away()
    with pytest.raises(ProviderUnavailable):
        await provider.poll(handle)
    with pytest.raises(ProviderUnavailable):
        await provider.cancel(handle)
    fal.come_back()
    assert isinstance(await finish(provider, handle), Succeeded)


@pytest.mark.parametrize("kind", ["429", "500", "lost"])
async def test_a_cancel_that_does_not_get_through_says_so(fal, provider, kind):
    handle = await provider.submit(call())
    fal.fail("cancel", kind)
    with pytest.raises(ProviderUnavailable):
        await provider.cancel(handle)
    assert len(fal.seen("PUT")) == 1


async def test_a_job_that_fal_forgot(fal, provider):
    handle = await provider.submit(call())
    fal.jobs.clear()
    ended = await provider.poll(handle)
    assert isinstance(ended, Failed)
    assert type(ended.error) is JobLost


async def test_a_result_that_is_not_ready_after_all(fal, provider):
    handle = await provider.submit(call())
    await provider.poll(handle)
    await provider.poll(handle)
    fal.fail("result", "not_ready")
    assert await provider.poll(handle) == Running()
    assert isinstance(await provider.poll(handle), Succeeded)


async def test_a_job_that_never_leaves_the_queue(fal, provider):
    fal.fail("job", "stuck")
    handle = await provider.submit(call())
    polls: list[Poll] = [await provider.poll(handle) for _ in range(5)]
    assert polls == [Waiting(position=0)] * 5


# -- how a job ends ------------------------------------------------------------------------

ENDINGS = {
    "error": ProviderFailed,
    "error_in_status_alone": ProviderFailed,
    "error_result_gone": ProviderFailed,
    "error_result_away": ProviderFailed,
    "start_timeout": ProviderTimeout,
    "bad_request": RequestRejected,
    "policy": ContentRejected,
    "policy_flat": ContentRejected,
    "nsfw": ContentRejected,
    "model_500": ProviderFailed,
    "model_500_permanent": RequestRejected,
    "model_504": ProviderFailed,
    "expired": OutputFetchFailed,
    "expired_410": OutputFetchFailed,
    "no_images": MalformedOutput,
    "null_images": MalformedOutput,
    "null_image": MalformedOutput,
    "file_url": MalformedOutput,
    "result_html": MalformedOutput,
}


@pytest.mark.parametrize(("kind", "error"), ENDINGS.items(), ids=ENDINGS)
async def test_a_job_that_ends_without_a_picture(fal, provider, kind, error):
    fal.fail("job", kind)
    handle = await provider.submit(call())
    ended = await finish(provider, handle)
    assert isinstance(ended, Failed)
    assert type(ended.error) is error
    assert not ended.error.retry_same  # it was taken: never again on this route
    assert [job.units for job in fal.jobs] == [0]
    again = await provider.poll(handle)
    assert isinstance(again, Failed)
    assert type(again.error) is error


@pytest.mark.parametrize(
    "kind", ["image_html", "image_truncated", "image_other_size", "image_svg", "image_bomb"]
)
async def test_a_broken_picture_is_for_the_gateway_to_find(fal, provider, kind):
    fal.fail("job", kind)
    done = await finish(provider, await provider.submit(call()))
    assert isinstance(done, Succeeded)
    assert isinstance(done.images[0], ImageUrl)


async def test_an_input_that_is_wrong_is_refused_at_the_result(fal, provider):
    ended = await finish(provider, await provider.submit(call(unheard_of=1)))
    assert isinstance(ended, Failed)
    assert type(ended.error) is RequestRejected
    assert "unheard_of" in ended.error.message


@pytest.mark.parametrize("endpoint", sorted(ROUTES))
async def test_the_jobs_urls_have_the_app_alone(fal, provider, endpoint):
    handle = await provider.submit(call(endpoint=endpoint))
    assert isinstance(handle, Handle)
    adopted = provider.handle_for(ROUTES[endpoint], handle.remote_id)
    assert adopted == handle
    await provider.poll(handle)
