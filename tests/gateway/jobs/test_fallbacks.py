"""When the first model fails another serves: under an intent, or where the caller lists it, and only then."""

from typing import Any

import pytest
from support.job_checks import LOST_REPLY, PRICE, charged, failed, tries
from support.people import premium
from support.scripted_provider import done

from gateway.jobs.records import JobRow
from gateway.schemas import GenerateRequest
from providers.errors import ContentRejected, ProviderFailed, RequestRejected

BROKE = ProviderFailed("it broke")


async def run(world: Any, **request: Any) -> JobRow:
    body = GenerateRequest(inputs={"prompt": "a cat"}, **request)
    return await world.ended(await world.core.admission.submit(body, premium()))


async def test_another_model_serves_where_the_caller_lists_it(world) -> None:
    world.script().answers([BROKE])
    world.script("second").answers([done()])
    job = await run(world, model="solo", fallbacks=("dear",))
    await charged(world, job, 50_000)
    assert (job.model, job.provider) == ("dear", "second")
    assert tries(job) == [("first", "failed", "provider_failed"), ("second", "succeeded", None)]
    assert job.warnings == ("solo failed and dear served",)
    assert (job.quote_micros, job.ceiling_micros) == (PRICE, 50_000)
    view = world.core.view(job)
    assert [attempt.model for attempt in view.attempts] == ["solo", "dear"]
    assert (view.routing.requested, view.model) == ("solo", "dear")


async def test_what_it_costs_is_the_price_of_the_one_that_served(world) -> None:
    world.script().answers([done()])
    job = await run(world, model="solo", fallbacks=("dear",))
    await charged(world, job, PRICE)
    assert job.ceiling_micros == 50_000


async def test_a_named_model_is_not_changed_otherwise(world) -> None:
    world.script().answers([BROKE])
    await failed(world, await run(world, model="solo"), "provider_failed")
    assert world.script("second").calls == []


@pytest.mark.parametrize("error", [ContentRejected("no"), RequestRejected("no")])
async def test_never_for_what_the_request_is_refused_for(world, error) -> None:
    world.script().answers([error])
    await failed(world, await run(world, model="solo", fallbacks=("dear",)), error.code)


async def test_never_after_a_lost_answer(world) -> None:
    world.script().answers([LOST_REPLY])
    job = await run(world, model="solo", fallbacks=("dear",))
    assert job.status == "unknown"
    assert world.script("second").calls == []


async def test_under_an_intent_the_next_that_costs_no_more(world) -> None:
    world.script().answers([BROKE])
    world.script("second").answers([done()])
    job = await run(world, intent="ranked")
    await charged(world, job, 25_000)
    assert (job.model, job.ceiling_micros) == ("cheap", PRICE)


async def test_an_empty_list_says_none(world) -> None:
    world.script().answers([BROKE])
    await failed(world, await run(world, intent="ranked", fallbacks=()), "provider_failed")


async def test_all_of_them_fail(world) -> None:
    world.script().answers([BROKE])
    world.script("second").answers([BROKE])
    job = await run(world, model="solo", fallbacks=("dear",))
    await failed(world, job, "provider_failed")
    assert job.provider == "second"


async def test_one_of_other_counts_takes_all_its_calls(world) -> None:
    """Two calls of one picture fail; the model after it makes both in one."""
    world.script().answers([BROKE, BROKE])
    world.script("second").answers([done(2)])
    body = GenerateRequest(model="single", inputs={"prompt": "a cat", "num_images": 2}, fallbacks=("cheap",))
    job = await world.ended(await world.core.admission.submit(body, premium()))
    await charged(world, job, 50_000)
    assert [call.num_images for call in world.script("second").calls] == [2]


async def test_some_pictures_are_better_than_another_model(world) -> None:
    world.script().answers([done(), BROKE])
    body = GenerateRequest(model="single", inputs={"prompt": "a cat", "num_images": 2}, fallbacks=("cheap",))
    job = await world.ended(await world.core.admission.submit(body, premium()))
    await charged(world, job, PRICE)
    assert world.script("second").calls == []


async def test_a_restart_goes_on_with_the_model_that_serves(world) -> None:
    world.script().answers([BROKE])
    world.script("second").answers([done()])
    world.core.runner.start = lambda *_, **__: None
    body = GenerateRequest(model="solo", inputs={"prompt": "a cat"}, fallbacks=("dear",))
    job_id = await world.core.admission.submit(body, premium())
    world.new_process()
    await world.resume()
    job = await world.ended(job_id)
    await charged(world, job, 50_000)
    await world.restart()
    assert (await world.core.job(job_id, None)).model == "dear"


async def test_one_that_fails_again_and_again_is_left_alone(world) -> None:
    world.script().answers([BROKE] * 5)
    for _ in range(5):
        assert (await run(world, model="solo")).status == "failed"
    world.script("second").answers([done()] * 3)
    # A route of the same model goes first, ...
    assert tries(await run(world, model="two")) == [("second", "succeeded", None)]
    # ... the intent takes another model and says why, ...
    job = await run(world, intent="ranked")
    assert (job.model, [p.model for p in job.routing.passed_over]) == ("dear", ["solo"])
    assert "first/make failed 5 times in a row; it is tried again in" in job.routing.passed_over[0].reason
    # ... and so does a request that lists one.
    assert (await run(world, model="solo", fallbacks=("dear",))).model == "dear"
    # What nothing else can serve is tried all the same, and opens it again.
    world.script().answers([done(), done()])
    assert (await run(world, model="solo")).status == "completed"
    assert (await run(world, intent="ranked")).model == "solo"


async def test_time_opens_it_again(world) -> None:
    world.script().answers([BROKE] * 5)
    for _ in range(5):
        await run(world, model="solo")
    world.clock.ahead_s += 31
    world.script().answers([done()])
    assert (await run(world, intent="ranked")).model == "solo"
