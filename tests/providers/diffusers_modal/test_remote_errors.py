"""When Modal refuses, is away or loses an answer, we know what was taken and what was not."""

import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator

import modal.exception
import msgspec
import pytest
from grpclib import Status
from support.engines import job
from support.modal_control_plane import TOKEN, ControlPlane

from providers.diffusers_modal import modal_errors
from providers.diffusers_modal.remote import ModalBackend
from providers.diffusers_modal.wire import ErrorRecord, Queued
from providers.errors import (
    CredentialsRejected,
    JobLost,
    ProviderError,
    ProviderFailed,
    ProviderUnavailable,
    RateLimited,
    SubmitUnknown,
    TargetUnavailable,
)

pytestmark = pytest.mark.slow


@pytest.fixture
def plane(shared) -> Iterator[ControlPlane]:
    """Its containers take so long to start that none ever does: nothing here runs a job."""
    shared.slow_start(3600)
    yield shared
    shared.heal()
    shared.set_token(TOKEN)
    assert shared.violations == []


@pytest.fixture
async def backend(plane) -> AsyncIterator[ModalBackend]:
    backend = ModalBackend(plane.env, provider="diffusers", connect_s=1.0, ask_s=3.0, transfer_s=1.0)
    yield backend
    await backend.aclose()


async def refused(plane: ControlPlane, backend: ModalBackend, kind: type[ProviderError]) -> ProviderError:
    """A submit that ends so, and makes no call."""
    before = len(plane.calls)
    with pytest.raises(ProviderError) as caught:
        await backend.submit("A10G", job())
    assert type(caught.value) is kind, caught.value.raw
    assert len(plane.calls) == before
    assert caught.value.provider == "diffusers"
    return caught.value


async def test_a_wrong_token_is_the_operators_fault(plane, backend):
    plane.set_token(("ak-other", "as-other"))
    error = await refused(plane, backend, CredentialsRejected)
    assert "MODAL_TOKEN_ID" in error.message
    assert TOKEN[1] not in error.message + error.raw
    with pytest.raises(CredentialsRejected):
        await backend.poll("A10G", "fc-1", "")
    with pytest.raises(CredentialsRejected):
        await backend.cancel("fc-1")
    assert plane.count["FunctionMap"] == 0


@pytest.mark.parametrize("secret", ["", " ", "as-\u00e9", "as-1\nx"])
async def test_a_token_that_cannot_be_one_is_not_sent(plane, secret):
    backend = ModalBackend(plane.env | {"MODAL_TOKEN_SECRET": secret}, provider="diffusers")
    before = plane.count.total()
    error = await refused(plane, backend, CredentialsRejected)
    assert "MODAL_TOKEN_SECRET" in error.message
    assert plane.count.total() == before


async def test_a_backend_that_was_never_deployed_says_how_to_deploy_it(tmp_path):
    with ControlPlane(tmp_path) as plane:
        backend = ModalBackend(plane.env, provider="diffusers")
        error = await refused(plane, backend, TargetUnavailable)
        assert "gateway backend deploy" in error.message
        with pytest.raises(TargetUnavailable):
            await backend.stats("L40S")
        await backend.aclose()
        assert plane.violations == []


async def test_a_passing_failure_is_absorbed_and_one_call_is_made(plane, backend):
    before = len(plane.calls), plane.count["FunctionMap"]
    plane.fail("FunctionMap", Status.UNAVAILABLE, 2)
    await backend.submit("A10G", job())
    assert (len(plane.calls) - before[0], plane.count["FunctionMap"] - before[1]) == (1, 3)


async def test_a_lost_answer_makes_no_second_call(plane, backend):
    before = len(plane.calls)
    plane.fail("FunctionMap", Status.UNAVAILABLE, 2, after=True)
    call_id = await backend.submit("A10G", job())
    assert [call.id for call in plane.calls[before:]] == [call_id]


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(
    "status", [Status.UNAVAILABLE, Status.DEADLINE_EXCEEDED, Status.INTERNAL, Status.UNKNOWN]
)
async def test_a_submit_without_an_answer_may_have_been_taken(plane, backend, status, after):
    before = len(plane.calls)
    plane.fail("FunctionMap", status, 20, after=after)
    with pytest.raises(SubmitUnknown):
        await backend.submit("A10G", job())
    assert len(plane.calls) - before == after


