"""A job's events as they come, in the process that runs it and in another one, which has its own database."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import pytest
from support.job_checks import LOST_REPLY, Gate, charged
from support.people import premium
from support.scripted_provider import SCRIPTED_TYPES, done, handle

from gateway.accounts.principals import OPERATOR
from gateway.core import Core
from gateway.db.engine import open_database
from gateway.jobs import cadence, watch
from gateway.jobs.events import MOST_STREAMS, Event, Events, Seen
from gateway.jobs.live import MOST_LINES
from gateway.parts import Parts
from gateway.problems import Problem
from gateway.schemas import GenerateRequest
from providers.base import Running, Waiting
from providers.discovery import Providers

LONG_S = 3600.0
NOTHING = Seen()


class Reader:
    """Reads a stream, and keeps what came."""

    def __init__(self, events: Events, job_id: str, seen: Seen = NOTHING, seconds: float = LONG_S) -> None:
        self.stream = events.follow(job_id, OPERATOR, seen, seconds)
        self.got: list[Event | None] = []

    async def until(self, name: str | None, **members: Any) -> Any:
        """Read on to the next event of this name with these members; its data."""
        async with asyncio.timeout(20):
            async for event in self.stream:
                self.got.append(event)
                if (event.name if event else None) == name and _has(event, members):
                    return event and event.data
        raise AssertionError(f"the stream ended before {name} {members}: {self.got}")

    async def rest(self) -> list[str]:
        """Read to the end; the names of all that came."""
        async with asyncio.timeout(20):
            self.got += [event async for event in self.stream]
        return [event.name for event in self.got if event is not None]

    @property
    def last(self) -> Seen:
        """What the client has seen, by the last id."""
        return Seen.read(self.got[-1].id if self.got[-1] else None)

    def of(self, name: str) -> list[Any]:
        return [event.data for event in self.got if event is not None and event.name == name]


def _has(event: Event | None, members: dict[str, Any]) -> bool:
    return event is None or all(getattr(event.data, name) == value for name, value in members.items())


@pytest.fixture
async def follow(world) -> AsyncIterator[Callable[..., Reader]]:
    """Opens a stream of a job; of a core's that is not the world's, if one is given."""
    readers: list[Reader] = []

    def opened(
        job_id: str, seen: Seen = NOTHING, seconds: float = LONG_S, core: Core | None = None
    ) -> Reader:
        readers.append(Reader((core or world.core).events, job_id, seen, seconds))
        return readers[-1]

    yield opened
    for reader in readers:
        await reader.stream.aclose()


@pytest.fixture
async def other(world) -> AsyncIterator[Any]:
    """Another process on the same data: a world that has its own database, runner and providers."""
    core, settings = world.core, world.core.settings
    providers = Providers(core.catalog.data.providers, {}, str(settings.data_dir), SCRIPTED_TYPES)
    parts = Parts(
        catalog=core.catalog,
        templates=core.templates,
        providers=providers,
        images=core.images,
        secrets=(b"x" * 32,),
    )
    db = open_database(settings.database_url)
    second = Core(settings=settings, parts=parts, db=db, ambient=world.clock.ambient())
    yield type(world)(second, world.clock, world.client)
    await second.aclose()


async def told_to_others(world) -> int:
    """Let the running process store what it has to tell; of how many jobs."""
    await world.core.progress.write_due()
    world.clock.ahead_s += 2
    return await world.core.progress.write_due()


def names(reader: Reader) -> list[str]:
    return [event.name for event in reader.got if event is not None]


# -- in the process that runs it -------------------------------------------------------------


async def test_a_job_is_told_from_waiting_to_its_picture(world, follow) -> None:
    steps = [Gate(Running(phase="denoise", step=n, steps=3, logs=("a", "b", "c")[:n])) for n in (1, 2)]
    waiting, last = Gate(Waiting(position=4)), Gate(done())
    world.script().answers([handle()], [waiting, *steps, last])
    reader = follow(await world.submit())
    await waiting.reached.wait()
    assert (await reader.until("status")).status in ("queued", "running")
    waiting.open.set()
    assert (await reader.until("progress", phase="queued")).position == 4
    for number, gate in enumerate(steps, start=1):
        gate.open.set()
        shown = await reader.until("progress", step=number)
        assert (shown.phase, shown.steps) == ("denoise", 3)
    await reader.until("log", lines=("b",))
    last.open.set()
    await reader.rest()
    assert [log.lines for log in reader.of("log")] == [("a",), ("b",)]
    (picture,) = reader.of("image")
    (job,) = reader.of("done")
    assert (job.status, job.images, picture.index) == ("completed", (picture.image,), 0)
    # `storing` is there for as long as the store takes, which may be too short to be seen.
    told = [status.status for status in reader.of("status") if status.status != "storing"]
    assert told[-2:] == ["running", "completed"]
    assert names(reader)[-3:] == ["status", "image", "done"]


async def test_the_end_is_told_at_once(world, follow, monkeypatch) -> None:
    """Nobody waits for the next look at the database, which would come in an hour."""
    monkeypatch.setattr(watch, "EVERY_S", 3600.0)
    gate = Gate(done())
    world.script().answers([handle()], [gate])
    job_id = await world.submit()
    await gate.reached.wait()
    reader = follow(job_id)
    await reader.until("status")
    gate.open.set()
    assert (await reader.until("done")).status == "completed"


async def test_a_job_that_somebody_follows_is_looked_at_more_often(world, follow, monkeypatch) -> None:
    """Nobody waits an hour for the next step, as the cadence of this endpoint would have it."""
    monkeypatch.setattr(cadence, "SOONEST_S", 3600.0)
    monkeypatch.setattr(cadence, "LATEST_S", 3600.0)
    first = Gate(Running(step=1, steps=3))
    world.script().answers([handle()], [first, Running(step=2, steps=3), done()])
    job_id = await world.submit()
    reader = follow(job_id)
    await reader.until("status")
    first.open.set()
    await reader.until("done", status="completed")


async def test_pictures_come_one_by_one_and_none_comes_twice(world, follow) -> None:
    gates = [Gate(done()) for _ in range(3)]
    world.script().answers(gates)
    job_id = await world.submit("single", num_images=3)
    for gate in gates:
        await gate.reached.wait()
    reader = follow(job_id)
    gates[2].open.set()
    assert (await reader.until("image")).index == 2
    assert (await world.core.job(job_id, OPERATOR)).status != "completed"
    # Somebody who has seen that one comes back, and another one who has not.
    back, new = follow(job_id, reader.last), follow(job_id)
    await back.until("status")
    await new.until("image", index=2)
    gates[0].open.set()
    assert [(await one.until("image", index=0)).index for one in (reader, back, new)] == [0, 0, 0]
    gates[1].open.set()
    for one in (reader, back, new):
        await one.rest()
    assert [picture.index for picture in reader.of("image")] == [2, 0, 1]
    assert [picture.index for picture in back.of("image")] == [0, 1]
    assert [picture.index for picture in new.of("image")] == [2, 0, 1]
    assert len(reader.of("done")[0].images) == 3
    await charged(world, await world.ended(job_id), 3 * 30_000)


async def test_a_log_is_told_line_by_line_and_its_end_is_kept(world, follow) -> None:
    lines = tuple(f"line {n}" for n in range(MOST_LINES + 40))
    polls = [Gate(Running(logs=lines[:3])), Gate(Running(logs=lines))]
    world.script().answers([handle()], [*polls, done(logs=(*lines, "x" * 900, "\x1b[31mred"))])
    job_id = await world.submit()
    reader = follow(job_id)
    polls[0].open.set()
    assert (await reader.until("log")).lines == lines[:3]
    seen = reader.last
    await polls[1].reached.wait()
    polls[1].open.set()
    log = await reader.until("log")
    assert (log.first, log.lines) == (40, lines[40:])
    back = follow(job_id, seen)
    await reader.rest()
    assert reader.of("log")[-1].lines == ("x" * 500, " [31mred")
    await back.rest()
    assert all(line not in log.lines for log in back.of("log") for line in lines[:3])


async def test_storing_is_told(world, follow, tmp_path) -> None:
    wall = tmp_path / "store" / "images"
    wall.write_text("in the way")
    world.script().answers([done()])
    reader = follow(await world.submit())
    await reader.until("status", status="storing")
    wall.unlink()
    await reader.until("done", status="completed")


@pytest.mark.parametrize(
    ("script", "status"), [([LOST_REPLY], "unknown"), ([done()], "completed")], ids=["unknown", "ended"]
)
async def test_how_a_job_stands_and_no_more(world, follow, script, status) -> None:
    world.script().answers(script)
    job = await world.run()
    reader = follow(job.id, seconds=0)
    kinds = await reader.rest()
    assert reader.of("status")[0].status == status
    assert kinds == (["status"] if status == "unknown" else ["status", "image", "done"])


async def test_a_scheduled_job_says_when_its_window_is_and_is_told_when_it_runs(world, follow) -> None:
    normal = msgspec.structs.replace(premium(), tier="normal")
    request = GenerateRequest(model="solo", inputs={"prompt": "a cat"})
    job_id = await world.core.admission.submit(request, normal)
    reader = follow(job_id)
    assert (await reader.until("status")).status == "scheduled"
    world.script().answers([done()])
    await world.core.release(OPERATOR)
    await reader.until("done", status="completed")


async def test_silence_is_broken_by_heartbeats(world) -> None:
    gate = Gate(Waiting())
    world.script().answers([handle()], [gate])
    job_id = await world.submit()
    await gate.reached.wait()
    events = Events(world.core, heartbeat_s=0.01)
    reader = Reader(events, job_id)
    await reader.until(None)
    await reader.until(None)
    await reader.stream.aclose()
    await events.aclose()


async def test_a_stop_ends_streams_and_the_id_goes_on_from_there(world, follow, other) -> None:
    gate = Gate(Running(step=1, steps=2, logs=("a",)))
    world.script().answers([handle()], [gate])
    job_id = await world.submit()
    reader = follow(job_id)
    gate.open.set()
    await reader.until("log")
    world.core.drain()
    assert "done" not in await reader.rest()
    # One that is opened now says how the job stands, and ends too.
    assert "status" in await follow(job_id).rest()


async def test_who_hangs_up_leaves_nothing(world) -> None:
    gate = Gate(Running(step=1, steps=2))
    world.script().answers([handle()], [gate])
    job_id = await world.submit()
    reader = Reader(world.core.events, job_id)
    gate.open.set()
    await reader.until("progress")
    live = world.core.runner.live(job_id)
    assert (world.core.events.streams, len(live.listeners)) == (1, 1)
    # Canceled while it waits, as it is when its client goes away.
    waiting = asyncio.create_task(reader.rest())
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert waiting.cancelled()
    assert (world.core.events.streams, len(live.listeners)) == (0, 0)


async def test_streams_of_an_account_are_limited(world, follow) -> None:
    world.script().answers([done()])
    job = await world.run()
    readers = [follow(job.id) for _ in range(MOST_STREAMS)]
    for reader in readers:
        world.core.events.check(OPERATOR)
        await reader.until("status")
    with pytest.raises(Problem) as caught:
        world.core.events.check(OPERATOR)
    assert caught.value.document.code == "too_many_streams"
    world.core.events.check("acc_another")
    await readers[0].rest()
    world.core.events.check(OPERATOR)


# -- in another process ------------------------------------------------------------------------


async def test_another_process_tells_the_same(world, follow, other) -> None:
    polls = [Gate(Running(step=n, steps=3, logs=("a", "b", "c")[:n])) for n in (1, 2)]
    last = Gate(done())
    world.script().answers([handle()], [*polls, last])
    job_id = await world.submit()
    there = follow(job_id, core=other.core)
    assert (await there.until("status")).status in ("queued", "running")
    here = follow(job_id)
    for number, gate in enumerate(polls, start=1):
        gate.open.set()
        await here.until("progress", step=number)
        assert await told_to_others(world) == 1
        assert (await there.until("progress")).step == number
    view = other.core.view(await other.core.job(job_id, OPERATOR))
    assert (view.status, view.progress.step, view.progress.steps) == ("running", 2, 3)
    await there.until("log", lines=("b",))
    last.open.set()
    await there.rest()
    await here.rest()
    assert [log.lines for log in there.of("log")] == [("a",), ("b",)]
    assert [one.index for one in there.of("image")] == [0]
    assert there.of("done")[0].status == "completed"
    assert msgspec.json.encode(there.of("done")[0]) == msgspec.json.encode(here.of("done")[0])


async def test_a_stream_goes_on_when_its_job_moves_to_its_process(world, follow, other) -> None:
    """One replica is stopped and the other, which has the stream, takes the job over."""
    first = Gate(Running(step=1, steps=3, logs=("a", "b")))
    world.script().answers([done(), handle()], [first])
    job_id = await world.submit("single", num_images=2)
    there = follow(job_id, core=other.core)
    first.open.set()
    here = follow(job_id)
    await here.until("log")
    assert await told_to_others(world) == 1
    await there.until("log", lines=("a", "b"))
    if not there.of("image"):
        await there.until("image", index=0)
    await world.core.runner.aclose(0)

    second, last = Gate(Running(step=2, steps=3, logs=("a", "b", "c"))), Gate(done())
    world.script().poll.clear()
    world.script().answers(poll=[second, last])
    await other.resume()
    second.open.set()
    assert (await there.until("progress", step=2)).images == 1
    last.open.set()
    await there.rest()
    # It was told once by each process, and no line and no picture twice.
    assert [log.lines for log in there.of("log")] == [("a", "b"), ("c",)]
    assert [log.first for log in there.of("log")] == [0, 2]
    assert [one.index for one in there.of("image")] == [0, 1]
    assert there.of("done")[0].status == "completed"
    await charged(other, await other.ended(job_id), 2 * 30_000)


async def test_a_stream_goes_on_when_its_job_moves_away(world, follow, other) -> None:
    first = Gate(Running(step=1, steps=3))
    world.script().answers([handle()], [first])
    job_id = await world.submit()
    here = follow(job_id)
    first.open.set()
    await here.until("progress", step=1)
    await world.core.runner.aclose(0)

    second, last = Gate(Running(step=2, steps=3)), Gate(done())
    world.script().poll.clear()
    world.script().answers(poll=[second, last])
    await other.resume()
    second.open.set()
    elsewhere = follow(job_id, core=other.core)
    await elsewhere.until("progress", step=2)
    last.open.set()
    await here.until("done", status="completed")


async def test_another_process_tells_of_storing(world, follow, other, tmp_path) -> None:
    wall = tmp_path / "store" / "images"
    wall.write_text("in the way")
    world.script().answers([done()])
    job_id = await world.submit()
    await follow(job_id).until("status", status="storing")
    there = follow(job_id, core=other.core)
    assert await told_to_others(world) == 1
    await there.until("status", status="storing")
    assert other.core.view(await other.core.job(job_id, OPERATOR)).status == "storing"
    wall.unlink()
    await there.until("done", status="completed")


async def test_one_look_is_for_all_streams(world, follow, other, monkeypatch) -> None:
    """However many there are, the other process asks the database as often as for one."""
    world.script().answers([handle(), handle()])
    jobs = [await world.submit(), await world.submit()]
    readers = [follow(job_id, core=other.core) for job_id in (*jobs, *jobs, *jobs)]
    for reader in readers:
        await reader.until("status", status="running")
    looked: list[int] = []
    look = watch.states
    monkeypatch.setattr(watch, "states", lambda conn, known: looked.append(len(known)) or look(conn, known))
    for reader in readers:
        reader.more = asyncio.create_task(reader.rest())
    async with asyncio.timeout(20):
        while len(looked) < 2:
            await asyncio.sleep(0.01)
    assert looked[:2] == [2, 2]
    for reader in readers:
        reader.more.cancel()
    await asyncio.gather(*(reader.more for reader in readers), return_exceptions=True)


# -- ids ------------------------------------------------------------------------------------


@pytest.mark.parametrize("seen", [Seen(), Seen(lines=12, pictures=0b101), Seen(pictures=1 << 15, done=True)])
def test_an_id_says_what_was_seen(seen) -> None:
    assert Seen.read(seen.id) == seen


@pytest.mark.parametrize(
    "text",
    [None, "", "x", "1", "1.", "-1.0", "1.g", "1.0.done2", "1.0\n", "٣.0", "9" * 10 + ".0", "0." + "f" * 65],
)
def test_an_id_that_is_none_of_ours_says_nothing(text) -> None:
    assert Seen.read(text) == NOTHING
