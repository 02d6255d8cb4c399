import asyncio
import os
import signal
import subprocess
import sys
from contextlib import ExitStack

import pytest
from support.engines import engine_command, job, wait

from providers.diffusers_modal.address import ask_health, read_address
from providers.diffusers_modal.local import EngineClient, address_in
from providers.diffusers_modal.process import EngineSupervisor
from providers.diffusers_modal.supervisor import lock_is_held
from providers.diffusers_modal.wire import Done, ErrorRecord, Running
from providers.errors import ProviderUnavailable

# A gateway that keeps an engine until it is killed.
GATEWAY = """
import sys, time
from pathlib import Path
from providers.diffusers_modal.process import EngineSupervisor
supervisor = EngineSupervisor(Path(sys.argv[1]), sys.argv[2:])
supervisor.start()
print(supervisor.wait_ready(30), flush=True)
time.sleep(600)
"""

DEAF = """
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("up", flush=True)
signal.pause()
"""

OLD = """
from providers.diffusers_modal import process
process.engine_version = lambda: "old"
process.main()
"""


def answers(data_dir):
    address = read_address(data_dir)
    return address is not None and ask_health(address) is not None


@pytest.fixture
def spawn():
    """Starts processes; in the end none is left."""
    with ExitStack() as stack:

        def start(command):
            process = stack.enter_context(subprocess.Popen(command))
            stack.callback(process.kill)
            return process

        yield start


@pytest.fixture
def supervised(data_dir):
    """Makes supervisors of the folder's engine; in the end none is left."""
    made = []

    def make(*more, **options):
        command = engine_command(data_dir, "--orphan-exit", "60", *more)
        made.append(EngineSupervisor(data_dir, options.pop("command", command), **options))
        made[-1].start()
        return made[-1]

    yield make
    for supervisor in made:
        supervisor.stop()
    assert not lock_is_held(data_dir)


@pytest.fixture
def killed_gateway(data_dir):
    """A gateway that started an engine and was killed; the engine's own options are given."""

    def make(*more):
        command = engine_command(data_dir, *more)
        with subprocess.Popen(
            [sys.executable, "-c", GATEWAY, str(data_dir), *command], stdout=subprocess.PIPE, text=True
        ) as gateway:
            assert gateway.stdout.readline() == "True\n"
            gateway.kill()

    return make


async def until(client, id_, stop):
    """Poll through an engine's death and return."""
    async with asyncio.timeout(60):
        while True:
            try:
                if stop(reply := await client.poll(id_)):
                    return reply
            except ProviderUnavailable:
                pass  # between two engines
            await asyncio.sleep(0.02)


def test_an_engine_comes_and_goes_with_its_file(data_dir, spawn):
    engine = spawn(engine_command(data_dir))
    wait(lambda: answers(data_dir))
    address = read_address(data_dir)
    assert address.pid == engine.pid
    assert not address.supervised
    assert (data_dir / "engine.json").stat().st_mode & 0o777 == 0o600
    engine.send_signal(signal.SIGTERM)
    assert engine.wait(10) == 0
    assert read_address(data_dir) is None


def test_a_folder_has_one_engine(data_dir, spawn):
    spawn(engine_command(data_dir))
    wait(lambda: answers(data_dir))
    address = read_address(data_dir)
    second = subprocess.run(engine_command(data_dir), capture_output=True, text=True, check=False)
    assert second.returncode == 1
    assert "already runs" in second.stderr
    assert read_address(data_dir) == address


@pytest.mark.slow
async def test_a_killed_engine_loses_its_job_and_the_next_one_runs(supervised, data_dir, engine):
    supervisor = supervised()
    assert supervisor.wait_ready(30)
    client = EngineClient(address_in(data_dir))
    await client.submit(job("lost", num_inference_steps=1000, num_images=64))
    await until(client, "lost", lambda reply: isinstance(reply, Running) and reply.step)
    first = supervisor.pid
    os.kill(first, signal.SIGKILL)
    lost = await until(client, "lost", lambda reply: not isinstance(reply, Running))
    assert isinstance(lost, ErrorRecord)
    assert lost.code == "unknown_job"
    assert supervisor.pid != first
    await client.submit(job("next"))
    done = await until(client, "next", lambda reply: isinstance(reply, Done | ErrorRecord))
    # Another process, the same bytes.
    assert done.images == engine.run(job()).images


@pytest.mark.slow
async def test_a_new_gateway_adopts_the_engine_and_its_job(killed_gateway, supervised, data_dir):
    killed_gateway("--orphan-exit", "60")
    pid = read_address(data_dir).pid
    client = EngineClient(address_in(data_dir))
    await client.submit(job())
    supervisor = supervised()
    assert supervisor.pid == pid
    done = await until(client, "job", lambda reply: isinstance(reply, Done | ErrorRecord))
    assert isinstance(done, Done)
    os.kill(pid, signal.SIGKILL)
    wait(lambda: supervisor.pid not in (None, pid))
    assert supervisor.wait_ready(30)


def test_an_engine_whose_gateway_is_gone_ends_itself(killed_gateway, data_dir):
    killed_gateway("--orphan-exit", "0.3")
    wait(lambda: not lock_is_held(data_dir))
    assert read_address(data_dir) is None


def test_an_engine_whose_gateway_lives_stays_without_requests(supervised, data_dir):
    supervisor = supervised(command=engine_command(data_dir, "--orphan-exit", "0.1"))
    assert supervisor.wait_ready(30)
    with pytest.raises(AssertionError, match="in vain"):
        wait(lambda: not lock_is_held(data_dir), timeout_s=1)


def test_stop_leaves_nothing(supervised, data_dir):
    supervisor = supervised()
    assert supervisor.wait_ready(30)
    supervisor.stop()
    assert not lock_is_held(data_dir)
    assert read_address(data_dir) is None


def test_an_engine_that_does_not_end_is_killed(supervised, data_dir):
    supervisor = supervised(command=[sys.executable, "-c", DEAF], stop_grace_s=0.2)
    wait(lambda: (data_dir / "engine.log").read_text() == "up\n")
    pid = supervisor.pid
    supervisor.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_an_engine_that_a_person_started_is_left_alone(supervised, data_dir, spawn):
    engine = spawn(engine_command(data_dir))
    wait(lambda: answers(data_dir))
    supervisor = supervised()
    assert supervisor.pid == engine.pid
    supervisor.stop()
    assert answers(data_dir)


def test_an_engine_of_another_version_is_replaced(supervised, data_dir, spawn):
    engine = spawn([sys.executable, "-c", OLD, "--data-dir", str(data_dir), "--orphan-exit", "60"])
    wait(lambda: answers(data_dir))
    supervisor = supervised()
    assert engine.wait(10) == 0
    assert supervisor.wait_ready(30)
    assert read_address(data_dir).version != "old"
