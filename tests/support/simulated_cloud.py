"""A provider's cloud in memory, with the truth of what it took: the invoices that a state machine checks against."""

import itertools
from collections import deque
from typing import Any, ClassVar

from support.scripted_provider import done

from providers.base import (
    Call,
    Failed,
    Handle,
    Poll,
    Provider,
    ProviderContext,
    Running,
    Succeeded,
    Unavailable,
    Waiting,
)
from providers.discovery import ProviderTypes
from providers.errors import (
    JobCanceled,
    ProviderFailed,
    ProviderUnavailable,
    RateLimited,
    RequestRejected,
    SubmitUnknown,
)
from registry.schema import Route

__all__ = ["CLOUDS", "SIMULATED_TYPES", "SUBMITS", "Cloud"]

_TARGET = "support.simulated_cloud:SimulatedProvider"
SIMULATED_TYPES = ProviderTypes(targets={"scripted": _TARGET, "scripted_idempotent": _TARGET})
SUBMITS = ("take", "take", "take", "take_and_lose_the_answer", "lose", "busy", "away", "refuse")
"""What may become of a submit."""


class Cloud:
    """What was taken, and how it stands."""

    def __init__(self) -> None:
        self.submits: deque[str] = deque()
        self.jobs: dict[str, str] = {}
        """waiting, running, done, failed or canceled, by the cloud's own id."""
        self.calls: dict[str, str] = {}
        """The cloud's id of each attempt that it took."""
        self.twice: list[str] = []
        """Attempts that were sent again although they had been taken: paid twice."""
        self.deaf = 0
        """So many looks are not answered."""
        self._numbers = itertools.count(1)

    def take(self, call_id: str) -> str:
        if call_id in self.calls:
            self.twice.append(call_id)
        found = f"r{next(self._numbers)}"
        self.jobs[found] = "waiting"
        self.calls[call_id] = found
        return found

    def end(self, found: str, how: str) -> None:
        if self.jobs[found] in ("waiting", "running"):
            self.jobs[found] = how


CLOUDS: dict[str, Cloud] = {}
"""By data folder."""


class SimulatedProvider:
    """Speaks the whole protocol with a `Cloud`."""

    type: ClassVar[str] = "scripted"

    def __init__(self, name: str, cloud: Cloud) -> None:
        self.name = name
        self.cloud = cloud

    @classmethod
    def unavailable(cls, context: ProviderContext, route: Route) -> Unavailable | None:
        return None

    @classmethod
    def create(cls, context: ProviderContext) -> Provider:
        return cls(context.name, CLOUDS[context.data_dir])

    def idempotent_submit(self, route: Route) -> bool:
        return False

    async def submit(self, call: Call) -> Handle | Succeeded:
        what = self.cloud.submits.popleft() if self.cloud.submits else "take"
        if what == "lose":
            raise SubmitUnknown("no answer")
        if what == "busy":
            raise RateLimited("busy", retry_after=0)
        if what == "away":
            raise ProviderUnavailable("away", retry_after=0)
        if what == "refuse":
            raise RequestRejected("no")
        found = self.cloud.take(call.id)
        if what != "take":
            raise SubmitUnknown("no answer")
        return Handle(provider=self.name, remote_id=found)

    def handle_for(self, route: Route, remote_id: str) -> Handle:
        return Handle(provider=self.name, remote_id=remote_id)

    async def poll(self, handle: Handle) -> Poll:
        if self.cloud.deaf:
            self.cloud.deaf -= 1
            raise ProviderUnavailable("away", retry_after=0)
        answers: dict[str, Any] = {
            "waiting": Waiting(position=1),
            "running": Running(phase="denoising", step=1, steps=2),
            "done": done(),
            "failed": Failed(error=ProviderFailed("it broke")),
            "canceled": Failed(error=JobCanceled("stopped")),
        }
        answer: Poll = answers[self.cloud.jobs[handle.remote_id]]
        return answer

    async def cancel(self, handle: Handle) -> None:
        self.cloud.end(handle.remote_id, "canceled")

    async def aclose(self) -> None:
        """Nothing is open."""
