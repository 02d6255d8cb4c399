"""What an engine has done since its start: counted for whoever watches it."""

import time

from providers.diffusers_modal.wire import Done, ErrorRecord

__all__ = ["Tally"]


class Tally:
    """What an engine has done since its start."""

    def __init__(self) -> None:
        self.done = self.failed = self.canceled = 0
        self._busy_s = 0.0
        self._since: float | None = None

    def count(self, answer: Done | ErrorRecord) -> None:
        """Count a job that has ended."""
        if isinstance(answer, Done):
            self.done += 1
        elif answer.code == "canceled":
            self.canceled += 1
        else:
            self.failed += 1

    def begin(self) -> None:
        """The worker runs jobs from here on."""
        self._since = time.monotonic()

    def rest(self) -> None:
        """The worker runs none."""
        self._busy_s, self._since = self.busy_s, None

    @property
    def busy_s(self) -> float:
        """Seconds in which jobs ran, up to now."""
        return self._busy_s + (0.0 if self._since is None else time.monotonic() - self._since)
