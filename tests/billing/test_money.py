"""Micro-dollars in, dollars out."""

from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.money import column_usd, decimals_of, json_number, to_micros, usd

ENCODER = msgspec.json.Encoder(decimal_format="number")


@pytest.mark.parametrize(
    ("dollars", "micros"),
    [
        ("0.03", 30_000),
        ("0.0000005", 1),
        ("0.0000004999999999999999999999999999999999", 0),
        ("-0.0000005", -1),
        ("1E+3", 1_000_000_000),
        ("123456789.1234565", 123_456_789_123_457),
    ],
)
def test_dollars_are_rounded_half_up(dollars: str, micros: int) -> None:
    assert to_micros(Decimal(dollars)) == micros


@pytest.mark.parametrize("dollars", ["NaN", "Infinity", "-Infinity", "sNaN", "1E+13"])
def test_what_is_no_amount_is_refused(dollars: str) -> None:
    with pytest.raises(ValueError, match="amount of dollars"):
        to_micros(Decimal(dollars))


@pytest.mark.parametrize(
    ("micros", "people", "json"),
    [
        (0, "0.00", b"0"),
        (1, "0.000001", b"0.000001"),
        (30_000, "0.03", b"0.03"),
        (35_000, "0.035", b"0.035"),
        (100_000, "0.10", b"0.1"),
        (1_000_000, "1.00", b"1"),
        (100_000_000, "100.00", b"100"),
        (-30_000, "-0.03", b"-0.03"),
    ],
)
def test_how_amounts_are_written(micros: int, people: str, json: bytes) -> None:
    assert usd(micros) == people
    assert ENCODER.encode(json_number(micros)) == json


@given(st.integers(-(2**63), 2**63))
def test_nothing_is_lost_on_the_way(micros: int) -> None:
    assert json_number(micros) == Decimal(usd(micros)) == Decimal(micros) / 1_000_000
    if abs(micros) < 10**18:
        assert to_micros(json_number(micros)) == micros
    assert b"E" not in ENCODER.encode(json_number(micros))


@pytest.mark.parametrize(
    ("amounts", "decimals", "shown"),
    [
        ([], 2, []),
        ([1_234_500_000, -30_000], 2, ["1,234.50", "-0.03"]),
        ([1_000_000, 3_000], 3, ["1.000", "0.003"]),
        ([-1, 0, 10**13], 6, ["-0.000001", "0.000000", "10,000,000.000000"]),
    ],
)
def test_a_column_has_as_many_decimals_as_its_amounts_need(amounts, decimals, shown) -> None:
    assert decimals_of(amounts) == decimals
    assert [column_usd(micros, decimals) for micros in amounts] == shown
