"""Runs of templates that a backup has under way: steps that its provider took are brought home, no other is sent."""

from pathlib import Path

import pytest
from support.backups import Places, found_by_doctor, made, put_back
from support.job_checks import Gate
from support.job_world import World, world_of
from support.people import premium
from support.scripted_provider import done, handle
from support.template_folder import POSTER, write_template

from gateway import unknown
from gateway.schemas import TemplateRequest
from providers.base import Running
from templates.library import TemplateLibrary

pytestmark = [pytest.mark.every_database, pytest.mark.slow]

SCENE = 30_000
BODY = TemplateRequest(variables={"headline": "Hello"})


@pytest.fixture
def templates(world: World, tmp_path: Path) -> TemplateLibrary:
    write_template(tmp_path / "mine", "poster", POSTER)
    world.core.templates = TemplateLibrary.load(tmp_path / "mine")
    return world.core.templates


async def test_a_step_that_was_taken_is_brought_home_and_the_next_is_not_sent(
    world: World, templates: TemplateLibrary, places: Places, folder: Path
) -> None:
    gate = Gate(Running())
    world.script().answers([handle()], [gate])
    job_id = await world.core.runs.start("poster", BODY, premium())
    await gate.reached.wait()
    await made(world.core.settings, folder)
    for name, resume in (("elsewhere", False), ("moved", True)):
        with places.place(name) as there:
            await put_back(there, folder, resume=resume)
            assert await found_by_doctor(there) == []
            async with world_of(there) as again:
                again.core.templates = templates
                again.script().answers(poll=[done()])
                again.script("second").answers([done()])
                await again.resume()
                job = await again.ended(job_id)
                assert job.steps[0].status == "completed"
                if resume:
                    assert (job.status, len(again.script("second").calls)) == ("completed", 1)
                else:
                    # The second step is one that may be left out.
                    assert (job.status, job.steps[1].error_code) == ("completed", "restored")
                    assert any("is left out: The gateway was restored" in text for text in job.warnings)
                    assert [again.script(name).calls for name in ("first", "second")] == [[], []]
                    assert await again.money() == (SCENE, 0)
    gate.open.set()


async def test_a_step_that_was_being_sent_is_an_operators_to_settle(
    world: World, templates: TemplateLibrary, places: Places, folder: Path
) -> None:
    gate = Gate(done())
    world.script().answers([gate])
    job_id = await world.core.runs.start("poster", BODY, premium())
    await gate.reached.wait()
    await made(world.core.settings, folder)
    with places.place() as there:
        await put_back(there, folder)
        assert await found_by_doctor(there) == []
        async with world_of(there) as again:
            again.core.templates = templates
            await again.resume()
            job = await again.ended(job_id)
            assert (job.status, [step.status for step in job.steps]) == ("unknown", ["unknown"])
            await unknown.fail(again.core, job_id)
            job = await again.ended(job_id)
            assert (job.status, job.error_code) == ("failed", "provider_not_taken")
            assert (again.script().calls, await again.money()) == ([], (0, 0))
    world.script("second").answers([done()])
    gate.open.set()
