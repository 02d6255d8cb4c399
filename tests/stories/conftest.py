"""Stories: what a user is promised, over HTTP against `gateway serve`."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.gateway_process import GatewayProcess
from support.loopback_fal import LoopbackFal


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """One gateway for the stories that leave it as it was."""
    running = GatewayProcess(tmp_path_factory.mktemp("gateway") / "data").start()
    yield running
    running.close()


@pytest.fixture
def own_gateway(tmp_path: Path) -> Iterator[Callable[..., GatewayProcess]]:
    """Makes a gateway of this test's own, not started yet."""
    made: list[GatewayProcess] = []

    def make(**env: str) -> GatewayProcess:
        made.append(GatewayProcess(tmp_path / "data", **env))
        return made[-1]

    yield make
    for running in made:
        running.close()


@pytest.fixture
def database_env(request: pytest.FixtureRequest, database_kind: str) -> dict[str, str]:
    """The settings of a gateway on a database of the test's kind, an empty one."""
    if database_kind == "sqlite":
        return {}
    return {"GATEWAY_DATABASE_URL": request.getfixturevalue("database_url"), "GATEWAY_SECRET": "s" * 32}


@pytest.fixture(scope="module")
def fal() -> Iterator[LoopbackFal]:
    """A loopback fal for a file's stories; a call against its protocol fails them."""
    with LoopbackFal() as server:
        yield server
        assert server.violations == []


@pytest.fixture(scope="module")
def paid(fal: LoopbackFal, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A gateway with fal's key, for the stories that leave it as it was; its books are checked."""
    # Nothing listens there: fal makes the pictures, and an engine takes seconds to start.
    env = {**fal.env(), "GATEWAY_ENGINE": "127.0.0.1:9"}
    running = GatewayProcess(tmp_path_factory.mktemp("paid") / "data", **env).start()
    yield running
    running.check_books()
    running.close()
