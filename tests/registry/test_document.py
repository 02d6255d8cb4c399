"""A document knows the line of each of its values."""

import pytest

from registry.document import Document
from registry.errors import RegistryError

TEXT = "a:\n  b: [1,\n    two]\n  c: {d: yes}\n'e.f': null\n"


def test_it_holds_the_data() -> None:
    assert Document(TEXT, "x").data == {"a": {"b": [1, "two"], "c": {"d": True}}, "e.f": None}


@pytest.mark.parametrize(
    ("path", "line"),
    [((), 1), (("a",), 1), (("a", "b"), 2), (("a", "b", 1), 3), (("a", "c", "d"), 4), (("e.f",), 5)],
)
def test_each_path_has_its_line(path: tuple[str | int, ...], line: int) -> None:
    document = Document(TEXT, "x")
    assert document.has(path)
    assert document.line(path) == line


def test_what_is_absent_has_the_line_of_its_parent() -> None:
    document = Document(TEXT, "x")
    assert not document.has(("a", "c", "z"))
    assert document.line(("a", "c", "z", "y")) == 4


def test_an_error_names_file_line_and_path() -> None:
    error = Document(TEXT, "x.yaml").error("bad", ("a", "b", 1))
    assert str(error) == "x.yaml:3: a.b.1: bad"
    assert (error.line, error.path, error.message) == (3, "a.b.1", "bad")


def test_an_empty_file_has_no_data() -> None:
    assert Document("# nothing\n", "x").data is None
    assert Document("", "x").line(("a",)) == 0


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("a: 1\nb: 2\na: 3", 3, "duplicate key 'a', first on line 1"),
        ("a: {b: 1, b: 2}", 1, "duplicate key 'b'"),
        ("a: 1\n2: x", 2, "the key 2 must be text"),
        ("a: 1\nnull: x", 2, "the key None must be text"),
        ("a: 1\n1.5: x", 2, "the key 1.5 must be text"),
        ("a: 1\n? {b: c}\n: x", 2, "dict has no place"),
        ("a: 1\nb: &x 2\nc: *x", 2, "anchors and aliases"),
        ("a: 1\nb: !!binary aGk=", 2, "bytes has no place"),
        ("a: 1\nb: !!python/object:os.system x", 2, "could not determine a constructor"),
        ("a: 1\nb: 2026-02-30", 2, "cannot be read"),
        ("a: 1\nb: .nan", 2, "not a finite number"),
        ("a: 1\nb: 1.0e+999", 2, "not a finite number"),
        ("a: 1\nb: \x00", 2, "cannot stand in YAML"),
        ("a: 1\n\tb: 2", 2, "not YAML"),
        ("a: 'open", 1, "not YAML"),
    ],
)
def test_what_is_stricter_than_yaml(text: str, line: int, message: str) -> None:
    with pytest.raises(RegistryError) as caught:
        Document(text, "x")
    assert message in caught.value.message
    assert caught.value.line == line


def test_a_bomb_of_aliases_never_unfolds() -> None:
    levels = "\n".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 30))
    with pytest.raises(RegistryError, match="anchors and aliases"):
        Document(f"a0: &a0 [x]\n{levels}", "x")


@pytest.mark.parametrize("text", ["[" * 4000, "{a: " * 4000, "- " * 4000])
def test_deep_nesting_is_an_error(text: str) -> None:
    with pytest.raises(RegistryError):
        Document(text, "x")


def test_size_is_counted_in_bytes() -> None:
    with pytest.raises(RegistryError, match="1 MiB"):
        Document("# " + "é" * (1 << 19), "x")
    assert Document("# " + "e" * ((1 << 20) - 2), "x").data is None
