"""The pages on settings and errors hold everything that there is, and nothing else."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import gateway.jobs.runner  # with it every class of ours is loaded
from gateway.problems import CODES
from gateway.settings import SETTINGS
from providers.errors import ProviderError

ROOT = Path(__file__).parents[2]
PACKAGES = ("gateway", "providers", "registry", "templates")


def rows(page: str, heading: str = "") -> list[list[str]]:
    """The cells of the first table after a heading."""
    text = (ROOT / "docs" / page).read_text("utf-8").split(heading, 1)[1] if heading else None
    text = text or (ROOT / "docs" / page).read_text("utf-8")
    table = re.search(r"^\|.*?(?=^[^|]|\Z)", text, re.M | re.S)
    assert table is not None
    lines = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table[0].splitlines()]
    return [[cell.strip("` ") for cell in line] for line in lines[2:] if line != [""]]


def classes(cls: type[ProviderError]) -> list[type[ProviderError]]:
    return [cls] + [c for sub in cls.__subclasses__() for c in classes(sub)]


def texts(node: ast.AST) -> Iterator[str]:
    """The strings that an expression may come to."""
    if isinstance(node, ast.IfExp):
        yield from (*texts(node.body), *texts(node.orelse))
    elif isinstance(node, ast.Tuple):
        yield from (text for item in node.elts for text in texts(item))
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value


def code_of(node: ast.AST) -> ast.AST | None:
    """Where an expression says the code of a fault."""
    if isinstance(node, ast.Assign) and "code" in {
        n.id for t in node.targets for n in ast.walk(t) if isinstance(n, ast.Name)
    }:
        return node.value
    if not isinstance(node, ast.Call):
        return None
    name = getattr(node.func, "id", getattr(node.func, "attr", ""))
    if name == "Fault":
        return next(k.value for k in node.keywords if k.arg == "code")
    place = {"BadValue": 0, "fault": 1}.get(name)
    return node.args[place] if place is not None and len(node.args) > place else None


def fault_codes() -> set[str]:
    """Every code that the sources give a fault."""
    found: set[str] = set()
    for path in (p for package in PACKAGES for p in (ROOT / package).rglob("*.py")):
        source = path.read_text("utf-8")
        if "Fault" in source or "BadValue" in source:
            for node in ast.walk(ast.parse(source)):
                if (code := code_of(node)) is not None:
                    found.update(texts(code))
    return found


def test_settings_md_holds_every_setting_with_its_default() -> None:
    written = [(name, default) for name, default, _ in rows("settings.md")]
    assert written == [(s.name, s.default) for s in SETTINGS]


def test_every_row_says_what_it_means() -> None:
    assert all(meaning for _, _, meaning in rows("settings.md"))
    for heading in ("## The gateway", "## Providers", "## Faults"):
        assert all(all(row) and len(row) == 4 for row in rows("errors.md", heading))


def test_errors_md_holds_every_problem() -> None:
    written = {code: status for code, status, *_ in rows("errors.md", "## The gateway")}
    assert written == {code: str(status) for code, (status, _) in CODES.items()}


def test_errors_md_holds_every_providers_error() -> None:
    assert gateway.jobs.runner
    written = {code: status for code, status, *_ in rows("errors.md", "## Providers")}
    there = [cls for cls in classes(ProviderError) if cls.__module__.split(".")[0] in PACKAGES]
    assert written == {cls.code: str(cls.http_status) for cls in there if cls.code not in CODES}


def test_errors_md_holds_every_fault() -> None:
    found = fault_codes() - CODES.keys()
    assert {"missing", "wrong_type", "unknown_field", "unknown_variable", "unsupported_parameter"} <= found
    assert {code for code, *_ in rows("errors.md", "## Faults")} == found
