"""A container answers every job with bytes, and a cancel ends the job and leaves the engine whole."""

import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest
from support.engines import job, long_job, wait

from providers.diffusers_modal.board import Board
from providers.diffusers_modal.container import Worker
from providers.diffusers_modal.engine import Engine
from providers.diffusers_modal.wire import Done, EngineJob, ErrorRecord, PipelineSpec

pytestmark = pytest.mark.slow


class Shelf(dict[str, bytes]):
    """A dictionary by the names that the board uses."""

    def put(self, key: str, value: bytes) -> None:
        self[key] = value


class Weights:
    """What is on the volume, and what was asked of it."""

    def __init__(self, *here: str) -> None:
        self.here = set(here)
        self.kept = 0

    def find(self, source: str) -> bool:
        return source in self.here

    def keep(self) -> None:
        self.kept += 1


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
def engine() -> Engine:
    """Of this test alone: torch counts threads by thread, and a worker has one of its own."""
    return Engine()


@pytest.fixture
def worker(engine, shelf) -> Iterator[Worker]:
    worker = Worker(engine, Board(shelf, every_s=0.01), limit_s=1800)
    yield worker
    worker.close()


def pack(job: EngineJob) -> bytes:
    return msgspec.msgpack.encode(job)


def unpack(data: bytes) -> Done | ErrorRecord:
    return msgspec.msgpack.decode(data, type=Done | ErrorRecord)


def test_a_job_goes_in_and_its_pictures_come_out_as_bytes(worker):
    answer = unpack(worker.run(pack(job())))
    with ThreadPoolExecutor(1) as thread:
        plain = thread.submit(Engine().run, job()).result()
    assert answer.images[0].data == plain.images[0].data


def test_several_jobs_have_an_answer_each_in_their_order(worker):
    jobs = [job("a", seed=1), job("b", seed=2, scheduler="no such"), job("c", seed=3)]
    first, second, third = map(unpack, worker.run_many([*map(pack, jobs[:2]), b"\xc1", pack(jobs[2])])[:3])
    assert first.images[0].seed == 1
    assert second.code == "unknown_scheduler"
    assert third == ErrorRecord(code="engine_failed", message=third.message)
    assert third.message.startswith("The backend cannot read the job: ")


def test_no_job_at_all_is_no_error(worker):
    assert worker.run_many([]) == []


@pytest.mark.parametrize(
    ("where", "name"), [((), "style"), (("pipeline",), "quantization"), (("loras", 0), "block_weights")]
)
def test_a_job_of_a_newer_gateway_is_refused_by_what_is_not_known(worker, where, name):
    raw = msgspec.msgpack.decode(pack(job()))
    raw["loras"] = [{"sha256": "00", "data": b"", "scale": 1.0}]
    part = raw
    for key in where:
        part = part[key]
    part[name] = 1
    answer = unpack(worker.run(msgspec.msgpack.encode(raw)))
    assert answer.code == "engine_failed"
    assert f"does not know {name}: run `gateway backend deploy`" in answer.message


def test_a_job_ends_before_modal_would_end_its_container(engine, shelf):
    worker = Worker(engine, Board(shelf), limit_s=1.0)
    answer = unpack(worker.run(pack(long_job())))
    worker.close()
    assert answer == ErrorRecord(code="timeout", message="The job did not end within 0.5 seconds.")


def test_the_progress_of_a_job_stands_on_the_board_while_it_runs(worker, shelf):
    seen = threading.Event()
    thread = threading.Thread(target=lambda: (wait(lambda: "long" in shelf), seen.set()))
    thread.start()
    worker.run(pack(job("long", num_inference_steps=100, num_images=4)))
    thread.join()
    assert seen.is_set()
    wait(lambda: not shelf)


class Canceled(BaseException):
    """As Modal's InputCancellation: no Exception, raised by a signal, anywhere."""


def test_a_cancel_ends_the_job_within_a_step_and_the_next_one_runs(worker, shelf):
    def raise_it(*_: object) -> None:
        raise Canceled

    before = signal.signal(signal.SIGUSR1, raise_it)
    pid = os.getpid()
    thread = threading.Thread(target=lambda: (wait(lambda: "long" in shelf), os.kill(pid, signal.SIGUSR1)))
    thread.start()
    try:
        with pytest.raises(Canceled):
            worker.run(pack(long_job()))
    finally:
        thread.join()
        signal.signal(signal.SIGUSR1, before)
    answer = unpack(worker.run(pack(job())))
    assert isinstance(answer, Done)
    assert answer.load_seconds == 0


def test_what_a_job_downloaded_is_kept_after_its_answer(engine, shelf):
    weights = Weights()
    worker = Worker(engine, Board(shelf), limit_s=1800, models=weights)
    assert isinstance(unpack(worker.run(pack(job()))), Done)
    worker.close()
    assert weights.kept == 1


def test_what_was_there_is_not_kept_again(engine, shelf):
    weights = Weights("embedded:mini")
    worker = Worker(engine, Board(shelf), limit_s=1800, models=weights)
    assert isinstance(unpack(worker.run(pack(job()))), Done)
    worker.close()
    assert weights.kept == 0


def test_weights_that_are_nowhere_are_an_answer(worker):
    gone = msgspec.structs.replace(
        job(), pipeline=PipelineSpec(source="/no/such/folder", pipeline_class="StableDiffusionPipeline")
    )
    assert unpack(worker.run(pack(gone))).code == "bad_weights"


def test_a_volume_that_cannot_be_read_is_an_answer_not_an_exception(engine, shelf):
    class Broken(Weights):
        def find(self, source: str) -> bool:
            raise OSError("the volume is gone")

    worker = Worker(engine, Board(shelf), limit_s=1800, models=Broken())
    answer = unpack(worker.run(pack(job())))
    worker.close()
    assert answer == ErrorRecord(code="engine_failed", message="The backend failed: OSError.")
