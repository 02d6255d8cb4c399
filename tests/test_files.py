"""Files stay short enough to be read in one sitting."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MOST = 400
FILES = [
    path
    for package in ("gateway", "providers", "registry", "templates", "billing")
    for path in sorted((ROOT / package).rglob("*.py"))
]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_has_at_most_400_lines(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) <= MOST


def test_there_are_files() -> None:
    assert len(FILES) > 40
