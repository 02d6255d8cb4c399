"""What a scrape says of a core whose jobs run by script, and what it says when something is away."""

import asyncio
import threading

import pytest
from sqlalchemy import Connection
from support.job_world import World
from support.people import BY
from support.scraped import OPEN_METRICS, Scraped
from support.scripted_provider import done, handle

from gateway.db.engine import DatabaseUnavailable
from gateway.observe.collect import EVERY_S, STALE_S
from gateway.observe.database import TimedDatabase
from gateway.observe.metrics import Metrics
from gateway.storage import StorageError
from providers.base import Failed, Running, Waiting
from providers.errors import ContentRejected, JobCanceled, ProviderFailed, ProviderUnavailable, SubmitUnknown


async def scrape(world: World, accept: str = "") -> Scraped:
    text, media_type = await world.core.figures.scrape(accept)
    return Scraped(text.decode(), media_type)


def count(found: Scraped, name: str, **labels: str) -> float:
    return found.total(f"{name}_count", **labels)


async def test_a_completed_job(world: World) -> None:
    world.script().answers(submit=[handle()], poll=[Waiting(), Running(step=1, steps=2), done()])
    await world.run()
    found = await scrape(world, OPEN_METRICS)
    place = {"model": "solo", "provider": "first"}
    assert found.all("gateway_jobs_ended_total", **place) == {
        ("completed",): 1, ("failed",): 0, ("canceled",): 0
    }  # fmt: skip
    assert found.value("gateway_images_total", **place) == 1
    assert found.value("gateway_charged_micros_total", **place) == 30_000
    assert found.value("gateway_provider_cost_micros_total", **place) == 20_000
    assert found.all("gateway_attempts_total") == {("solo", "succeeded", "first"): 1}
    assert count(found, "gateway_attempt_seconds", **place) == 1
    assert count(found, "gateway_job_seconds", outcome="completed", **place) == 1
    assert count(found, "gateway_provider_call_seconds", provider="first", call="submit") == 1
    assert count(found, "gateway_provider_call_seconds", provider="first", call="poll") == 3
    assert found.all("gateway_jobs") == {}
    assert (found.value("gateway_held_micros"), found.value("gateway_holds")) == (0, 0)


async def test_attempts_that_fail_are_counted_by_why(world: World) -> None:
    world.script().answers(
        submit=[ProviderUnavailable("Busy."), handle()], poll=[Failed(error=ProviderFailed("X."))]
    )
    world.script("second").answers(submit=[ContentRejected("No.")])
    await world.run("two")
    found = await scrape(world)
    assert found.all("gateway_attempts_total") == {
        ("two", "provider_unavailable", "first"): 1,
        ("two", "provider_failed", "first"): 1,
        ("two", "content_policy", "second"): 1,
    }
    assert count(found, "gateway_attempt_seconds") == 0
    assert count(found, "gateway_job_seconds", outcome="failed") == 1
    # The job is of the provider that had it last.
    assert found.value("gateway_jobs_ended_total", provider="second", outcome="failed") == 1


async def test_a_submit_without_an_answer_ends_no_job(world: World) -> None:
    world.script().answers(submit=[SubmitUnknown("Lost.")])
    await world.ended(await world.submit())
    found = await scrape(world)
    assert found.total("gateway_attempts_total", outcome="provider_submit_unknown") == 1
    assert found.all("gateway_jobs", status="unknown") == {("solo", "first"): 1}
    assert found.total("gateway_jobs_ended_total") == 0
    assert found.value("gateway_held_micros") == 30_000


async def test_what_runs_is_shown_while_it_does(world: World) -> None:
    script = world.script()

    async def end() -> None:
        script.answers(poll=[Failed(error=JobCanceled("As you wish."))])

    script.answers(submit=[handle()], cancel=[end])
    job_id = await world.submit()
    found = await scrape(world)
    assert found.value("gateway_jobs_driven") == 1
    assert found.total("gateway_jobs") == 1
    world.core.runner.cancel(job_id)
    await world.ended(job_id)
    world.clock.ahead_s += EVERY_S
    found = await scrape(world)
    assert found.value("gateway_jobs_driven") == 0
    assert found.total("gateway_jobs") == 0
    assert count(found, "gateway_job_seconds", outcome="canceled") == 1
    assert count(found, "gateway_provider_call_seconds", call="cancel") == 1


async def test_names_that_nobody_vouches_for_are_one(world: World) -> None:
    metrics = world.core.metrics
    metrics.attempt("made-up", "sold", "succeeded", 1.0)
    metrics.job("what\never", "templates", "completed", 1.0)
    metrics.request("BREW", "", 418, 0.1)
    found = await scrape(world)
    assert found.all("gateway_attempts_total") == {("other", "succeeded", "other"): 1}
    assert found.value("gateway_job_seconds_count", model="other", provider="templates") == 1
    assert found.all("gateway_http_requests_total") == {("other", "other", "418"): 1}


@pytest.mark.slow
async def test_a_provider_that_is_left_alone(world: World) -> None:
    world.script().answers(submit=[ProviderUnavailable("Busy.")] * 6)
    for _ in range(2):
        await world.run()
    assert (await scrape(world)).all("gateway_provider_shut") == {("", "first"): 1}
    world.clock.ahead_s += 31
    assert (await scrape(world)).all("gateway_provider_shut") == {("", "first"): 0}


