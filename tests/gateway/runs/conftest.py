"""A real core with a template of two steps; its providers answer by script."""

from pathlib import Path

import pytest
from support.job_world import World, no_blocking_calls
from support.job_world import world as scripted_world
from support.template_folder import POSTER, write_template

from templates.library import TemplateLibrary

__all__ = ["no_blocking_calls", "scripted_world"]


@pytest.fixture
def world(scripted_world: World, tmp_path: Path) -> World:
    write_template(tmp_path / "mine", "poster", POSTER)
    scripted_world.core.templates = TemplateLibrary.load(tmp_path / "mine")
    return scripted_world
