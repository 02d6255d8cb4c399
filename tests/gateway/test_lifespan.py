"""An application's lifespan around a block."""

from typing import Any

import pytest

from gateway.app import create_app
from gateway.lifespan import running
from gateway.settings import load_settings
from registry.errors import RegistryError


class App:
    """An ASGI application that notes what it is told and answers as it is told to."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.seen: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "lifespan"
        for name in ("startup", "shutdown"):
            assert (await receive())["type"] == f"lifespan.{name}"
            self.seen.append(name)
            answer = self.answers.get(name, "complete")
            if isinstance(answer, Exception):
                await send({"type": f"lifespan.{name}.failed", "message": "a long story"})
                raise answer
            if answer != "return":
                await send({"type": f"lifespan.{name}.{answer}", "message": "why"})
            if answer != "complete":
                return


async def test_start_block_stop() -> None:
    app = App()
    async with running(app):
        assert app.seen == ["startup"]
    assert app.seen == ["startup", "shutdown"]


async def test_a_block_that_breaks_still_stops() -> None:
    app = App()
    with pytest.raises(KeyError):
        async with running(app):
            raise KeyError
    assert app.seen == ["startup", "shutdown"]


@pytest.mark.parametrize(
    ("answer", "raised"),
    [
        (OSError("no port"), OSError),
        (ExceptionGroup("tasks", [ExceptionGroup("more", [OSError("no port")])]), OSError),
        (ExceptionGroup("tasks", [OSError("a"), KeyError("b")]), ExceptionGroup),
        ("failed", RuntimeError),
        ("return", RuntimeError),
    ],
)
async def test_a_start_that_fails_raises_what_it_was(answer, raised) -> None:
    with pytest.raises(raised):
        async with running(App(startup=answer)):
            raise AssertionError("it did not start")


async def test_a_stop_that_fails() -> None:
    with pytest.raises(OSError, match="late"):
        async with running(App(shutdown=OSError("late"))):
            pass


async def test_the_gateways_own_failure_keeps_its_name(tmp_path) -> None:
    env = {"GATEWAY_DATA_DIR": str(tmp_path), "GATEWAY_REGISTRY": str(tmp_path / "none.yaml")}
    with pytest.raises(RegistryError, match="cannot be read"):
        async with running(create_app(load_settings(env))):
            pass
