"""A provider that does what a test wrote down: it stands in for a cloud that cannot be had here.

It keeps the whole protocol of `providers.base.Provider`; only its answers come from a script.
"""

import io
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, ClassVar

from PIL import Image

from providers.base import (
    Call,
    Handle,
    ImageBytes,
    Poll,
    Provider,
    ProviderContext,
    Succeeded,
    Unavailable,
    Waiting,
)
from providers.discovery import ProviderTypes
from providers.errors import RequestRejected
from registry.schema import Route

Step = Any
"""An exception (raised), a function (awaited), or an answer (returned)."""

SCRIPTED_TYPES = ProviderTypes(
    targets={
        "scripted": "support.scripted_provider:ScriptedProvider",
        "scripted_idempotent": "support.scripted_provider:IdempotentProvider",
    }
)


def picture(width: int = 64, height: int = 48, kind: str = "PNG", colour: str = "red") -> bytes:
    """A real picture file."""
    out = io.BytesIO()
    Image.effect_noise((width, height), 60).convert("RGB").save(out, kind)
    return out.getvalue()


def done(count: int = 1, **more: Any) -> Succeeded:
    """A success with so many pictures of 64x48."""
    image = ImageBytes(data=picture(), content_type="image/png", seed=7)
    return Succeeded(images=(image,) * count, **more)


def handle(provider: str = "first", remote_id: str = "r1") -> Handle:
    """A job that the provider took."""
    return Handle(provider=provider, remote_id=remote_id, extra={"url": "https://queue.test/r1"})


class Script:
    """What one provider instance answers, and what it was asked."""

    def __init__(self) -> None:
        self.submit: deque[Step] = deque()
        self.poll: deque[Step] = deque()
        self.cancel: deque[Step] = deque()
        self.unavailable: Unavailable | None = None
        self.calls: list[Call] = []
        self.polled: list[Handle] = []
        self.canceled: list[Handle] = []

    def answers(
        self, submit: Iterable[Step] = (), poll: Iterable[Step] = (), cancel: Iterable[Step] = ()
    ) -> None:
        """Write more of it down."""
        self.submit.extend(submit)
        self.poll.extend(poll)
        self.cancel.extend(cancel)


SCRIPTS: dict[tuple[str, str], Script] = {}
"""By data folder and the registry's name of the provider."""


def script_of(data_dir: str, name: str) -> Script:
    """The script of one instance, made when first asked for."""
    return SCRIPTS.setdefault((data_dir, name), Script())


class ScriptedProvider:
    """Answers by its script; an empty one waits, and refuses a submit that nobody wrote down."""

    type: ClassVar[str] = "scripted"

    def __init__(self, script: Script) -> None:
        self.script = script

    @classmethod
    def unavailable(cls, context: ProviderContext, route: Route) -> Unavailable | None:
        return script_of(context.data_dir, context.name).unavailable

    @classmethod
    def create(cls, context: ProviderContext) -> Provider:
        return cls(script_of(context.data_dir, context.name))

    def idempotent_submit(self, route: Route) -> bool:
        return False

    async def submit(self, call: Call) -> Handle | Succeeded:
        self.script.calls.append(call)
        return await _play(self.script.submit.popleft())  # an unwritten submit is an IndexError

    def handle_for(self, route: Route, remote_id: str) -> Handle:
        if not remote_id.startswith("r"):
            raise RequestRejected("That is no id of mine: they start with r.", provider="scripted")
        return Handle(provider=route.provider, remote_id=remote_id)

    async def poll(self, handle: Handle) -> Poll:
        self.script.polled.append(handle)
        return await _play(self.script.poll.popleft()) if self.script.poll else Waiting()

    async def cancel(self, handle: Handle) -> None:
        self.script.canceled.append(handle)
        if self.script.cancel:
            await _play(self.script.cancel.popleft())

    async def aclose(self) -> None:
        """Nothing is open."""


class IdempotentProvider(ScriptedProvider):
    """One that knows a `Call.id` again."""

    type: ClassVar[str] = "scripted_idempotent"

    def idempotent_submit(self, route: Route) -> bool:
        return True


async def _play(step: Step) -> Any:
    if isinstance(step, BaseException):
        raise step
    if callable(step):
        act: Callable[[], Awaitable[Any]] = step
        return await act()
    return step
