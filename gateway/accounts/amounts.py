"""Amounts of money as an operator gives them."""

from decimal import Decimal

from billing.money import to_micros, usd
from gateway.problems import Problem
from registry.errors import Fault

__all__ = ["AMOUNTS", "CHANGES", "MAX_TOP_UP_USD", "is_amount", "is_change", "micros_of"]

MAX_TOP_UP_USD = 1_000_000
AMOUNTS = f"US dollars, more than 0, at most {MAX_TOP_UP_USD}, six decimals"
"""What `is_amount` takes, for people."""
CHANGES = f"US dollars, above or below 0, at most {MAX_TOP_UP_USD} either way, six decimals"
"""What `is_change` takes, for people."""


def is_amount(dollars: Decimal) -> bool:
    """Whether so much can be paid in: whole micro-dollars of a sensible number."""
    return (
        dollars.is_finite() and 0 < dollars <= MAX_TOP_UP_USD and Decimal(usd(to_micros(dollars))) == dollars
    )


def is_change(dollars: Decimal) -> bool:
    """Whether a balance can be changed by so much, up or down."""
    return dollars.is_finite() and is_amount(abs(dollars))


def micros_of(dollars: Decimal, at: str, *, signed: bool = False) -> int:
    """Dollars as micro-dollars, exactly.

    Args:
        dollars: the amount.
        at: where it stands in the request, as a JSON pointer.
        signed: it may be below 0.

    Raises:
        Problem: `invalid_body`.
    """
    if (is_change if signed else is_amount)(dollars):
        return to_micros(dollars)
    allowed = CHANGES if signed else AMOUNTS
    fault = Fault(pointer=at, code="out_of_range", message=f"{dollars} is no amount", allowed=allowed)
    raise Problem("invalid_body", f"{at}: {dollars} is no amount. Allowed: {allowed}", errors=[fault])
