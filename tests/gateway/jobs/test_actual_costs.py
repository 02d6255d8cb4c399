"""What a job is charged and what it cost us, as its provider told it: kept with each attempt."""

from typing import Any

import pytest
from sqlalchemy import select
from support.job_checks import AWAY, Gate, charged, failed
from support.scripted_provider import done, handle
from support.small_registry import MODELS, model, registry_text, route, small_catalog

from billing.pricing import charge
from gateway.db.tables import attempt
from gateway.schemas import GenerateRequest
from providers.base import Running
from providers.errors import ContentRejected, ProviderFailed
from registry.catalog import Catalog
from registry.errors import UnknownPriceList
from registry.load import parse_registry

SECONDS = {"per_compute_second": "0.002", "typical_seconds": "3", "max_seconds": "8"}
COST = {"per_compute_second": "0.001", "typical_seconds": "3"}
ONE = {"num_images": None}
TIMED = {
    "timed": model(route("first", provider_cost=COST), price=SECONDS),
    "timed-single": model(route("first", provider_cost=dict(COST), parameters=ONE), price=dict(SECONDS)),
    "by-job": model(
        route("first", provider_cost={"flat": "0.01"}, parameters=dict(ONE)), price={"flat": "0.5"}
    ),
}


@pytest.fixture
def timed(world: Any) -> Any:
    world.core.catalog = small_catalog({**MODELS, **TIMED})
    return world


async def costs(world: Any) -> list[tuple[int | None, int | None, str | None]]:
    """Of each attempt: what its provider bills, what our list says, its units."""
    columns = (attempt.c.provider_cost_micros, attempt.c.listed_cost_micros, attempt.c.billable_units)
    query = select(*columns).order_by(attempt.c.number)
    return [tuple(row) for row in await world.db.read(lambda c: c.execute(query).all())]


async def test_the_providers_count_and_our_list_are_kept(world) -> None:
    world.script().answers([done(billable_units="1.5")])
    await charged(world, await world.run())
    assert await costs(world) == [(30_000, 20_000, "1.5")]


async def test_without_a_count_our_list_is_the_cost(world) -> None:
    world.script().answers([done(2)])
    await charged(world, await world.run(num_images=2), 60_000)
    assert await costs(world) == [(40_000, 40_000, None)]


async def test_what_ran_is_charged(timed) -> None:
    timed.script().answers([done(run_seconds=1.25, load_seconds=0.5)])
    job = await timed.run("timed")
    assert (job.quote_micros, job.ceiling_micros) == (6_000, 16_000)
    await charged(timed, job, 3_500)
    assert await costs(timed) == [(1_750, 3_000, None)]


async def test_the_providers_seconds_go_before_ours(timed) -> None:
    timed.script().answers([done(run_seconds=1.25, billable_units="2.5")])
    await charged(timed, await timed.run("timed"), 5_000)
    assert await costs(timed) == [(2_500, 3_000, "2.5")]


async def test_never_above_the_ceiling(timed) -> None:
    timed.script().answers([done(billable_units="60")])
    await charged(timed, await timed.run("timed"), 16_000)
    assert await costs(timed) == [(60_000, 3_000, "60")]


async def test_nobody_knows_what_ran(timed) -> None:
    timed.script().answers([done(2)])
    await charged(timed, await timed.run("timed", num_images=2), 12_000)


async def test_the_seconds_of_calls_that_gave_pictures(timed) -> None:
    timed.script().answers([done(run_seconds=1.0), ContentRejected("no"), done()])
    job = await timed.run("timed-single", num_images=3)
    # One call of 1 s, one of which nobody knows: 3 s. The one that gave nothing is free.
    await charged(timed, job, 2 * (1_000 + 3_000))


async def test_seconds_that_a_former_process_knew_count(timed) -> None:
    gate, running = Gate(done(run_seconds=9.0)), Gate(Running())
    timed.script().answers([done(run_seconds=1.5, load_seconds=0.25), handle()], [running, gate])
    job_id = await timed.submit("timed-single", num_images=2)
    await running.reached.wait()
    query = select(attempt.c.status).where(attempt.c.call_index == 0)
    while await timed.db.read(lambda c: c.execute(query).scalar_one()) != "succeeded":
        pass
    await timed.restart()
    timed.script().poll.clear()
    timed.script().answers([], [done(billable_units="2.25")])
    assert await timed.resume() == 1
    await charged(timed, await timed.ended(job_id), 2 * (1_750 + 2_250))


async def test_a_whole_jobs_price(timed) -> None:
    timed.script().answers([done(), ContentRejected("no"), done()])
    job = await timed.run("by-job", num_images=3)
    assert (job.quote_micros, job.ceiling_micros) == (500_000, 500_000)
    await charged(timed, job, 500_000)
    assert [cost for cost, _, _ in await costs(timed) if cost is not None] == [10_000, 10_000]


async def test_a_whole_jobs_price_is_not_due_for_nothing(timed) -> None:
    timed.script().answers([AWAY, ProviderFailed("broke")])
    await failed(timed, await timed.run("by-job"), "provider_failed")


async def test_a_price_list_is_what_the_quote_hold_and_charge_are_by(world) -> None:
    text = registry_text() + "price_lists: {partner: {about: a partner, percent_off: 10}}\n"
    world.core.catalog = Catalog(parse_registry(text, "small.yaml"))
    request = GenerateRequest(model="solo", inputs={"prompt": "x"})
    for percent, micros in ((0, 27_000), (50, 13_500)):
        plan = world.core.plan(request, percent_off=percent, price_list="partner")
        first = plan.candidates[0]
        assert (plan.quote.price_micros, plan.quote.ceiling_micros, plan.full_micros) == (
            micros,
            micros,
            27_000,
        )
        assert (first.ceiling_micros, charge(first.price, [(64, 48)], ceiling_micros=10**9)) == (
            micros,
            micros,
        )
    assert world.core.plan(request).quote.price_micros == 30_000
    with pytest.raises(UnknownPriceList):
        world.core.plan(request, price_list="gone")
