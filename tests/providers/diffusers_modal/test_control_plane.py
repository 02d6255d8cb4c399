"""Our own Modal is at least as strict as the real one, so that what passes here means something."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import modal
import pytest
from grpclib import Status
from modal_proto import api_pb2
from support.modal_backend import A10G, deployed
from support.modal_control_plane import TOKEN, ControlPlane

from providers.diffusers_modal.deployment import APP_NAME


@pytest.fixture
def plane(shared) -> Iterator[ControlPlane]:
    """Runs nothing: no container ever starts."""
    shared.slow_start(3600)
    yield shared
    shared.heal()


@pytest.fixture
async def client(plane) -> AsyncIterator[Any]:
    async with modal.Client(plane.url, api_pb2.CLIENT_TYPE_CLIENT, TOKEN) as client:
        yield client


def generate(client: Any) -> Any:
    return modal.Cls.from_name(APP_NAME, A10G, client=client)().generate


@pytest.mark.parametrize("token", [("ak-test", "as-other"), ("ak-other", "as-test")])
async def test_another_token_opens_nothing(plane, token):
    async with modal.Client(plane.url, api_pb2.CLIENT_TYPE_CLIENT, token) as client:
        with pytest.raises(modal.exception.AuthError):
            await client.hello.aio()


async def test_what_it_does_not_know_is_refused_and_remembered(plane, client):
    with pytest.raises(modal.exception.UnimplementedError):
        await modal.Queue.from_name("a-queue", create_if_missing=True, client=client).hydrate.aio()
    assert plane.violations == ["DeployRpcs does not know QueueGetOrCreate"]
    plane.violations.clear()


async def test_what_was_not_deployed_or_called_is_not_found(client):
    with pytest.raises(modal.exception.NotFoundError):
        await modal.Cls.from_name(APP_NAME, "Nobody", client=client).hydrate.aio()
    with pytest.raises(modal.exception.NotFoundError):
        await modal.FunctionCall.from_id("fc-nobody", client=client).get.aio(timeout=0)
    with pytest.raises(modal.exception.NotFoundError):
        await modal.Dict.from_name("no-such-dict", client=client).get.aio("a")


async def test_a_request_repeated_under_its_key_is_one_request(plane, client):
    before = len(plane.calls)
    plane.fail("FunctionMap", Status.UNAVAILABLE, 3, after=True)
    call = await generate(client).spawn.aio(b"")
    assert [made.id for made in plane.calls[before:]] == [call.object_id]
    assert plane.violations == []


async def test_more_failures_than_the_client_repeats_reach_the_caller(plane, client):
    plane.fail("FunctionMap", Status.UNAVAILABLE, 4)
    with pytest.raises(modal.exception.ServiceError):
        await generate(client).spawn.aio(b"")
    assert not plane.state.faults["FunctionMap"]


async def test_arguments_that_are_too_large_for_the_request_are_not_taken_inline(plane, client):
    await generate(client).spawn.aio(bytes(8 * 1024))
    (call,) = plane.calls[-1:]
    assert call.item.WhichOneof("args_oneof") == "args_blob_id"
    assert len(plane.state.blobs[call.item.args_blob_id]) > 8 * 1024


async def test_a_result_that_is_not_there_is_a_plain_timeout_and_an_expired_one_is_not(plane, client):
    call = await generate(client).spawn.aio(b"")
    with pytest.raises(TimeoutError):
        await call.get.aio(timeout=0)
    plane.expire(call.object_id)
    with pytest.raises(modal.exception.OutputExpiredError):
        await call.get.aio(timeout=0)


async def test_a_canceled_call_in_the_queue_has_ended(plane, client):
    call = await generate(client).spawn.aio(b"")
    await call.cancel.aio()
    with pytest.raises(modal.exception.RemoteError, match="cancelled"):
        await call.get.aio(timeout=0)


async def test_what_was_called_outlives_the_client(plane):
    async with modal.Client(plane.url, api_pb2.CLIENT_TYPE_CLIENT, TOKEN) as client:
        id_ = (await generate(client).spawn.aio(b"")).object_id
    plane.go_away()
    plane.come_back()
    async with modal.Client(plane.url, api_pb2.CLIENT_TYPE_CLIENT, TOKEN) as client:
        with pytest.raises(TimeoutError):
            await modal.FunctionCall.from_id(id_, client=client).get.aio(timeout=0)


async def test_a_container_that_cannot_start_fails_the_calls_that_wait_for_it(tmp_path):
    with deployed(tmp_path) as plane:
        async with modal.Client(plane.url, api_pb2.CLIENT_TYPE_CLIENT, TOKEN) as client:
            for file in plane.state.files:
                plane.state.files[file] = b"raise RuntimeError('not today')"
            call = await generate(client).spawn.aio(b"")
            async with asyncio.timeout(30):
                with pytest.raises(RuntimeError, match="not today"):
                    await call.get.aio(timeout=25)
