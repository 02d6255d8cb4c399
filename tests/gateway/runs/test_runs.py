"""A template's run: one quote, one hold, one cost; its steps are jobs of their own."""

import asyncio
from io import BytesIO
from typing import Any

import pytest
from PIL import Image
from sqlalchemy import select, text
from support.job_checks import Gate, charged, failed
from support.people import premium
from support.scripted_provider import done, handle

from billing.tables import hold
from gateway.accounts.principals import OPERATOR
from gateway.db.tables import job as job_table
from gateway.jobs import queries
from gateway.jobs.records import JobRow
from gateway.problems import Problem
from gateway.schemas import TemplateRequest
from providers.base import Failed, Running, Unavailable
from providers.errors import JobCanceled, ProviderFailed
from registry.errors import InvalidInputs

pytestmark = pytest.mark.every_database

SCENE, LARGE = 30_000, 10_000
"""What a picture of each step costs."""


async def start(world: Any, *, headline: str = "Hello", **more: Any) -> str:
    body = TemplateRequest(variables={"headline": headline, **more.pop("variables", {})}, **more)
    return await world.core.runs.start("poster", body, premium())


async def run(world: Any, **more: Any) -> JobRow:
    return await world.ended(await start(world, **more))


async def holds(world: Any) -> list[tuple[int, str]]:
    query = select(hold.c.amount_micros, hold.c.status).order_by(hold.c.amount_micros.desc())
    return [tuple(row) for row in await world.db.read(lambda c: c.execute(query).all())]


async def size_of(world: Any, image: Any) -> tuple[str | None, tuple[int, int]]:
    data = await world.core.images.get(image.storage_key)
    with Image.open(BytesIO(data)) as picture:
        return picture.format, picture.size


def says(*counts: int) -> list[Any]:
    return [done(count) for count in counts]


async def test_a_run_has_one_hold_and_one_cost(world) -> None:
    gate = Gate(done())
    world.script().answers([gate])
    world.script("second").answers(says(1))
    job_id = await start(world)
    await gate.reached.wait()
    assert await holds(world) == [(SCENE + LARGE, "open"), (0, "open")]
    assert await world.money() == (0, SCENE + LARGE)
    gate.open.set()
    job = await world.ended(job_id)
    await charged(world, job, SCENE + LARGE)
    assert [(step.step, step.status, step.due_micros, step.charge_micros) for step in job.steps] == [
        ("scene", "completed", SCENE, 0),
        ("large", "completed", LARGE, 0),
    ]


async def test_the_outputs_are_exactly_sized_and_named(world) -> None:
    world.script().answers(says(1))
    world.script("second").answers(says(1))
    job = await run(world)
    assert [image.name for image in job.images] == ["wide", "tall"]
    assert [await size_of(world, image) for image in job.images] == [
        ("PNG", (240, 80)),
        ("JPEG", (90, 200)),
    ]


async def test_a_step_takes_the_picture_of_the_step_before(world) -> None:
    world.script().answers(says(1))
    world.script("second").answers(says(1))
    job = await run(world)
    sent = world.script("second").calls[0].payload["image_url"]
    scene = job.steps[0].images[0]
    assert (sent.key, sent.sha256, sent.width) == (scene.storage_key, scene.sha256, 64)
    assert await world.core.media.read(sent) == await world.core.images.get(scene.storage_key)


async def test_each_variant_has_a_scene_of_its_own(world) -> None:
    world.script().answers(says(2))
    world.script("second").answers(says(1, 1))
    job = await run(world, count=2)
    assert [image.name for image in job.images] == ["wide-1", "tall-1", "wide-2", "tall-2"]
    await charged(world, job, 2 * (SCENE + LARGE))
    assert len({image.sha256 for image in job.images}) == 4


async def test_what_came_is_what_is_paid(world) -> None:
    world.script().answers(says(1))  # of two
    world.script("second").answers(says(1))
    job = await run(world, count=2)
    assert [image.name for image in job.images] == ["wide", "tall"]
    await charged(world, job, SCENE + LARGE)


async def test_a_step_that_fails_costs_nothing(world) -> None:
    world.script().answers([ProviderFailed("no")])
    job = await run(world)
    await failed(world, job, "provider_failed")
    assert job.error_message.startswith("scene: no")
    assert len(job.steps) == 1


async def test_an_optional_step_that_fails_is_left_out(world) -> None:
    world.script().answers(says(1))
    world.script("second").answers([ProviderFailed("no")])
    job = await run(world)
    await charged(world, job, SCENE)
    assert "large is left out: no" in job.warnings
    assert len(job.images) == 2


async def test_a_step_that_no_model_can_do_is_left_out_before_it_is_quoted(world) -> None:
    world.script("second").unavailable = Unavailable(reason="no key")
    world.script().answers(says(1))
    job = await run(world)
    await charged(world, job, SCENE)
    assert job.quote_micros == SCENE
    assert "large is left out: no key" in job.warnings