async def test_the_books_say_what_they_found(world: World) -> None:
    assert (await scrape(world)).value("gateway_books_findings") == 0
    world.script().answers(submit=[done()])
    await world.run()
    await world.db.write(lambda c: c.exec_driver_sql("update wallet set held_micros = 7"))
    await world.core.books.look()
    assert (await scrape(world)).value("gateway_books_findings") == 1
    await world.db.write(lambda c: c.exec_driver_sql("update wallet set held_micros = 0"))
    await world.core.books.look()
    assert (await scrape(world)).value("gateway_books_findings") == 0


async def test_the_store_and_the_disk(world: World) -> None:
    folder = world.core.settings.data_dir / "store" / "images"
    folder.parent.mkdir(exist_ok=True)
    folder.write_text("in the way of the folder")
    with pytest.raises(StorageError):
        await world.core.images.put("images/x.png", b"x", "image/png")
    found = await scrape(world)
    assert found.value("gateway_storage_errors_total") == 1
    assert (found.value("gateway_disk_free_bytes") or 0) > 0


# -- when the database is asked, and when it is away -----------------------------------------


async def test_the_database_is_asked_once_in_a_while_however_many_scrape(world: World) -> None:
    async def reads() -> float:
        return count(await scrape(world), "gateway_database_seconds", call="read")

    before = await reads()
    await asyncio.gather(*(scrape(world) for _ in range(20)))
    assert await reads() == before
    world.clock.ahead_s += EVERY_S
    await asyncio.gather(*(scrape(world) for _ in range(20)))
    assert await reads() == before + 1


async def test_figures_are_no_older_than_they_say(world: World) -> None:
    await scrape(world)
    world.script().answers(submit=[done()])
    await world.run()
    world.clock.ahead_s += EVERY_S - 1
    found = await scrape(world)
    assert found.total("gateway_jobs_ended_total") == 0
    assert (found.value("gateway_metrics_age_seconds") or 0) >= EVERY_S - 1
    world.clock.ahead_s += 1
    found = await scrape(world)
    assert found.total("gateway_jobs_ended_total") == 1
    assert (found.value("gateway_metrics_age_seconds") or 0) < EVERY_S


async def test_a_database_that_is_away_leaves_the_rest(world: World) -> None:
    world.script().answers(submit=[done()])
    await world.run()
    await scrape(world)
    await world.core.db.aclose()
    world.clock.ahead_s += STALE_S - 1
    found = await scrape(world)
    # What was known is told, with how old it is.
    assert found.total("gateway_jobs_ended_total") == 1
    assert (found.value("gateway_metrics_age_seconds") or 0) >= STALE_S - 1
    world.clock.ahead_s += 2
    found = await scrape(world)
    assert found.all("gateway_jobs_ended_total") == {}
    assert found.all("gateway_queue_depth") == {}
    assert (found.value("gateway_metrics_age_seconds") or 0) >= STALE_S + 1
    # What the process did itself is there as before.
    assert found.total("gateway_attempts_total") == 1
    assert found.value("gateway_info", role="serve") == 1


async def test_a_database_that_was_never_there(world: World) -> None:
    await world.core.db.aclose()
    world.clock.ahead_s += 5
    found = await scrape(world)
    assert (found.value("gateway_metrics_age_seconds") or 0) >= 5
    assert found.all("gateway_held_micros") == {}
    assert found.value("process_open_fds") is not None


async def test_a_slow_database_holds_up_neither_the_loop_nor_a_scrape_for_long(world: World) -> None:
    """What is asked goes on, and the next scrape has it."""
    go_on = threading.Event()
    db = world.core.db
    read = db.read

    class Slow:
        async def read(self, fn):
            def slowly(conn: Connection):
                assert go_on.wait(30)
                return fn(conn)

            return await read(slowly)

    world.core.db = Slow()  # type: ignore[assignment]  # of the same shape, as far as it is asked
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0.01)

    ticking = asyncio.create_task(tick())
    found = await scrape(world)
    assert found.all("gateway_queue_depth") == {}
    assert ticks > 10
    go_on.set()
    while not found.all("gateway_queue_depth"):
        found = await scrape(world)
    ticking.cancel()
    world.core.db = db


class Away:
    """A database that serves nothing."""

    async def read(self, fn):
        raise DatabaseUnavailable("Gone.", 1.0)

    write = read

    async def aclose(self) -> None:
        """Nothing is open."""


async def test_calls_that_the_database_could_not_serve_are_counted() -> None:
    metrics = Metrics()
    db = TimedDatabase(Away(), metrics, lambda: 1.0)  # type: ignore[arg-type]  # of the same shape
    for call in (db.read, db.write):
        with pytest.raises(DatabaseUnavailable):
            await call(lambda c: None)
    found = {
        sample.name: sample.value
        for family in metrics.collect()
        for sample in family.samples
        if not sample.labels and sample.name.startswith("gateway_database")
    }
    assert found["gateway_database_unavailable_total"] == 2


async def test_a_refund_is_counted(world: World) -> None:
    world.script().answers(submit=[done()])
    job = await world.run()
    await world.core.money.refund(job.id, None, None, None, by=BY)
    assert (await scrape(world)).total("gateway_refunded_micros_total") == 30_000
