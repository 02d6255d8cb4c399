"""One built model and one warm engine for the whole folder: importing torch takes seconds."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support.engines import TOKEN

from providers.diffusers_modal.embedded.build import ensure
from providers.diffusers_modal.engine import Engine
from providers.diffusers_modal.server import EngineServer


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # torch's tensors under numpy 2: theirs to fix.
    mark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(mark)


@pytest.fixture(scope="session")
def models(tmp_path_factory) -> Path:
    """A cache folder that has `embedded:mini`."""
    folder = tmp_path_factory.mktemp("models")
    ensure("mini", folder)
    return folder


@pytest.fixture(scope="session")
def engine(models) -> Engine:
    return Engine(models)


@pytest.fixture
def data_dir(models, tmp_path) -> Path:
    """A data folder for an engine process that finds the built model."""
    (tmp_path / "models").symlink_to(models)
    return tmp_path


@pytest.fixture
async def port(engine) -> AsyncIterator[int]:
    """A server around the shared engine."""
    server = EngineServer(engine, TOKEN, version="1", read_timeout_s=0.3)
    yield await server.start("127.0.0.1", 0)
    assert await server.close()
