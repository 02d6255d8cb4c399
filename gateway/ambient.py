"""The one place for time, ids and randomness, so that a test can drive all three."""

import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime

import uuid_utils
from msgspec import Struct

__all__ = ["DAY_MS", "HOUR_MS", "Ambient", "iso", "moment"]

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _unique() -> str:
    # UUIDv7: sortable by time of creation, 74 random bits.
    return uuid_utils.uuid7().hex


def _seed() -> int:
    return secrets.randbelow(1 << 32)


class Ambient(Struct, frozen=True, kw_only=True):
    """What a pure function cannot know."""

    now_ms: Callable[[], int] = _now_ms
    """Milliseconds since 1970 UTC: for what is stored and shown."""
    monotonic: Callable[[], float] = time.monotonic
    """Seconds of this process: for deadlines and waits."""
    unique: Callable[[], str] = _unique
    seed: Callable[[], int] = _seed
    """0 to 2**32 - 1, from the system's randomness."""
    secret: Callable[[int], bytes] = secrets.token_bytes
    """So many bytes that nobody can guess: for keys."""

    def new_id(self, prefix: str) -> str:
        """A new id: `new_id("job") == "job_0192..."`, at most 40 characters."""
        return f"{prefix}_{self.unique()}"


def moment(at_ms: int) -> datetime:
    """Milliseconds since 1970 as a moment in UTC."""
    return datetime.fromtimestamp(at_ms / 1000, UTC)


def iso(at_ms: int) -> str:
    """`1763683200000` as `2025-11-21T00:00:00.000Z`."""
    return moment(at_ms).isoformat(timespec="milliseconds").replace("+00:00", "Z")
