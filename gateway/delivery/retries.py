"""When a delivery is tried again. Pure."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from msgspec import Struct

__all__ = ["MAIL", "WEBHOOK", "Schedule", "retry_after_s"]

LONGEST_S = 86_400.0
"""Nobody is waited for longer, whatever they say."""


class Schedule(Struct, frozen=True, kw_only=True):
    """How often something is tried, and how far apart."""

    pauses_s: tuple[float, ...]
    """After each try that failed. After the last there is no more."""
    jitter: float = 0.0
    """The share of a pause that may be added to it, so that what failed together does not come together."""

    def pause_s(self, tries: int, chance: float) -> float | None:
        """Seconds until the next try; None: there is none.

        Args:
            tries: so far, 1 or more.
            chance: 0 to 1.
        """
        if tries > len(self.pauses_s):
            return None
        return self.pauses_s[tries - 1] * (1 + self.jitter * chance)


MAIL = Schedule(pauses_s=(5, 30, 120, 600, 1800, 3600, 7200, 14400, 28800))
"""The last try is a good 16 hours after the first."""
WEBHOOK = Schedule(
    pauses_s=(5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400),
    jitter=0.1,
)
"""That of Standard Webhooks: ten tries, the last some three days after the first."""


def retry_after_s(text: str | None, at_ms: int) -> float:
    """Seconds that a Retry-After field asks us to wait, at most a day; 0 when it asks nothing.

    Args:
        text: seconds, or a date (RFC 9110, section 10.2.3).
        at_ms: now, in milliseconds UTC.
    """
    if text is None:
        return 0.0
    text = text.strip()
    if text.isascii() and text.isdecimal():
        return min(float(text[:9]), LONGEST_S)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return 0.0
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    left = (moment - datetime.fromtimestamp(at_ms / 1000, UTC)).total_seconds()
    return min(max(left, 0.0), LONGEST_S)
