"""What a finished job is charged, and what it cost us: billing's arithmetic on a job's facts."""

from decimal import Decimal

from billing.money import to_micros
from gateway.planning import Candidate
from providers.base import Succeeded
from registry.prices import image_dollars

__all__ = ["provider_cost_micros"]


def provider_cost_micros(candidate: Candidate, done: Succeeded, sizes: list[tuple[int, int]]) -> int:
    """Micro-dollars that the provider bills for these pictures: by its own count where it gives
    GPU seconds, else by its price list.
    """
    cost = candidate.route.provider_cost
    if cost.per_gpu_second is not None and done.run_seconds is not None:
        seconds = Decimal(str(done.run_seconds)) + Decimal(str(done.load_seconds or 0))
        dollars = cost.per_gpu_second * seconds
    else:
        dollars = sum((image_dollars(cost, w, h) for w, h in sizes), Decimal(0))
    return to_micros(dollars)
