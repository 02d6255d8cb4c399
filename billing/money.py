"""Money as whole micro-dollars: 1 USD = 1,000,000. No floats anywhere."""

from collections.abc import Iterable
from decimal import ROUND_HALF_UP, Decimal, localcontext

__all__ = ["MICROS_PER_USD", "column_usd", "decimals_of", "json_number", "to_micros", "usd"]

MICROS_PER_USD = 1_000_000
_MICRO = Decimal("0.000001")


def to_micros(dollars: Decimal) -> int:
    """US dollars as micro-dollars, rounded half up (a half goes away from zero).

    Raises:
        ValueError: not a finite number, or beyond a trillion dollars.
    """
    if not dollars.is_finite() or abs(dollars) > 10**12:
        raise ValueError(f"not an amount of dollars: {dollars}")
    with localcontext() as context:
        # Enough digits that nothing is rounded twice.
        context.prec = 60
        return int((dollars * MICROS_PER_USD).quantize(Decimal(1), rounding=ROUND_HALF_UP))


def usd(micros: int) -> str:
    """Dollars for people, exact: at least two decimals, at most six. `30_000` is `"0.03"`."""
    whole, fraction = divmod(abs(micros), MICROS_PER_USD)
    cents, rest = divmod(fraction, 10_000)
    text = f"{whole}.{cents:02d}" + f"{rest:04d}".rstrip("0")
    return f"-{text}" if micros < 0 else text


def decimals_of(amounts: Iterable[int]) -> int:
    """Decimals that each of some amounts of micro-dollars can be written with, exactly: two at least."""
    found = set(amounts)
    return next(n for n in range(2, 7) if not any(micros % 10 ** (6 - n) for micros in found))


def column_usd(micros: int, decimals: int) -> str:
    """Dollars as a column has them, each with as many decimals as the others: `1,234.500`.

    Args:
        micros: the amount.
        decimals: as `decimals_of` says of all of them.
    """
    whole, rest = divmod(abs(micros), MICROS_PER_USD)
    return f"{'-' if micros < 0 else ''}{whole:,}." + f"{rest:06d}"[:decimals]


def json_number(micros: int) -> Decimal:
    """Dollars for a JSON answer, exact and without an exponent: `30_000` is `Decimal("0.03")`.

    It is a JSON number only from an encoder made with `decimal_format="number"`; msgspec's
    default, and Litestar's, writes a Decimal as a string.
    """
    if micros % (10 * MICROS_PER_USD) == 0:  # which `normalize` would write with an exponent
        return Decimal(micros // MICROS_PER_USD)
    return (Decimal(micros) * _MICRO).normalize()
