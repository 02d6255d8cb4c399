"""Enters what a comparison found, through the gateway that runs here or one inside this process."""

from typing import Any

from billing.money import usd
from billing.reconcile import Difference
from gateway.client import GatewayClient
from gateway.recosts import AT_ONCE

__all__ = ["Corrector"]


class Corrector:
    """Collects differences and enters them, many at a time.

    Args:
        client: of a gateway.
        provider: the registry's name of it.
        sums: enter sums too.
    """

    def __init__(self, client: GatewayClient, provider: str, *, sums: bool) -> None:
        self.entered = 0
        self.micros = 0
        self._client = client
        self._provider = provider
        self._sums = sums
        self._waiting: list[dict[str, Any]] = []

    async def add(self, found: Difference) -> None:
        """Enter a difference, if it is one of money, soon.

        Raises:
            GatewayFailure: the gateway refused.
        """
        if not self._is_entered(found):
            return
        self._waiting.append(self._correction(found))
        if len(self._waiting) == AT_ONCE:
            await self.flush()

    async def flush(self) -> None:
        """Enter what waits. Raises as `add` does."""
        if not self._waiting:
            return
        body = {"provider": self._provider, "corrections": self._waiting}
        made = await self._client.call("POST", "/api/admin/billing/corrections", body)
        self.entered += made["entered"]
        self.micros += made["micros"]
        self._waiting = []

    def _is_entered(self, found: Difference) -> bool:
        if found.kind in ("sum_differs", "overhead"):
            return self._sums
        return found.counts

    def _correction(self, found: Difference) -> dict[str, Any]:
        made: dict[str, Any] = {"totalMicros": found.total_micros}
        about = found.request_id or found.endpoint
        if found.kind in ("sum_differs", "overhead"):
            made["sum"] = {"name": found.endpoint, "start": found.at}
        elif found.kind == "unknown_attempt":
            # Which attempt it is, is not certain; which request was billed is.
            made["requestId"] = found.request_id
            about += f" (of attempt {found.attempt_id}?)"
        else:
            made |= {"attemptId": found.attempt_id, "requestId": found.request_id}
        made["note"] = (
            f"{found.kind}: {self._provider} bills {usd(found.theirs_micros or 0)} USD of {about}, "
            f"{usd(found.ours_micros)} USD were in the books"
        )[:500]
        return {name: value for name, value in made.items() if value is not None}
