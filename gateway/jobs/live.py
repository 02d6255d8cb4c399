"""What is known of a job only while this process runs it: progress, a wish to cancel, its end."""

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable, Sequence

import msgspec

from gateway.jobs.records import Progress
from gateway.schemas import ProgressView

__all__ = ["MOST_LINES", "Live"]

MOST_LINES = 100
"""Lines of a job's log that are kept."""
MOST_CHARS = 500
"""Of a line."""


class Live:
    """A running job, in memory. Nothing here is needed to resume it."""

    def __init__(self) -> None:
        self._status: str | None = None
        self._progress: ProgressView | None = None
        self._images: int | None = None
        self._lines: deque[str] = deque(maxlen=MOST_LINES)
        self._logged = 0
        self._read: dict[str, int] = {}
        self.version = 0
        """One more with each change of what `told` gives."""
        self.listeners: set[Callable[[], None]] = set()
        """Called after each change, and at the end; they must not wait."""
        self.cancel = asyncio.Event()
        self.done = asyncio.Event()
        self.nudges: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        """By attempt: look at it now, and do not wait for the next look's time."""

    @property
    def watched(self) -> bool:
        """Whether somebody follows it here."""
        return bool(self.listeners)

    @property
    def status(self) -> str | None:
        """Finer than the stored one: `storing`."""
        return self._status

    @status.setter
    def status(self, status: str | None) -> None:
        if status != self._status:
            self._status = status
            self._changed()

    @property
    def images(self) -> int | None:
        """Pictures that have come, of a job that takes several calls."""
        return self._images

    @images.setter
    def images(self, images: int | None) -> None:
        if images != self._images:
            self._images = images
            self._changed()

    @property
    def progress(self) -> ProgressView | None:
        """How far it is."""
        if self._images is None:
            return self._progress
        return msgspec.structs.replace(self._progress or ProgressView(), images=self._images)

    def show(self, progress: ProgressView) -> None:
        """Say how far it is. Whoever waits or draws (again) does not store."""
        if progress.phase is not None:
            progress = msgspec.structs.replace(progress, phase=_plain(progress.phase))
        if progress != self._progress or self._status is not None:
            self._progress, self._status = progress, None
            self._changed()

    def log(self, attempt_id: str, lines: Sequence[str]) -> None:
        """Take what is new of an attempt's log.

        Args:
            attempt_id: whose.
            lines: all of its log as far as it is known.
        """
        new = lines[self._read.get(attempt_id, 0) :]
        if new:
            self._read[attempt_id] = len(lines)
            self._lines.extend(_plain(line) for line in new)
            self._logged += len(new)
            self._changed()

    def told(self) -> Progress | None:
        """All that a caller may see of it; None while that is nothing."""
        if self._status is None and self.progress is None and not self._logged:
            return None
        return Progress(
            status=self._status,
            shown=self.progress,
            lines=tuple(self._lines),
            logged=self._logged,
            read=dict(self._read),
        )

    def restore(self, stored: Progress | None) -> None:
        """Go on from what another process told of it."""
        if stored is not None:
            self._progress = stored.shown
            self._lines.extend(stored.lines)
            self._logged, self._read = stored.logged, dict(stored.read)

    def ask_cancel(self) -> None:
        """Wish for the job's end; who waits to look at an attempt of it wakes up."""
        self.cancel.set()
        for nudge in self.nudges.values():
            nudge.set()

    def end(self) -> None:
        """This process is done with it."""
        self.done.set()
        self._call()

    def _changed(self) -> None:
        self.version += 1
        self._call()

    def _call(self) -> None:
        for listener in tuple(self.listeners):
            listener()


def _plain(line: str) -> str:
    """A line without what a terminal obeys."""
    return "".join(c if c.isprintable() else " " for c in line[:MOST_CHARS])
