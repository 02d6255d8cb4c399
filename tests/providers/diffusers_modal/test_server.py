"""The engine on a socket: it answers at once, runs jobs in order, and reads nothing of those without the token."""

import asyncio

import pytest
from msgspec.structs import replace
from support.engines import TOKEN, ask, ask_raw, denoising, ended, job, long_job, until

from providers.diffusers_modal.server import EngineServer
from providers.diffusers_modal.wire import (
    MAX_FROM_ENGINE,
    MAX_HELLO,
    MAX_TO_ENGINE,
    Accepted,
    Cancel,
    Done,
    ErrorRecord,
    Health,
    HealthReply,
    Hello,
    Poll,
    Queued,
    Running,
    Submit,
    WireError,
    decode_reply,
    encode,
    read_frame,
)

HELLO = encode(Hello(token=TOKEN), MAX_HELLO)
HEALTH = Health()


def submit(work):
    return Submit(job=work)


def cancel(id_):
    return Cancel(id=id_)


async def code(port, id_):
    answer = await until(port, id_, ended)
    assert isinstance(answer, ErrorRecord), answer
    return answer.code


async def test_a_job_gives_its_picture(port):
    assert await ask(port, submit(job())) == Accepted()
    done = await until(port, "job", ended)
    assert isinstance(done, Done)
    assert done.images[0].data.startswith(b"\x89PNG")


async def test_health_tells_what_there_is(port):
    await ask(port, submit(job()))
    await until(port, "job", ended)
    health = await ask(port, HEALTH)
    assert isinstance(health, HealthReply)
    assert (health.version, health.model, health.queued) == ("1", "embedded:mini", 0)
    assert health.device in ("cpu", "cuda", "mps")
    assert health.device_name
    assert health.models == ("embedded:mini",)


async def test_health_counts_what_was_done(port):
    before = await ask(port, HEALTH)
    assert (before.jobs_done, before.jobs_failed, before.jobs_canceled, before.busy_seconds) == (0, 0, 0, 0)
    await ask(port, submit(job("good")))
    await ask(port, submit(job("bad", scheduler="none")))
    await until(port, "bad", ended)
    await ask(port, submit(long_job("long")))
    await until(port, "long", denoising)
    busy = await ask(port, HEALTH)
    assert (busy.jobs_done, busy.jobs_failed, busy.jobs_canceled, busy.running) == (1, 1, 0, 1)
    assert 0 < busy.busy_seconds < (await ask(port, HEALTH)).busy_seconds  # of what runs, too
    await ask(port, cancel("long"))
    await until(port, "long", ended)
    after = await ask(port, HEALTH)
    assert (after.jobs_done, after.jobs_failed, after.jobs_canceled, after.running) == (1, 1, 1, 0)
    rest = await ask(port, HEALTH)
    assert rest.busy_seconds == after.busy_seconds > busy.busy_seconds


async def test_health_tells_of_memory(port):
    await ask(port, submit(job("mem")))
    await until(port, "mem", ended)
    health = await ask(port, HEALTH)
    assert health.resident_bytes > 50 * 1024 * 1024  # torch alone is more
    on_device = (health.device_used_bytes, health.device_total_bytes)
    if health.device == "cpu":
        assert on_device == (None, None)
    else:
        assert 0 < on_device[0] < on_device[1]


@pytest.mark.parametrize("body", [b"", b"\xc1", b"\x81\xa4type\xa3zzz", b"GET / HTTP/1.1\r\n\r\n"])
@pytest.mark.parametrize("before", [[], [HELLO]], ids=["as hello", "as request"])
async def test_garbage_gets_an_error_record(port, before, body):
    answer = await ask_raw(port, *before, len(body).to_bytes(4, "big") + body)
    assert answer.code == "bad_parameter"
    assert isinstance(await ask(port, HEALTH), HealthReply)


@pytest.mark.parametrize(
    "frame", [encode(HEALTH, 1000), encode(submit(job("no")), 1000)], ids=["health", "submit"]
)
async def test_a_request_without_a_hello_is_not_taken(port, frame):
    assert (await ask_raw(port, frame)).code == "bad_parameter"
    assert await code(port, "no") == "unknown_job"


@pytest.mark.parametrize(
    "frames",
    [
        [b"GET / HTTP/1.1\r\n\r\n"],
        [(MAX_HELLO + 1).to_bytes(4, "big")],
        [HELLO, (MAX_TO_ENGINE + 1).to_bytes(4, "big")],
        [HELLO[:-3]],
        [HELLO, encode(HEALTH, 1000)[:-3]],
        [b"\x00"],
        [HELLO, b"\x00"],
    ],
    ids=["http", "large hello", "large", "half a hello", "half", "half a head", "half a second head"],
)
async def test_what_is_no_frame_closes_the_connection(port, frames):
    with pytest.raises((WireError, ConnectionError)):
        await ask_raw(port, *frames)
    assert isinstance(await ask(port, HEALTH), HealthReply)


