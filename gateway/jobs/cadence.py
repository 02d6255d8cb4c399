"""How often to look at a job: seldom while it cannot be done, often when it should be.

A job that is new is looked at soon and then less and less. Once it is known how long jobs of an
endpoint usually take, a look that cannot find the job done is put off: half of what is left is
waited for, so that the looks gather where the end is.
"""

from registry.schema import Route

__all__ = ["Cadence"]

SOONEST_S = 0.05
LATEST_S = 2.0
MEMORY = 0.3
"""Weight of the newest job in what is usual."""


class Cadence:
    """Delays between looks, and what is usual for each endpoint. In memory: it is but a hint."""

    def __init__(self) -> None:
        self._usual: dict[str, float] = {}

    def usual_s(self, endpoint: str) -> float | None:
        """Seconds that a job of this endpoint usually takes; None before the first has ended."""
        return self._usual.get(endpoint)

    def expected_s(self, route: Route) -> float | None:
        """Seconds that a job of a route usually takes: as was seen here, else as the registry says."""
        typical = route.provider_cost.typical_seconds
        return self.usual_s(route.endpoint) or (None if typical is None else float(typical))

    def ended(self, endpoint: str, seconds: float) -> None:
        """Learn from a job that ended well after so many seconds."""
        known = self._usual.get(endpoint, seconds)
        self._usual[endpoint] = known + MEMORY * (seconds - known)

    def delay_s(self, endpoint: str, elapsed_s: float) -> float:
        """Seconds until the next look at a job that has run for `elapsed_s`."""
        by_age = min(LATEST_S, max(SOONEST_S, elapsed_s / 10))
        usual = self._usual.get(endpoint)
        left = 0.0 if usual is None else 0.9 * usual - elapsed_s
        return max(by_age, min(LATEST_S, left / 2))
