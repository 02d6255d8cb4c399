"""Whatever is public in the five packages says what it is for."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("gateway", "providers", "registry", "templates", "billing")
FILES = [
    path
    for package in PACKAGES
    for path in sorted((ROOT / package).rglob("*.py"))
    if "versions" not in path.parts  # migrations have fixed functions
]
FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)


def setter(node: ast.AST) -> bool:
    """The second half of a property, whose first half has the docstring; or an overload."""
    names = [getattr(d, "attr", getattr(d, "id", "")) for d in getattr(node, "decorator_list", [])]
    return any(name in ("setter", "deleter", "overload") for name in names)


def silent(body: list[ast.stmt], inside: str = "") -> list[str]:
    found = []
    for node in body:
        if not isinstance(node, (*FUNCTION, ast.ClassDef)) or node.name.startswith("_") or setter(node):
            continue
        if ast.get_docstring(node) is None:
            found.append(f"{inside}{node.name}")
        if isinstance(node, ast.ClassDef):
            found += silent(node.body, f"{node.name}.")
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_public_has_docstrings(path: Path) -> None:
    assert silent(ast.parse(path.read_text("utf-8")).body) == []


def test_the_walk_finds_what_is_silent() -> None:
    source = "class A:\n def b(self): ...\n def _c(self): ...\ndef d(): ...\ndef e():\n 'x'\n"
    assert silent(ast.parse(source).body) == ["A", "A.b", "d"]