async def test_a_submit_that_takes_too_long_may_have_been_taken(plane, backend):
    await backend.stats("A10G")
    plane.slow("FunctionMap", 3600)
    started = time.monotonic()
    with pytest.raises(SubmitUnknown):
        await backend.submit("A10G", job())
    assert time.monotonic() - started < 30


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (Status.RESOURCE_EXHAUSTED, RateLimited),
        (Status.UNAUTHENTICATED, CredentialsRejected),
        (Status.PERMISSION_DENIED, CredentialsRejected),
        (Status.NOT_FOUND, TargetUnavailable),
        (Status.INVALID_ARGUMENT, ProviderFailed),
        (Status.FAILED_PRECONDITION, ProviderFailed),
        (Status.UNIMPLEMENTED, TargetUnavailable),
    ],
)
async def test_a_submit_that_modal_refused_was_not_taken(plane, backend, status, kind):
    await backend.stats("A10G")
    plane.fail("FunctionMap", status)
    await refused(plane, backend, kind)


async def test_what_fails_before_the_call_is_sent_was_not_taken(plane, backend):
    plane.fail("FunctionGet", Status.UNAVAILABLE, 20)
    await refused(plane, backend, ProviderUnavailable)


async def test_a_blob_store_that_fails_was_never_the_call(plane, backend):
    large = msgspec.structs.replace(job(), images={"image": bytes(100_000)})
    before = plane.count["FunctionMap"]
    plane.fail("PUT blob", Status.UNAVAILABLE, 20)
    with pytest.raises(ProviderUnavailable):
        await backend.submit("A10G", large)
    assert plane.count["FunctionMap"] == before


async def test_an_app_that_was_deployed_anew_is_looked_up_anew(plane, backend):
    await backend.submit("A10G", job())
    before = plane.count["FunctionGet"]
    plane.fail("FunctionMap", Status.NOT_FOUND)
    await refused(plane, backend, TargetUnavailable)
    await backend.submit("A10G", job())
    assert plane.count["FunctionGet"] - before == 1


async def test_a_connection_that_is_gone_is_found_out_before_anything_is_sent(plane, backend):
    call_id = await backend.submit("A10G", job())
    backend._connection._heard -= 3600
    plane.go_away()
    try:
        await refused(plane, backend, ProviderUnavailable)
        with pytest.raises(ProviderUnavailable):
            await backend.poll("A10G", call_id, "job")
        with pytest.raises(ProviderUnavailable):
            await backend.cancel(call_id)
    finally:
        plane.come_back()
    # The call went on without us, and the same backend finds it again.
    assert isinstance(await backend.poll("A10G", call_id, "job"), Queued)
    await backend.submit("A10G", job())


async def test_nobody_at_the_address_is_known_within_the_time_to_connect():
    env = {"MODAL_SERVER_URL": "http://127.0.0.1:1", "MODAL_TOKEN_ID": "ak-1", "MODAL_TOKEN_SECRET": "as-1"}
    backend = ModalBackend(env, provider="diffusers", connect_s=0.5)
    started = time.monotonic()
    with pytest.raises(ProviderUnavailable):
        await backend.submit("A10G", job())
    with pytest.raises(ProviderUnavailable):
        await backend.poll("A10G", "fc-1", "")
    assert time.monotonic() - started < 20
    await backend.aclose()


async def test_a_poll_that_gets_no_answer_says_nothing_about_the_job(plane, backend):
    call_id = await backend.submit("A10G", job())
    plane.fail("FunctionGetOutputs", Status.UNAVAILABLE, 20)
    with pytest.raises(ProviderUnavailable):
        await backend.poll("A10G", call_id, "job")
    plane.heal()
    plane.slow_start(3600)
    plane.slow("FunctionGetOutputs", 3600)
    with pytest.raises(ProviderUnavailable):
        await backend.poll("A10G", call_id, "job")
    plane.slow("FunctionGetOutputs", 0)
    assert isinstance(await backend.poll("A10G", call_id, "job"), Queued)


