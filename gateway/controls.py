"""What in `inputs` and `options` steers the gateway and is no parameter of a model."""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, get_args

from msgspec import Struct

from billing.money import MICROS_PER_USD, usd
from billing.pricing import Quote
from providers.normalizer import Policy
from registry.errors import Fault, InvalidInputs, pointer

__all__ = [
    "CONTROLS",
    "Affordable",
    "Controls",
    "check_cost",
    "check_time",
    "read_controls",
    "wants_downgrade",
]

CONTROLS = ("on_unsupported", "max_cost", "max_seconds", "allow_downgrade")
MOST_SECONDS = 86_400


class Controls(Struct, frozen=True, kw_only=True):
    """As a request has them."""

    policy: Policy | None = None
    """`on_unsupported`: what to do with what a model cannot honour."""
    max_micros: int | None = None
    """`max_cost`: the most that the job may cost, in micro-dollars."""
    max_cost_at: str = ""
    """Where the request says so."""
    max_seconds: float | None = None
    """`max_seconds`: the job ends by then, with its pictures or without; counted from when it may run."""
    max_seconds_at: str = ""
    allow_downgrade: bool = False
    """`allow_downgrade`: rather less than what is asked for than an error for its price."""


class Affordable(Struct, frozen=True, kw_only=True):
    """The most that a job may cost a caller."""

    micros: int
    of: str
    """What limits it, for people: `the balance`."""


def wants_downgrade(parts: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether a request may be made smaller to be affordable.

    Raises:
        InvalidInputs: it says neither yes nor no.
    """
    return bool(_one(parts, "allow_downgrade", _flag)[0])


def read_controls(
    parts: Mapping[str, Mapping[str, Any]],
) -> tuple[Controls, dict[str, dict[str, Any]]]:
    """The controls, from either part, and what is left of the parts.

    Raises:
        InvalidInputs: one is not what it can be, or has two values.
    """
    rest = {part: {k: v for k, v in given.items() if k not in CONTROLS} for part, given in parts.items()}
    policy, _ = _one(parts, "on_unsupported", _policy)
    micros, at = _one(parts, "max_cost", _micros)
    seconds, seconds_at = _one(parts, "max_seconds", _seconds)
    return (
        Controls(
            policy=policy,
            max_micros=micros,
            max_cost_at=at,
            max_seconds=seconds,
            max_seconds_at=seconds_at,
            allow_downgrade=wants_downgrade(parts),
        ),
        rest,
    )


def check_cost(controls: Controls, quote: Quote) -> None:
    """Hold a quote against `max_cost`.

    Raises:
        InvalidInputs: it may cost more.
    """
    if controls.max_micros is not None and quote.ceiling_micros > controls.max_micros:
        most, wanted = usd(quote.ceiling_micros), usd(controls.max_micros)
        message = f"it may cost {most} USD, more than max_cost"
        raise InvalidInputs(
            [
                Fault(
                    pointer=controls.max_cost_at,
                    code="too_expensive",
                    message=message,
                    allowed=f"{most} or more, not {wanted}",
                )
            ]
        )


def check_time(controls: Controls, usual_s: float | None) -> None:
    """Hold what a route usually takes against `max_seconds`.

    Args:
        controls: of the request.
        usual_s: seconds; None when nobody knows, and then the job is tried.

    Raises:
        InvalidInputs: it usually takes longer.
    """
    if controls.max_seconds is not None and usual_s is not None and usual_s > controls.max_seconds:
        message = f"it usually takes {usual_s:.3g} seconds, more than max_seconds"
        raise InvalidInputs(
            [
                Fault(
                    pointer=controls.max_seconds_at,
                    code="too_slow",
                    message=message,
                    allowed=f"{usual_s:.3g} or more, not {controls.max_seconds:g}",
                )
            ]
        )


def _one(parts: Mapping[str, Mapping[str, Any]], name: str, read: Any) -> tuple[Any, str]:
    found, where = None, ""
    for part, given in parts.items():
        if given.get(name) is None:
            continue
        at = pointer(part, name)
        value = read(given[name], at)
        if found not in (None, value):
            raise InvalidInputs(
                [Fault(pointer=at, code="conflicting_values", message=f"{name} has two values")]
            )
        found, where = value, at
    return found, where


def _policy(value: Any, at: str) -> Policy:
    if value not in get_args(Policy):
        allowed = ", ".join(get_args(Policy))
        raise InvalidInputs(
            [Fault(pointer=at, code="not_allowed", message=f"{value!r} is no policy", allowed=allowed)]
        )
    policy: Policy = value
    return policy


def _flag(value: Any, at: str) -> bool:
    if not isinstance(value, bool):
        message = "allow_downgrade is yes or no"
        raise InvalidInputs([Fault(pointer=at, code="wrong_type", message=message, allowed="true or false")])
    return value


def _seconds(value: Any, at: str) -> float:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 1 <= value <= MOST_SECONDS:
        raise InvalidInputs(
            [
                Fault(
                    pointer=at,
                    code="not_allowed",
                    message="max_seconds is no time",
                    allowed=f"seconds, 1 to {MOST_SECONDS}",
                )
            ]
        )
    return float(value)


def _micros(value: Any, at: str) -> int:
    """US dollars, as a number or as text, rounded down to a whole micro-dollar."""
    try:
        dollars = (
            Decimal(str(value))
            if isinstance(value, int | float | str) and not isinstance(value, bool)
            else None
        )
    except InvalidOperation:
        dollars = None
    if dollars is None or not dollars.is_finite() or not 0 <= dollars <= 1_000_000:
        allowed = "US dollars, 0 to 1000000"
        raise InvalidInputs(
            [Fault(pointer=at, code="not_allowed", message="max_cost is no amount", allowed=allowed)]
        )
    return int(dollars * MICROS_PER_USD)
