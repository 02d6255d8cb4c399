"""How late the event loop is: a timer that notes by how much it was."""

import asyncio
from collections.abc import Callable

from gateway.observe.metrics import Metrics

__all__ = ["EVERY_S", "LoopLag"]

EVERY_S = 0.25


class LoopLag:
    """Notes it as long as it runs.

    Args:
        metrics: counts.
        beat: called each time, for what is to be shown although nobody asks.
    """

    def __init__(self, metrics: Metrics, beat: Callable[[], None] = lambda: None) -> None:
        self._metrics = metrics
        self._beat = beat
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin, in the loop that runs."""
        self._again(asyncio.get_running_loop())

    def stop(self) -> None:
        """Stop. Idempotent."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _again(self, loop: asyncio.AbstractEventLoop) -> None:
        due = loop.time() + EVERY_S
        self._timer = loop.call_at(due, self._tick, loop, due)

    def _tick(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        self._metrics.lag(max(0.0, loop.time() - due))
        self._again(loop)
        self._beat()
