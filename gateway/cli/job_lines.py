"""How a job is shown to people: what became of it, and its money from the quote to the bill."""

from collections.abc import Iterator
from typing import Any

from billing.money import usd

__all__ = ["lines_of"]


def lines_of(job: dict[str, Any]) -> Iterator[str]:
    """The lines of a job, as the API shows it to its owner or to an admin."""
    yield f"{job['jobId']}  {job['status']}  {job['model']} at {job['provider']}"
    yield f"  made {job['createdAt']}" + (f", ended {job['completedAt']}" if job["completedAt"] else "")
    if "accountId" in job:
        yield f"  account {job['accountId']}" + (f", user {job['userId']}" if job["userId"] else "")
    if job["error"]:
        yield f"  {job['error']['code']}: {job['error']['message']}"
    yield from _money(job)
    for attempt in job["attempts"]:
        yield f"  attempt {attempt['number']}  {attempt['status']}  {attempt['endpoint']}{_bill(attempt)}"
    for image in job["images"]:
        yield f"  {image['width']}x{image['height']}  {image['url']}"


def _money(job: dict[str, Any]) -> Iterator[str]:
    quote = job["quote"]
    yield f"  quoted     {usd(quote['costMicros'])} USD, at most {usd(quote['ceilingMicros'])}"
    yield f"  charged    {_usd(job['costMicros'])}"
    if "providerCostMicros" in job:
        listed = job["listedCostMicros"]
        apart = f" (listed {usd(listed)})" if listed != job["providerCostMicros"] else ""
        yield f"  billed us  {usd(job['providerCostMicros'])} USD{apart}"
        yield f"  margin     {_usd(job['marginMicros'])}"


def _bill(attempt: dict[str, Any]) -> str:
    """What an attempt cost, for an admin."""
    parts = []
    if attempt["error"]:
        parts.append(attempt["error"])
    if attempt.get("requestId"):
        parts.append(f"request {attempt['requestId']}")
    if attempt.get("providerCostMicros") is not None:
        parts.append(f"{usd(attempt['providerCostMicros'])} USD")
    if attempt.get("billableUnits"):
        parts.append(f"{attempt['billableUnits']} units")
    return "".join(f"  {part}" for part in parts)


def _usd(micros: int | None) -> str:
    return "nothing yet" if micros is None else f"{usd(micros)} USD"
