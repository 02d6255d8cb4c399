"""Several pictures from an endpoint that makes fewer at a time: one request as several calls."""

from copy import deepcopy
from typing import Any

from msgspec import Struct

from providers.fitting import shape
from registry.schema import ParameterRule, Route

__all__ = ["PlannedCall", "split", "wrapped_seed"]

MOST_SEED = (1 << 53) - 1


class PlannedCall(Struct, frozen=True, kw_only=True):
    """One call of an endpoint."""

    payload: dict[str, Any]
    """What the endpoint gets; media as `MediaRef`."""
    num_images: int
    seed: int | None


def split(
    route: Route, payload: dict[str, Any], num_images: int, seed: int | None
) -> tuple[PlannedCall, ...]:
    """The calls that make so many pictures together, the first with the payload as it is.

    Picture `i` of them has the seed of the first plus `i`, as a diffusers engine counts within a call:
    the same request gives the same pictures however many calls it takes.
    """
    most = route.images_per_call or num_images
    rules = route.parameters
    calls = [PlannedCall(payload=payload, num_images=min(most, num_images), seed=seed)]
    for before in range(most, num_images, most):
        count = min(most, num_images - before)
        own = None if seed is None else wrapped_seed(rules["seed"], seed + before)
        calls.append(PlannedCall(payload=_changed(payload, rules, count, own), num_images=count, seed=own))
    return tuple(calls)


def _changed(
    payload: dict[str, Any], rules: dict[str, ParameterRule], count: int, seed: int | None
) -> dict[str, Any]:
    changed = deepcopy(payload)
    for name, value in (("num_images", count), ("seed", seed)):
        if name in rules and value is not None:
            changed[rules[name].send or name] = shape(rules[name], value)
    return changed


def wrapped_seed(rule: ParameterRule, seed: int) -> int:
    """A seed within what the endpoint takes."""
    low = int(rule.min) if rule.min is not None else 0
    high = int(rule.max) if rule.max is not None else MOST_SEED
    return low + (seed - low) % (high - low + 1)
