"""The client of an engine knows what was taken, what was not, and what it cannot know."""

import asyncio

import pytest
from msgspec.structs import replace
from support.engines import TOKEN, job

from providers.diffusers_modal import local, wire
from providers.diffusers_modal.address import EngineAddress, read_address, remove_address, write_address
from providers.diffusers_modal.local import EngineClient, address_in, fixed_address
from providers.diffusers_modal.wire import (
    MAX_HELLO,
    Accepted,
    HealthReply,
    Welcome,
    encode,
    read_frame,
    write_frame,
)
from providers.errors import CredentialsRejected, ProviderUnavailable, RequestRejected, SubmitUnknown


def address(port, token=TOKEN):
    return EngineAddress(host="127.0.0.1", port=port, token=token, pid=1, version="1")


async def closed_port():
    server = await asyncio.start_server(lambda _r, _w: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    return port


@pytest.fixture(params=[10, -1], ids=["closes", "keeps silent"])
async def make_mute(request):
    """Makes servers that give no answer: close after some bytes, or wait for ever."""
    servers = []

    async def make(*answers):
        async def hear(reader, writer):
            for answer in answers:
                await read_frame(reader, MAX_HELLO, 5)
                await write_frame(writer, encode(answer, 1000), 5)
            await reader.read(request.param)
            writer.close()

        servers.append(await asyncio.start_server(hear, "127.0.0.1", 0))
        return servers[-1].sockets[0].getsockname()[1]

    yield make
    for server in servers:
        server.close()


def mute_client(port):
    return EngineClient(fixed_address("127.0.0.1", port, TOKEN), reply_timeout_s=0.2)


def test_the_address_is_for_its_owner_alone(tmp_path):
    write_address(tmp_path, address(1))
    assert read_address(tmp_path) == address(1)
    assert (tmp_path / "engine.json").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["engine.json"]


def test_the_address_of_a_successor_stays(tmp_path):
    write_address(tmp_path, address(1, "new"))
    remove_address(tmp_path, "old")
    assert read_address(tmp_path) is not None


async def test_no_engine_is_told_with_what_starts_one(tmp_path):
    with pytest.raises(ProviderUnavailable, match=r"gateway serve.*gateway engine"):
        await EngineClient(address_in(tmp_path)).health()


async def test_a_refused_connection_is_told_as_unavailable(tmp_path):
    write_address(tmp_path, address(await closed_port()))
    with pytest.raises(ProviderUnavailable, match="not running"):
        await EngineClient(address_in(tmp_path)).submit(job())


async def test_a_submit_without_an_answer_is_unknown(make_mute):
    with pytest.raises(SubmitUnknown):
        await mute_client(await make_mute(Welcome())).submit(job())


async def test_a_poll_without_an_answer_is_unavailable(make_mute):
    with pytest.raises(ProviderUnavailable, match="may go on"):
        await mute_client(await make_mute(Welcome())).poll("job")


async def test_a_submit_without_a_welcome_was_not_sent(make_mute):
    with pytest.raises(ProviderUnavailable, match="does not answer"):
        await mute_client(await make_mute()).submit(job())


async def test_a_submit_to_what_is_no_engine_was_not_sent(make_mute):
    with pytest.raises(ProviderUnavailable, match="does not answer"):
        await mute_client(await make_mute(Accepted())).submit(job())


async def test_an_engine_that_moved_is_found(tmp_path, port):
    write_address(tmp_path, address(await closed_port()))
    client = EngineClient(address_in(tmp_path))
    with pytest.raises(ProviderUnavailable):
        await client.health()
    write_address(tmp_path, address(port))
    assert isinstance(await client.health(), HealthReply)


async def test_a_new_token_is_read(tmp_path, port):
    write_address(tmp_path, address(port, "old"))
    client = EngineClient(address_in(tmp_path))
    with pytest.raises(CredentialsRejected):
        await client.submit(job())
    write_address(tmp_path, address(port))
    await client.submit(job())


async def test_a_request_that_is_too_large_is_not_sent(port, monkeypatch):
    monkeypatch.setattr(local, "MAX_TO_ENGINE", 1000)
    client = EngineClient(fixed_address("127.0.0.1", port, TOKEN))
    with pytest.raises(RequestRejected):
        await client.submit(job(prompt="x" * 1000))


async def test_a_large_request_has_the_time_that_it_needs(port, monkeypatch):
    # A byte a second: all the time there is comes from the sizes.
    monkeypatch.setattr(wire, "_SLOWEST", 1)
    client = EngineClient(fixed_address("127.0.0.1", port, TOKEN), reply_timeout_s=0.0)
    await client.submit(replace(job(), images={"image": bytes(20 * 1024 * 1024)}))
    assert isinstance(await client.health(), HealthReply)
