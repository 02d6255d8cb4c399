"""Warm engines and tiny models for the whole folder: importing torch takes seconds."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.engines import TOKEN
from support.tiny_pipelines import build_glm, build_sdxl, glm_spec, sdxl_spec

from providers.diffusers_modal.engine import Engine
from providers.diffusers_modal.server import EngineServer
from providers.diffusers_modal.wire import PipelineSpec


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # torch's tensors under numpy 2: theirs to fix.
    mark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(mark)


@pytest.fixture(scope="module")
def shared(tmp_path_factory) -> Iterator[Any]:
    """A control plane that has the app. One for a file: a container takes seconds to start."""
    # Here: Modal's client takes a second to import, and most files do without.
    from support.modal_backend import deployed

    with deployed(tmp_path_factory.mktemp("plane")) as plane:
        yield plane


@pytest.fixture(scope="session")
def engine() -> Engine:
    return Engine()


@pytest.fixture(scope="session")
def other_engine() -> Engine:
    """For the tiny pipelines, so that `engine` keeps its own."""
    engine = Engine()
    engine.warm()
    return engine


@pytest.fixture(scope="session")
def sdxl(other_engine, tmp_path_factory) -> PipelineSpec:
    return sdxl_spec(build_sdxl(tmp_path_factory.mktemp("tiny") / "sdxl"))


@pytest.fixture(scope="session")
def glm(other_engine, tmp_path_factory) -> PipelineSpec:
    return glm_spec(build_glm(tmp_path_factory.mktemp("tiny") / "glm"))


@pytest.fixture
def data_dir(tmp_path) -> Path:
    """A data folder for an engine process."""
    return tmp_path


@pytest.fixture
async def port(engine) -> AsyncIterator[int]:
    """A server around the shared engine."""
    server = EngineServer(engine, TOKEN, version="1", read_timeout_s=0.3)
    yield await server.start("127.0.0.1", 0)
    assert await server.close()
