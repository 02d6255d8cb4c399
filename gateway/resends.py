"""Requests that are sent again: the same job's answer, and never a second job.

A client that gives a key (`Idempotency-Key`) has Stripe's semantics: the same key and the same request get
the first one's job, marked as a replay; another request under that key is refused, and so is one that comes
while the first is still being answered. For clients that resend without a key an account may have a window
in which equal requests are one; there the second waits for the first one's job.
"""

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from gateway.accounts.principals import Principal
from gateway.db.engine import DatabaseError
from gateway.jobs import idempotency
from gateway.jobs.idempotency import KEEP_MS, Claim, Earlier, Repeated
from gateway.jobs.records import TERMINAL, JobRow
from gateway.problems import Problem

if TYPE_CHECKING:
    from gateway.core import Core

__all__ = ["Answer", "Resends", "fingerprint"]

log = logging.getLogger(__name__)

GRACE_S = 5.0
"""An answer may be so late: the wait that was asked for, and what it takes to write the answer down."""
LOOK_S = 0.2


class Answer(Struct, frozen=True, kw_only=True):
    """The job that a request is answered with."""

    job: JobRow
    replayed: bool = False
    """It is an earlier request's."""

    @property
    def headers(self) -> dict[str, str]:
        """What marks a replay."""
        return {"Idempotent-Replayed": "true"} if self.replayed else {}


class Resends:
    """Knows requests again.

    Args:
        core: what they are let in to.
    """

    def __init__(self, core: "Core") -> None:
        self._core = core
        # Keys whose request is being let in or answered in this process: those that come meanwhile need not
        # fetch and plan the same once more to find out that they are second.
        self._taken: set[tuple[str, str]] = set()
        self._notes: set[asyncio.Task[None]] = set()

    def claim(
        self, caller: Principal, given: str | None, path: str, body: bytes, wait_s: float
    ) -> Claim | None:
        """What a request is known by; None when it has no key, and its account no window.

        Args:
            caller: who asks.
            given: the key that the client gave.
            path: of the request, a POST.
            body: JSON, known to be good.
            wait_s: seconds within which it is answered.
        """
        window_s = self._window_s(caller)
        if given is None and not window_s:
            return None
        digest = fingerprint(path, body)
        return Claim(
            account_id=caller.account_id,
            key=f"auto:{digest}" if given is None else f"key:{given}",
            given=given is not None,
            request_sha256=digest,
            job_id=self._core.ambient.new_id("job"),
            # Who does not wait is answered at once.
            answer_ms=int((wait_s + GRACE_S) * 1000) if wait_s > 0 else 0,
            keep_ms=window_s * 1000 if given is None else KEEP_MS,
        )

    async def once(
        self, claim: Claim | None, caller: Principal, wait_s: float, make: Callable[[], Awaitable[JobRow]]
    ) -> Answer:
        """Make a job, or find the one that the same request made before.

        Args:
            claim: what the request is known by; None: it is always the first.
            caller: who asks.
            wait_s: seconds to wait for the end of a job that was made before.
            make: makes the job with this claim, and waits for it.

        Raises:
            Problem: `idempotency_key_reused`, `idempotency_in_flight`, `too_many_requests`, and what
                `make` raises.
        """
        if claim is None:
            return Answer(job=await make())
        with self._core.tracing.span("idempotency"):
            earlier = await self._earlier(claim, caller)
        if earlier is None:
            try:
                return Answer(job=await self._make(claim, make))
            except Repeated as error:
                earlier = error.earlier
        return await self._repeat(claim, earlier, wait_s)

    async def aclose(self) -> None:
        """Finish what is being written. Call it before the database is closed."""
        await asyncio.gather(*self._notes)

    async def _earlier(self, claim: Claim, caller: Principal) -> Earlier | None:
        """The first request of a claim's key, once its job is there; None when this one is the first."""
        core = self._core
        while True:
            found = await core.db.read(partial(idempotency.find, claim=claim, at=core.ambient.now_ms()))
            if found is not None:
                await core.admission.count(caller)
                return found
            if (claim.account_id, claim.key) not in self._taken:
                return None
            if claim.given:
                await core.admission.count(caller)
                raise _in_flight()
            await asyncio.sleep(LOOK_S)

    async def _make(self, claim: Claim, make: Callable[[], Awaitable[JobRow]]) -> JobRow:
        place = (claim.account_id, claim.key)
        self._taken.add(place)
        try:
            job = await make()
            if job.status not in TERMINAL and claim.answer_ms:
                await self._note_answered(claim)
            return job
        except asyncio.CancelledError:
            # The client hung up. Its job may be in, and nobody waits for the answer.
            task = asyncio.create_task(self._note_answered(claim))
            self._notes.add(task)
            task.add_done_callback(self._notes.discard)
            raise
        finally:
            self._taken.discard(place)

    async def _repeat(self, claim: Claim, earlier: Earlier, wait_s: float) -> Answer:
        core = self._core
        if earlier.request_sha256 != claim.request_sha256:
            raise Problem(
                "idempotency_key_reused",
                f"This Idempotency-Key was sent with another request, which became {earlier.job_id}. Send "
                "that one again as it was, or give this one a key of its own",
                job_id=earlier.job_id,
            )
        if claim.given and earlier.in_flight(core.ambient.now_ms()):
            raise _in_flight(earlier.job_id)
        return Answer(job=await core.wait(earlier.job_id, claim.account_id, wait_s), replayed=True)

    async def _note_answered(self, claim: Claim) -> None:
        """Let who sends the request again have its job from now on. What fails here fails no answer."""
        at = self._core.ambient.now_ms()
        try:
            await self._core.db.write(lambda c: idempotency.note_answered(c, claim, at))
        except DatabaseError as error:
            log.warning("it was not noted that %s was answered: %s", claim.job_id, error)

    def _window_s(self, caller: Principal) -> int:
        """Seconds in which equal requests without a key are one; 0: never."""
        own = caller.resend_window_s
        return self._core.settings.resend_window_s if own is None else own


def fingerprint(path: str, body: bytes) -> str:
    """The SHA-256 of a POST's path and JSON body, in hex.

    Blanks and the order of members make no difference: a client that writes the same body again may write
    it another way.
    """
    canonical = msgspec.json.encode(msgspec.json.decode(body), order="deterministic")
    return hashlib.sha256(b"POST %s\n%s" % (path.rstrip("/").encode(), canonical)).hexdigest()


def _in_flight(job_id: str | None = None) -> Problem:
    return Problem(
        "idempotency_in_flight",
        "The first request with this Idempotency-Key is still being answered. Send it again in a second",
        headers={"Retry-After": "1"},
        retryable=True,
        job_id=job_id,
    )
