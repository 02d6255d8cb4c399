"""What is known of a job only while this process runs it: progress, a wish to cancel, its end."""

import asyncio
from collections import defaultdict

from gateway.schemas import ProgressView

__all__ = ["Live"]


class Live:
    """A running job, in memory. Nothing here is needed to resume it."""

    def __init__(self) -> None:
        self.status: str | None = None
        """Finer than the stored one: `storing`."""
        self.progress: ProgressView | None = None
        self.images: int | None = None
        """Pictures that have come, of a job that takes several calls."""
        self.cancel = asyncio.Event()
        self.done = asyncio.Event()
        self.nudges: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        """By attempt: look at it now, and do not wait for the next look's time."""

    def ask_cancel(self) -> None:
        """Wish for the job's end; who waits to look at an attempt of it wakes up."""
        self.cancel.set()
        for nudge in self.nudges.values():
            nudge.set()
