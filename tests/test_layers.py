"""The layers hold, and the check that says so can fail."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("gateway", "providers", "registry", "templates", "billing")


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-c",
        "from importlinter.cli import lint_imports_command as run; run()",
        "--no-cache",
    ]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=100)


def test_the_layers_hold() -> None:
    ended = lint(ROOT)
    assert ended.returncode == 0, ended.stdout


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("registry/sizes.py", "import providers.errors"),
        ("billing/money.py", "import gateway.ambient"),
        ("templates/engine.py", "import billing.money"),
        ("providers/diffusers_modal/engine.py", "import registry.sizes"),
    ],
)
def test_an_import_upward_is_found(tmp_path: Path, file: str, line: str) -> None:
    for package in PACKAGES:
        shutil.copytree(
            ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("static", "__pycache__")
        )
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / file).write_text((tmp_path / file).read_text() + f"\n{line}\n")
    ended = lint(tmp_path)
    assert ended.returncode == 1, ended.stdout
    assert "BROKEN" in ended.stdout