async def test_cancel_reaches_the_step_that_runs(world) -> None:
    gate = Gate(Running())

    async def stop() -> None:
        world.script().poll.append(Failed(error=JobCanceled("stopped")))

    world.script().answers([handle()], [gate], [stop])
    job_id = await start(world)
    await gate.reached.wait()
    gate.open.set()
    await world.core.cancel(job_id, OPERATOR)
    job = await world.ended(job_id)
    await failed(world, job, "canceled", "canceled")
    assert world.script().canceled == [handle()]
    assert [step.status for step in job.steps] == ["canceled"]


async def test_a_list_has_runs_and_not_their_steps(world) -> None:
    world.script().answers(says(1, 1))
    world.script("second").answers(says(1))
    mine = await run(world)
    other = await world.run("free")
    listed = await world.db.read(lambda c: queries.list_jobs(c, OPERATOR, limit=10))
    assert [found.id for found in listed] == [other.id, mine.id]
    assert listed[1].steps == mine.steps
    assert await world.db.read(lambda c: queries.count_jobs(c, OPERATOR)) == {"completed": 2}


async def test_usage_has_the_charge_at_the_template_and_the_costs_at_the_models(world) -> None:
    world.script().answers(says(1))
    world.script("second").answers(says(1))
    await run(world)
    query = text("select model, jobs, images, charge_micros, cost_micros from usage_day order by model")
    assert [tuple(row) for row in await world.db.read(lambda c: c.execute(query).all())] == [
        ("grow", 1, 1, 0, 20_000),
        ("solo", 1, 1, 0, 20_000),
        ("template:poster", 1, 2, SCENE + LARGE, 0),
    ]


async def test_the_progress_of_a_step_is_the_runs(world) -> None:
    gate = Gate(Failed(error=ProviderFailed("no")))
    world.script().answers([handle()], [Running(phase="denoising", step=3, steps=9), gate])
    job_id = await start(world)
    await gate.reached.wait()
    live = world.core.runner.live(job_id)
    changed = asyncio.Event()
    live.listeners.add(changed.set)
    async with asyncio.timeout(20):
        while live.progress is None or live.progress.phase != "scene: denoising":
            await changed.wait()
            changed.clear()
    assert (live.progress.step, live.progress.steps) == (3, 9)
    gate.open.set()
    await failed(world, await world.ended(job_id), "provider_failed")


# -- refused before anything is spent -----------------------------------------------------


async def nothing_was_made(world: Any) -> None:
    assert await holds(world) == []
    assert await world.db.read(lambda c: c.execute(select(job_table.c.id)).all()) == []


@pytest.mark.parametrize(
    ("more", "pointer", "code"),
    [
        ({"headline": "incomprehensibilities " * 3}, "/variables/headline", "text_too_long"),
        ({"headline": "\ue000"}, "/variables/headline", "no_glyph"),
        ({"headline": ""}, "/variables/headline", "missing"),
        ({"variables": {"photo": "upl_nobody"}}, "/variables/photo", "invalid_reference"),
        ({"variables": {"photo": "data:image/png;base64,AAAA"}}, "/variables/photo", "invalid_reference"),
    ],
)  # fmt: skip
async def test_wrong_variables(world, more: dict[str, Any], pointer: str, code: str) -> None:
    with pytest.raises(Problem) as caught:
        await start(world, **more)
    document = caught.value.document
    assert document.code == "invalid_variables"
    assert {(fault.pointer, fault.code) for fault in document.errors} == {(pointer, code)}
    await nothing_was_made(world)


@pytest.mark.parametrize(
    ("more", "pointer", "code"),
    [
        ({"options": {"max_cost": "0.03"}}, "/options/max_cost", "too_expensive"),
        ({"options": {"n": 2}}, "/options/n", "not_allowed"),
        ({"options": {"output_format": "jpeg"}}, "/options/output_format", "not_allowed"),
        ({"options": {"allow_downgrade": True}}, "/options/allow_downgrade", "not_allowed"),
        ({"options": {"steps": 1000}}, "/options/steps", "out_of_range"),
        ({"options": {"colour": 1}}, "/options/colour", "unknown_parameter"),
        ({"outputs": ("wide", "square")}, "/outputs/1", "not_allowed"),
    ],
)
async def test_wrong_options(world, more: dict[str, Any], pointer: str, code: str) -> None:
    with pytest.raises(InvalidInputs) as caught:
        await start(world, **more)
    assert [(fault.pointer, fault.code) for fault in caught.value.faults] == [(pointer, code)]
    await nothing_was_made(world)


async def test_a_model_that_cannot_run_is_told(world) -> None:
    world.script().unavailable = Unavailable(reason="no key", setting="SCRIPT_KEY")
    with pytest.raises(Problem) as caught:
        await start(world)
    assert (caught.value.document.code, caught.value.document.setting) == (
        "provider_not_configured",
        "SCRIPT_KEY",
    )
    await nothing_was_made(world)


async def test_some_outputs_in_another_format(world) -> None:
    world.script().answers(says(1))
    world.script("second").answers(says(1))
    job = await run(world, outputs=("tall",), format="pdf")
    assert [(image.name, image.content_type) for image in job.images] == [("tall", "application/pdf")]
    data = await world.core.images.get(job.images[0].storage_key)
    assert data is not None
    assert data[:5] == b"%PDF-"
