"""A PostgreSQL that cannot be reached breaks no scrape, and is there again when it can."""

from collections.abc import Iterator

import pytest
from sqlalchemy import make_url
from support.cut_proxy import CutProxy
from support.job_world import World
from support.postgres import PostgresServer
from support.scraped import Scraped
from support.scripted_provider import done

from gateway.observe.collect import STALE_S


@pytest.fixture
def proxy(postgres: PostgresServer) -> Iterator[CutProxy]:
    with CutProxy(postgres.socket) as cutting:
        yield cutting


@pytest.fixture
def database_url(postgres: PostgresServer, proxy: CutProxy) -> Iterator[str]:
    """A database whose connections a test can cut, by its URL."""
    with postgres.empty_database() as url:
        where = f"127.0.0.1:{proxy.port}/{make_url(url).database}?sslmode=disable&gssencmode=disable"
        yield f"postgresql://postgres@{where}"


async def scrape(world: World) -> Scraped:
    text, media_type = await world.core.figures.scrape("")
    return Scraped(text.decode(), media_type)


async def test_it_is_away_and_comes_back(world: World, proxy: CutProxy) -> None:
    world.script().answers(submit=[done()])
    await world.run()
    before = await scrape(world)
    assert before.total("gateway_jobs_ended_total", outcome="completed") == 1
    proxy.refuses = True
    proxy.hang_up()
    world.clock.ahead_s += STALE_S + 1
    found = await scrape(world)
    assert found.all("gateway_jobs_ended_total") == {}
    assert (found.value("gateway_metrics_age_seconds") or 0) > STALE_S
    assert found.total("gateway_attempts_total") == 1
    while not found.value("gateway_database_unavailable_total"):
        found = await scrape(world)
    proxy.refuses = False
    while not found.all("gateway_jobs_ended_total"):
        found = await scrape(world)
    assert (found.value("gateway_metrics_age_seconds") or 0) < STALE_S
    assert found.total("gateway_jobs_ended_total", outcome="completed") == 1
