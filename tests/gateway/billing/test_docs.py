"""docs/operations.md names every rule of the books."""

import re
from pathlib import Path

from gateway import books

PAGE = Path(__file__).parents[3] / "docs" / "operations.md"


def test_every_code_is_explained() -> None:
    section = PAGE.read_text("utf-8").partition("## `gateway billing verify`")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    assert {code for row in rows for code in re.findall(r"`(\w+)`", row)} == {
        check.code for check in books.CHECKS
    }
