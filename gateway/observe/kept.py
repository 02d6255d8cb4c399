"""A value that takes a while to find out, kept for a while."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

__all__ = ["Kept"]

log = logging.getLogger(__name__)
T = TypeVar("T")


class Kept(Generic[T]):
    """Looks for it when somebody asks and it is old, by one task however many ask.

    Args:
        name: what it is, for the log.
        look: finds it out.
        monotonic: seconds.
        every_s: how old it may be.
        patience_s: how long who asks waits for a new one; the look goes on, for the next who asks.
    """

    def __init__(
        self,
        name: str,
        look: Callable[[], Awaitable[T]],
        monotonic: Callable[[], float],
        *,
        every_s: float,
        patience_s: float,
    ) -> None:
        self._name = name
        self._look = look
        self._monotonic = monotonic
        self._every_s = every_s
        self._patience_s = patience_s
        self._since = monotonic()
        self._value: T | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def age_s(self) -> float:
        """How old it is; before there was any, how long ago it might have been."""
        return max(0.0, self._monotonic() - self._since)

    async def get(self) -> T | None:
        """The newest that is to be had now, which may be old; None when there never was one."""
        if self._task is None and (self._value is None or self.age_s >= self._every_s):
            self._task = asyncio.create_task(self._renew(), name=self._name)
            self._task.add_done_callback(self._renewed)
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=self._patience_s)
        return self._value

    async def aclose(self) -> None:
        """Give up what is being looked for."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _renew(self) -> None:
        begun = self._monotonic()
        self._value = await self._look()
        self._since = begun

    def _renewed(self, task: asyncio.Task[None]) -> None:
        self._task = None
        if not task.cancelled() and task.exception() is not None:
            log.warning("%s cannot be found out now: %s", self._name, task.exception())
