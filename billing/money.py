"""Money as whole micro-dollars: 1 USD = 1,000,000. No floats anywhere."""

from decimal import ROUND_HALF_UP, Decimal, localcontext

__all__ = ["MICROS_PER_USD", "json_number", "to_micros", "usd"]

MICROS_PER_USD = 1_000_000


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


def json_number(micros: int) -> Decimal:
    """Dollars for a JSON answer, exact and without an exponent: `30_000` is `Decimal("0.03")`.

    It is a JSON number only from an encoder made with `decimal_format="number"`; msgspec's
    default, and Litestar's, writes a Decimal as a string.
    """
    text = usd(micros)
    return Decimal(text.rstrip("0").rstrip(".")) if micros else Decimal(0)
