"""Limits on how often: token buckets in the database, so that all replicas share them.

A bucket holds `burst` requests and fills at a steady rate. Taking one is a single statement, which
fails when the bucket is empty: two at once cannot both take the last.
"""

from msgspec import Struct
from sqlalchemy import BindParameter, Connection, bindparam, case, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from gateway.db.tables import bucket

__all__ = ["Limit", "Taken", "give_back", "sweep", "take"]

_UNIT = 1_000_000
"""Millionths of a request: a limit of one an hour must fill too."""


class Limit(Struct, frozen=True, kw_only=True):
    """So many at once, and so many in a time.

    Raises:
        ValueError: one of them is not above 0.
    """

    name: str
    burst: int
    per_s: float
    """Requests that come back in a second."""

    def __post_init__(self) -> None:
        if self.burst < 1 or self.per_s <= 0:
            raise ValueError("a limit lets something through")

    @property
    def window_s(self) -> int:
        """Seconds in which an empty bucket is full again."""
        return max(1, round(self.burst / self.per_s))


class Taken(Struct, frozen=True, kw_only=True):
    """What became of one request."""

    limit: Limit
    allowed: bool
    left: int
    """Requests that may come at once now."""
    retry_after_s: int
    """Seconds until there is one; 0 when there is."""


# What a bucket has now: what it had, and what came since, up to its size. No float enters.
_NOW = bucket.c.level + (bindparam("now") - bucket.c.at) * bindparam("rate") // 1000
_FULL: BindParameter[int] = bindparam("full")
_LEVEL = case((_NOW > _FULL, _FULL), else_=_NOW)
_TAKE = (
    update(bucket)
    .where(bucket.c.key == bindparam("k"), _LEVEL >= _UNIT)
    .values(level=_LEVEL - _UNIT, at=bindparam("now"))
)
_LOOK = select(bucket.c.level, bucket.c.at).where(bucket.c.key == bindparam("k"))


def take(conn: Connection, limit: Limit, whom: str, at: int) -> Taken:
    """Take one request from whom's bucket, if there is one.

    Args:
        conn: inside a transaction that writes.
        limit: which limit.
        whom: an account, a key, a network: what the bucket belongs to.
        at: milliseconds UTC.
    """
    key = f"{limit.name}:{whom}"
    values = {"k": key, "now": at, "rate": _rate(limit), "full": limit.burst * _UNIT}
    allowed = (
        conn.execute(_TAKE, values).rowcount == 1
        or _begin(conn, key, limit, at)
        # There is a bucket and it is empty, or another request has just made it.
        or conn.execute(_TAKE, values).rowcount == 1
    )
    if not allowed:
        wait_s = -(-(_UNIT - _level(conn, key, limit, at)) // _rate(limit))
        return Taken(limit=limit, allowed=False, left=0, retry_after_s=max(1, wait_s))
    return Taken(limit=limit, allowed=True, left=_level(conn, key, limit, at) // _UNIT, retry_after_s=0)


def _begin(conn: Connection, key: str, limit: Limit, at: int) -> bool:
    """Make a bucket that is full but for one; False when there is one."""
    if conn.execute(_LOOK, {"k": key}).first() is not None:
        return False
    try:
        with conn.begin_nested():
            conn.execute(insert(bucket).values(key=key, level=(limit.burst - 1) * _UNIT, at=at))
    except IntegrityError:
        return False
    return True


def give_back(conn: Connection, limit: Limit, whom: str) -> None:
    """Put back what `take` took: it turned out not to count."""
    key, full = f"{limit.name}:{whom}", limit.burst * _UNIT
    more = case((bucket.c.level + _UNIT > full, full), else_=bucket.c.level + _UNIT)
    conn.execute(update(bucket).where(bucket.c.key == key).values(level=more))


def sweep(conn: Connection, before: int) -> int:
    """Forget buckets that nobody touched since; how many they were."""
    return conn.execute(delete(bucket).where(bucket.c.at < before)).rowcount


def _level(conn: Connection, key: str, limit: Limit, at: int) -> int:
    row = conn.execute(_LOOK, {"k": key}).one()
    come: int = (at - row.at) * _rate(limit) // 1000
    return min(int(row.level) + max(come, 0), limit.burst * _UNIT)


def _rate(limit: Limit) -> int:
    """Millionths of a request in a second; at least one."""
    return max(1, round(limit.per_s * _UNIT))
