"""Runs whose process ends, whose submit gets no answer, or whose template goes away."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs
from support.job_checks import LOST_REPLY, Gate, charged, failed
from support.people import premium
from support.scripted_provider import done, handle
from support.template_folder import POSTER, write_template

from gateway import unknown
from gateway.accounts.principals import OPERATOR
from gateway.jobs.dispatch import Dispatcher
from gateway.jobs.records import JobRow
from gateway.schemas import TemplateRequest
from providers.base import Running, Succeeded
from templates.library import TemplateLibrary

pytestmark = pytest.mark.every_database

SCENE, LARGE = 30_000, 10_000
BODY = TemplateRequest(variables={"headline": "Hello"})


async def start(world: Any) -> str:
    return await world.core.runs.start("poster", BODY, premium())


async def resumed(world: Any, job_id: str) -> JobRow:
    await world.restart()
    await world.resume()
    return await world.ended(job_id)


async def test_a_run_goes_on_where_its_scene_was(world) -> None:
    gate = Gate(Running())
    world.script().answers([handle()], [gate])
    world.script("second").answers([done()])
    job_id = await start(world)
    await gate.reached.wait()
    await world.restart()
    world.script().poll.append(Succeeded(images=done().images))
    await world.resume()
    await charged(world, await world.ended(job_id), SCENE + LARGE)
    assert len(world.script().calls) == 1


async def test_a_run_goes_on_after_its_scene(world) -> None:
    gate = Gate(Running())
    world.script().answers([done()])
    world.script("second").answers([handle("second")], [gate])
    job_id = await start(world)
    await gate.reached.wait()
    await world.restart()
    world.script("second").poll.append(Succeeded(images=done().images))
    await world.resume()
    job = await world.ended(job_id)
    await charged(world, job, SCENE + LARGE)
    assert (len(world.script().calls), len(world.script("second").calls)) == (1, 1)
    assert len(job.steps) == 2


async def test_a_run_that_was_composed_and_not_kept_is_composed_again(world, monkeypatch) -> None:
    world.script().answers([done()])
    world.script("second").answers([done()])
    stopped = Gate(None)
    keep = world.core.runner._tools.collector.keep

    async def late(*arguments: Any, **more: Any) -> Any:
        await stopped()
        return await keep(*arguments, **more)

    monkeypatch.setattr(world.core.runner._tools.collector, "keep", late)
    job_id = await start(world)
    await stopped.reached.wait()
    job = await resumed(world, job_id)
    await charged(world, job, SCENE + LARGE)
    assert [image.name for image in job.images] == ["wide", "tall"]
    assert len(world.script().calls) == 1


async def lost(world: Any) -> str:
    world.script().answers([LOST_REPLY])
    job_id = await start(world)
    job = await world.ended(job_id)
    assert (job.status, [step.status for step in job.steps]) == ("unknown", ["unknown"])
    assert await world.money() == (0, SCENE + LARGE)
    return job_id


async def test_a_run_with_an_unknown_step_goes_on_when_that_is_found(world) -> None:
    job_id = await lost(world)
    world.script().poll.append(Succeeded(images=done().images))
    world.script("second").answers([done()])
    await unknown.adopt(world.core, job_id, "r-77")
    step = (await world.core.job(job_id, None)).steps[0]
    await world.ended(step.id)
    await charged(world, await world.ended(job_id), SCENE + LARGE)
    assert len(world.script().calls) == 1


async def test_a_run_with_an_unknown_step_that_was_not_taken_fails(world) -> None:
    job_id = await lost(world)
    await unknown.fail(world.core, job_id)
    await failed(world, await world.ended(job_id), "provider_not_taken")


async def test_a_template_that_is_gone_fails_the_run(world) -> None:
    gate = Gate(done())
    world.script().answers([gate])
    world.script("second").answers([done()])
    job_id = await start(world)
    await gate.reached.wait()
    world.core.templates = TemplateLibrary({})
    gate.open.set()
    await failed(world, await world.ended(job_id), "template_gone")


async def test_a_template_that_was_changed_is_told(world, tmp_path: Path) -> None:
    gate = Gate(done())
    world.script().answers([gate])
    world.script("second").answers([done()])
    job_id = await start(world)
    await gate.reached.wait()
    shutil.rmtree(tmp_path / "mine")
    write_template(tmp_path / "mine", "poster", POSTER.replace("A scene", "Another scene"))
    world.core.templates = TemplateLibrary.load(tmp_path / "mine")
    gate.open.set()
    job = await world.ended(job_id)
    await charged(world, job, SCENE + LARGE)
    assert "poster was changed while the run was under way" in job.warnings


async def test_a_run_waits_for_its_window(world) -> None:
    job_id = await world.core.runs.start("poster", structs.replace(BODY, schedule="window"), premium())
    job = await world.core.job(job_id, OPERATOR)
    assert (job.status, job.steps) == ("scheduled", ())
    world.script().answers([done()])
    world.script("second").answers([done()])
    world.clock.ahead_s = world.core.settings.batch_window_s + 1
    core = world.core
    dispatcher = Dispatcher(core.db, core.ambient, core.providers, core.runner, most=4)
    assert await dispatcher.run_due() == 1
    await charged(world, await world.ended(job_id), SCENE + LARGE)
