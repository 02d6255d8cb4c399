"""Files stay short enough to be read in one sitting, and are whole."""

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


def test_no_mark_of_a_merge_stayed() -> None:
    texts = [path for folder in (ROOT, ROOT / "docs") for path in folder.glob("*.md")]
    texts += [*(ROOT / "docs" / "decisions").glob("*.md"), *(ROOT / "registry").glob("*.yaml")]
    marks = ("<<<<<<< ", ">>>>>>> ", "=======")
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in texts
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if line.startswith(marks[:2]) or line == marks[2]
    ]
    assert len(texts) > 30
    assert found == []