async def test_progress_that_cannot_be_read_is_no_failure(plane, backend, caplog):
    call_id = await backend.submit("A10G", job())
    plane.fail("DictGetOrCreate", Status.PERMISSION_DENIED)
    plane.fail("FunctionGetCurrentStats", Status.PERMISSION_DENIED)
    assert await backend.poll("A10G", call_id, "job") == Queued(position=0)
    assert "the progress of job could not be read" in caplog.text


async def test_progress_is_asked_for_once_a_second_at_most(plane, backend):
    call_id = await backend.submit("A10G", job())
    before = plane.count.copy()
    started = time.monotonic()
    for _ in range(50):
        await backend.poll("A10G", call_id, "job")
    seconds = time.monotonic() - started
    assert plane.count["FunctionGetOutputs"] - before["FunctionGetOutputs"] == 50
    assert plane.count["DictGet"] - before["DictGet"] <= 1 + seconds
    assert plane.count["FunctionGetCurrentStats"] - before["FunctionGetCurrentStats"] <= 1 + seconds


async def test_a_result_that_modal_let_go_of_is_a_lost_job(plane, backend):
    call_id = await backend.submit("A10G", job())
    plane.expire(call_id)
    answer = await backend.poll("A10G", call_id, "job")
    assert isinstance(answer, ErrorRecord)
    assert answer.code == "unknown_job"
    assert (await backend.poll("A10G", "fc-never", "job")).code == "unknown_job"


async def test_after_a_close_the_next_question_opens_another_connection(plane, backend):
    await backend.aclose()
    await backend.aclose()
    assert (await backend.stats("A10G")).running == 0


def test_modals_own_file_is_neither_read_nor_needed(plane, tmp_path):
    """A broken one, and one for another account, change nothing; nor does the process's environment."""
    code = """
import asyncio, json, os, sys
from providers.diffusers_modal.remote import ModalBackend

assert "modal" not in sys.modules
backend = ModalBackend(json.loads(sys.argv[1]))

async def main():
    print(await backend.stats("A10G"))
    await backend.aclose()

asyncio.run(main())
assert os.environ.get("MODAL_CONFIG_PATH") is None
"""
    env = {name: value for name, value in plane.env.items() if name != "MODAL_CONFIG_PATH"}
    rest = {key: value for key, value in os.environ.items() if not key.startswith("MODAL_")}
    for text in ("not [ toml", "[a]\ntoken_id = 'ak-2'\nactive = true\n[b]\nactive = true\n"):
        (tmp_path / ".modal.toml").write_text(text)
        done = subprocess.run(
            [sys.executable, "-c", code, msgspec.json.encode(env).decode()],
            env=rest | {"HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert "TierStats(" in done.stdout


async def test_every_name_in_the_table_is_an_exception_of_modals():
    names = [name.split(".")[1] for name in modal_errors.TABLE if name.startswith("modal.")]
    for name in names:
        assert issubclass(getattr(modal.exception, name), BaseException)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (modal.exception.RemoteError(""), "canceled"),
        (modal.exception.RemoteError("Input was cancelled by user"), "canceled"),
        (modal.exception.RemoteError("Container exited with code 137"), "engine_failed"),
        (modal.exception.InternalFailure("lost"), "engine_failed"),
        (modal.exception.FunctionTimeoutError("1800 s"), "timeout"),
        (modal.exception.OutputExpiredError(), "unknown_job"),
        (modal.exception.NotFoundError("fc-1"), "unknown_job"),
        (modal.exception.ExecutionError("Could not deserialize remote exception"), "engine_failed"),
        (RuntimeError("The engine cannot start"), "engine_failed"),
        (modal.exception.ExecutionError("Get from url failed with status 500"), None),
        (modal.exception.ServiceError("away"), None),
        (modal.exception.ConnectionError("away"), None),
        (modal.exception.AuthError("token"), None),
        (OSError("away"), None),
    ],
)
def test_what_a_call_came_to(error, code):
    record = modal_errors.ended(error, canceled=False)
    assert (record.code if record else None) == code


def test_a_container_that_dies_after_our_cancel_is_canceled():
    error = modal.exception.RemoteError("Container exited with code -9")
    assert modal_errors.ended(error, canceled=True).code == "canceled"


def test_a_lost_job_is_known_by_its_class_too():
    assert type(modal_errors.asking(modal.exception.OutputExpiredError(), "x")) is JobLost