async def test_one_who_leaves_in_mid_frame_hurts_nobody(port):
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"\x00\x00\x01\x00half")
    writer.transport.abort()
    assert isinstance(await ask(port, HEALTH), HealthReply)


@pytest.mark.parametrize("token", ["x", "", "é", "t", TOKEN + "x", "x" * 4000])
async def test_a_wrong_token_opens_nothing(port, token):
    for request in (HEALTH, submit(job("no")), Poll(id="no"), cancel("no")):
        assert (await ask(port, request, token)).code == "unauthorized"
    assert await code(port, "no") == "unknown_job"


async def test_nothing_is_read_after_a_wrong_token(port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(encode(Hello(token="x"), MAX_HELLO))
    assert decode_reply(await read_frame(reader, MAX_FROM_ENGINE, 5)).code == "unauthorized"
    with pytest.raises(ConnectionError):
        await pour(writer)
    writer.close()


async def pour(writer):
    """Write until it is told that nobody reads."""
    async with asyncio.timeout(10):
        while True:
            writer.write(bytes(65536))
            await writer.drain()
            await asyncio.sleep(0)


async def test_a_large_request_is_taken_and_its_inputs_are_not_kept(engine):
    server = EngineServer(engine, TOKEN)
    port = await server.start("127.0.0.1", 0)
    large = replace(job(), images={"image": bytes(50 * 1024 * 1024)})
    await ask(port, submit(long_job()))
    await until(port, "long", denoising)
    assert await ask(port, submit(large)) == Accepted()
    assert held(server) == 1
    await ask(port, cancel("long"))
    assert await code(port, "job") == "bad_parameter"
    assert held(server) == 0
    await server.close()


def held(server):
    """Jobs whose inputs the server keeps."""
    return sum(kept._work is not None for kept in server._jobs.values())


async def test_the_same_id_is_the_same_job(port):
    # Without a seed, a second run would have another one.
    work = job(seed=None)
    await ask(port, submit(work))
    await ask(port, submit(work))
    first = await until(port, "job", ended)
    assert await ask(port, submit(work)) == Accepted()
    assert await ask(port, Poll(id="job")) == first
    health = await ask(port, HEALTH)
    assert (health.queued, health.running) == (0, 0)


async def test_it_answers_while_a_job_runs_and_others_wait(port):
    for work in (long_job(), job("second"), job("third")):
        await ask(port, submit(work))
    await until(port, "long", denoising)
    async with asyncio.timeout(2):
        health = await ask(port, HEALTH)
        third = await ask(port, Poll(id="third"))
    assert (health.running, health.queued) == (1, 2)
    assert third == Queued(position=2)
    await ask(port, cancel("long"))
    assert isinstance(await until(port, "third", ended), Done)


async def test_a_waiting_job_is_canceled_at_once(port):
    await ask(port, submit(long_job()))
    await ask(port, submit(job("second")))
    await until(port, "long", denoising)
    await ask(port, cancel("second"))
    assert (await ask(port, Poll(id="second"))).code == "canceled"
    assert isinstance(await ask(port, Poll(id="long")), Running)


async def test_a_running_job_is_canceled_and_the_next_one_runs(port):
    await ask(port, submit(long_job()))
    await until(port, "long", denoising)
    await ask(port, cancel("long"))
    assert await code(port, "long") == "canceled"
    await ask(port, submit(job()))
    assert isinstance(await until(port, "job", ended), Done)


async def test_cancel_of_an_ended_or_unknown_job_is_no_error(port):
    await ask(port, submit(job()))
    await until(port, "job", ended)
    assert await ask(port, cancel("job")) == Accepted()
    assert await ask(port, cancel("nobody")) == Accepted()
    assert isinstance(await ask(port, Poll(id="job")), Done)


async def test_waiting_counts_for_the_deadline(port):
    await ask(port, submit(long_job()))
    await ask(port, submit(job("second", timeout_s=0.001)))
    await ask(port, cancel("long"))
    assert await code(port, "second") == "timeout"


@pytest.mark.parametrize("limit", [{"keep_jobs": 1}, {"keep_bytes": 1}, {"keep_s": 0.0}], ids=str)
async def test_the_oldest_answers_are_dropped(engine, limit):
    server = EngineServer(engine, TOKEN, **limit)
    port = await server.start("127.0.0.1", 0)
    for id_ in ("first", "second"):
        await ask(port, submit(job(id_)))
    await until(port, "second", lambda reply: not isinstance(reply, Queued | Running))
    assert await code(port, "first") == "unknown_job"
    await server.close()


async def test_close_stops_the_job_that_runs(engine):
    server = EngineServer(engine, TOKEN)
    port = await server.start("127.0.0.1", 0)
    await ask(port, submit(long_job()))
    await until(port, "long", denoising)
    assert await server.close(grace_s=10)
    with pytest.raises(ConnectionRefusedError):
        await ask(port, HEALTH)
