"""Leaves a provider alone that fails again and again, so that others serve meanwhile.

As Envoy's outlier detection does it: after five failures in a row it is shut for 30 seconds, the next time
for 60, at most for 300; what succeeds opens it and takes one step back. A shut one still serves what
nothing else can. In memory, of this process: it is but a hint.
"""

import logging
from collections.abc import Callable

from providers.errors import (
    CredentialsRejected,
    MalformedOutput,
    ProviderError,
    ProviderFailed,
    ProviderQuota,
    ProviderUnavailable,
    TargetUnavailable,
)
from registry.schema import Route

__all__ = ["IN_A_ROW", "LONGEST_S", "SHUT_S", "Outliers"]

log = logging.getLogger(__name__)

IN_A_ROW = 5
SHUT_S = 30.0
LONGEST_S = 300.0
# What says that a whole provider is in trouble, and what says it of one endpoint alone. The rest is no
# fault of theirs: a prompt that they refuse, too many requests of ours.
OF_PROVIDER = (ProviderUnavailable, CredentialsRejected, ProviderQuota)
OF_ENDPOINT = (ProviderFailed, TargetUnavailable, MalformedOutput)


class _Record:
    """What is known of one provider, or of one endpoint."""

    def __init__(self) -> None:
        self.failures = 0
        self.times_shut = 0
        self.until = 0.0


class Outliers:
    """Who failed how often.

    Args:
        monotonic: seconds of a clock that only goes forward.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._records: dict[tuple[str, ...], _Record] = {}

    def succeeded(self, route: Route) -> None:
        """A job of this route gave its pictures."""
        for key in (_provider(route), _endpoint(route)):
            record = self._records.get(key)
            if record is None:
                continue
            record.failures, record.until = 0, 0.0
            record.times_shut = max(0, record.times_shut - 1)
            if not record.times_shut:
                del self._records[key]

    def failed(self, route: Route, error: ProviderError) -> None:
        """An attempt at this route ended so."""
        if isinstance(error, OF_PROVIDER):
            key = _provider(route)
        elif isinstance(error, OF_ENDPOINT):
            key = _endpoint(route)
        else:
            return
        record = self._records.setdefault(key, _Record())
        record.failures += 1
        if record.failures >= IN_A_ROW:
            record.failures = 0
            record.times_shut += 1
            seconds = min(LONGEST_S, SHUT_S * record.times_shut)
            record.until = self._monotonic() + seconds
            log.warning("%s failed %d times in a row and is left alone for %g s: %s",
                        " ".join(key), IN_A_ROW, seconds, error.code)  # fmt: skip

    def shut(self, route: Route) -> str | None:
        """Why a route is left alone now; None when it is not."""
        for key in (_provider(route), _endpoint(route)):
            record = self._records.get(key)
            left = 0.0 if record is None else record.until - self._monotonic()
            if left > 0:
                return f"{key[-1]} failed {IN_A_ROW} times in a row; it is tried again in {left:.0f} s"
        return None

    def shut_now(self) -> list[tuple[str, str]]:
        """Who is left alone now: a provider with one of its endpoints; without one, all of it."""
        now = self._monotonic()
        return [(key[0], "".join(key[1:])) for key, record in self._records.items() if record.until > now]


def _provider(route: Route) -> tuple[str, ...]:
    return (route.provider,)


def _endpoint(route: Route) -> tuple[str, ...]:
    return (route.provider, route.endpoint)
