"""docs/registry.md has every key of a registry file, and no other."""

import re
from pathlib import Path

import msgspec
import pytest

from registry.schema import (
    CostRow,
    DialectRow,
    Intent,
    ModelRow,
    Multiplier,
    ParameterRule,
    Pipeline,
    PriceList,
    PromptStyle,
    ProviderRow,
    Rate,
    RouteRow,
    SizeRow,
    Surcharge,
    Table,
    Term,
    Tier,
)

PAGE = (Path(__file__).parents[2] / "docs" / "registry.md").read_text()
ROWS = (
    ProviderRow,
    Tier,
    Term,
    DialectRow,
    PromptStyle,
    ParameterRule,
    SizeRow,
    ModelRow,
    RouteRow,
    Pipeline,
    CostRow,
    Table,
    Rate,
    Multiplier,
    Surcharge,
    PriceList,
    Intent,
)


@pytest.mark.parametrize("row", ROWS)
def test_every_key_is_there(row: type[msgspec.Struct]) -> None:
    missing = [f.encode_name for f in msgspec.structs.fields(row) if f"`{f.encode_name}`" not in PAGE]
    assert missing == []


def test_no_other_key_is_there() -> None:
    keys = {f.encode_name for row in ROWS for f in msgspec.structs.fields(row)}
    told = [
        key
        for line in PAGE.splitlines()
        if line.startswith("| `")
        for key in re.findall(r"`(\w+)`", line.split("|")[1])
    ]
    assert len(told) > 40
    assert [key for key in told if key not in keys] == []
