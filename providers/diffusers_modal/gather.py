"""Brings the jobs of a group together, which come one by one, so that they are sent as one."""

import asyncio
import copy
from collections.abc import Awaitable, Callable, Sequence

from msgspec import Struct

from providers.base import Group, Handle
from providers.diffusers_modal.wire import EngineJob

__all__ = ["Gatherer", "Send"]

Send = Callable[[Sequence[EngineJob]], Awaitable[Sequence[Handle]]]
"""Submits jobs together, once; a handle each, in their order. Raises as `Provider.submit` does, for all."""

PATIENCE_S = 2.0
"""Seconds from the first of a group to the moment when it goes without those that have not come: they were
canceled, or were sent before the gateway was stopped."""


class _Gathering(Struct):
    """A group that is not sent yet."""

    size: int
    send: Send
    jobs: list[EngineJob]
    handles: list[asyncio.Future[Handle]]
    timer: asyncio.TimerHandle


class Gatherer:
    """Holds the jobs of a group back until all of them are there.

    Args:
        patience_s: seconds that the first waits for the last.
    """

    def __init__(self, patience_s: float = PATIENCE_S) -> None:
        self._patience_s = patience_s
        self._groups: dict[str, _Gathering] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def submit(self, group: Group, job: EngineJob, send: Send) -> Handle:
        """Submit a job with the others of its group; its handle.

        Args:
            group: which one.
            job: one of it.
            send: submits them; that of the first to come is called.

        Raises:
            ProviderError: what `send` raised.
        """
        loop = asyncio.get_running_loop()
        gathering = self._groups.get(group.id)
        if gathering is None:
            timer = loop.call_later(self._patience_s, self._go, group.id)
            gathering = self._groups[group.id] = _Gathering(group.size, send, [], [], timer)
        handle: asyncio.Future[Handle] = loop.create_future()
        gathering.jobs.append(job)
        gathering.handles.append(handle)
        if len(gathering.jobs) >= gathering.size:
            self._go(group.id)
        return await handle

    async def aclose(self) -> None:
        """Send nothing more. Whoever waits is canceled."""
        for group_id in list(self._groups):
            gathering = self._groups.pop(group_id)
            gathering.timer.cancel()
            for handle in gathering.handles:
                handle.cancel()
        # What is on its way may have been taken: its answer is awaited.
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _go(self, group_id: str) -> None:
        gathering = self._groups.pop(group_id)
        gathering.timer.cancel()
        task = asyncio.create_task(self._send(gathering))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _send(self, gathering: _Gathering) -> None:
        # Who does not wait any more has not been sent, and nobody would hear of it.
        pairs = zip(gathering.jobs, gathering.handles, strict=True)
        waiting = [(job, handle) for job, handle in pairs if not handle.done()]
        if not waiting:
            return
        try:
            handles = await gathering.send([job for job, _ in waiting])
        except Exception as error:  # noqa: BLE001 - each of them raises it
            for _, handle in waiting:
                if not handle.done():
                    # One for each who raises it: a traceback is of one task.
                    handle.set_exception(copy.copy(error))
            return
        for (_, handle), found in zip(waiting, handles, strict=True):
            if not handle.done():
                handle.set_result(found)
