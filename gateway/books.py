"""The books: every rule of money that the database must keep, looked at hourly and when somebody asks."""

import asyncio
import logging
from collections.abc import Sequence
from functools import partial

from msgspec import Struct
from sqlalchemy import Connection

import billing.audit
import billing.usage_audit
from billing.findings import Check, Finding, run
from gateway.ambient import Ambient
from gateway.db.engine import Database
from gateway.jobs import audit, cost_audit, spend_audit, usage_audit

__all__ = ["CHECKS", "Books", "Look", "check_books", "verify"]

log = logging.getLogger(__name__)

CHECKS: tuple[Check, ...] = (
    *billing.audit.CHECKS,
    *billing.usage_audit.CHECKS,
    *audit.CHECKS,
    *cost_audit.CHECKS,
    *usage_audit.CHECKS,
    *spend_audit.CHECKS,
)
SAID = 20
"""Findings that the log has a line of."""


class Look(Struct, frozen=True, kw_only=True):
    """What was found."""

    at: int
    """When it was begun, in milliseconds UTC."""
    took_ms: int
    findings: tuple[Finding, ...]


def verify(conn: Connection, at: int, checks: Sequence[Check] = CHECKS) -> list[Finding]:
    """Everything that breaks a rule, on one snapshot.

    Args:
        conn: inside a transaction.
        at: milliseconds UTC.
        checks: of these rules alone.
    """
    if conn.dialect.name == "postgresql":
        # A request's statement is given up after a while; this one reads whole tables.
        conn.exec_driver_sql("set local statement_timeout = 0")
    return run(conn, checks, at)


async def check_books(db: Database, ambient: Ambient) -> Look:
    """Everything that breaks a rule.

    Each rule has a snapshot of its own: none is kept for as long as all of them take, and what a rule
    compares is from one moment all the same.
    """
    at, begun = ambient.now_ms(), ambient.monotonic()
    findings: list[Finding] = []
    for check in CHECKS:
        findings += await db.read(partial(verify, at=at, checks=(check,)))
    took_ms = round((ambient.monotonic() - begun) * 1000)
    return Look(at=at, took_ms=took_ms, findings=tuple(findings))


class Books:
    """Looks at the books, and keeps what was found.

    Args:
        db: has them.
        ambient: time.
    """

    def __init__(self, db: Database, ambient: Ambient) -> None:
        self._db = db
        self._ambient = ambient
        self._one = asyncio.Lock()
        self._begun = float("-inf")
        self.last: Look | None = None
        """What was found last, in this process."""

    async def look(self) -> Look:
        """Look now; what is wrong goes to the log too. Several who ask at once share one look."""
        asked = self._ambient.monotonic()
        async with self._one:
            # One that was begun before would not have what the caller has just done.
            if self.last is None or self._begun < asked:
                self._begun = self._ambient.monotonic()
                self.last = await check_books(self._db, self._ambient)
                _say(self.last)
            return self.last

    async def duty(self) -> bool:
        """As a duty of the housekeeper's."""
        await self.look()
        return True


def _say(look: Look) -> None:
    for finding in look.findings[:SAID]:
        log.error("the books: %s: %s: %s", finding.code, finding.subject, finding.detail)
    more = len(look.findings) - SAID
    if more > 0:
        log.error("the books: and %d more: `gateway billing verify` shows them", more)
    if not look.findings:
        log.info("the books are right (%d ms)", look.took_ms)
