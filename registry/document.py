"""A YAML document that knows where each of its values stands.

Stricter than YAML: a duplicate key is an error (YAML libraries keep the last one and say
nothing), so are anchors and aliases (`extends` shares rows here, and aliases are how a small
file becomes a huge one), non-text keys, values that JSON does not have (dates, NaN) and a file
above 1 MiB. Whatever is wrong with a text ends in a `RegistryError`.
"""

import math
from typing import Any, NoReturn

import yaml

from registry.errors import RegistryError

__all__ = ["Document", "Path"]

Path = tuple[str | int, ...]
MAX_BYTES = 1 << 20
TOO_DEEP = "nested too deeply"


class Document:
    """A parsed file: `data`, and the line of every path in it.

    Raises:
        RegistryError: not YAML, a duplicate key, an alias, a value that JSON does not have,
            too large, nested too deeply.
    """

    def __init__(self, text: str, file: str) -> None:
        self.file = file
        self._lines: dict[Path, int] = {}
        if len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
            raise RegistryError("larger than 1 MiB", file=file)
        try:
            self.data: Any = self._parse(text)
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 0
            raise RegistryError(f"not YAML: {error.problem}", file=file, line=line) from error
        except yaml.reader.ReaderError as error:  # it has a position and no mark
            line = text.count("\n", 0, error.position) + 1
            message = f"the character {error.character!r} cannot stand in YAML"
            raise RegistryError(message, file=file, line=line) from error
        except RecursionError as error:
            raise RegistryError(TOO_DEEP, file=file) from error

    def has(self, path: Path) -> bool:
        """True when the file has something at this path."""
        return path in self._lines

    def line(self, path: Path) -> int:
        """The line of a path, or of the nearest part of it that the file has."""
        while path and path not in self._lines:
            path = path[:-1]
        return self._lines.get(path, 0)

    def error(self, message: str, path: Path) -> RegistryError:
        """An error that names the file, the line and the path."""
        dotted = ".".join(str(part) for part in path)
        return RegistryError(message, file=self.file, line=self.line(path), path=dotted)

    def _parse(self, text: str) -> Any:
        for token in yaml.scan(text, Loader=yaml.SafeLoader):
            if isinstance(token, yaml.AliasToken | yaml.AnchorToken):
                self._refuse("anchors and aliases are not used here", token.start_mark)
        loader = yaml.SafeLoader(text)
        root = loader.get_single_node()
        return self._build(loader, root, ()) if root is not None else None

    def _refuse(self, message: str, mark: yaml.Mark, path: Path = ()) -> NoReturn:
        dotted = ".".join(str(part) for part in path)
        raise RegistryError(message, file=self.file, line=mark.line + 1, path=dotted)

    def _build(self, loader: yaml.SafeLoader, node: yaml.Node, path: Path) -> Any:
        self._lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(loader, node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self._build(loader, item, (*path, i)) for i, item in enumerate(node.value)]
        return self._scalar(loader, node, path)

    def _scalar(self, loader: yaml.SafeLoader, node: yaml.Node, path: Path) -> Any:
        try:
            value = loader.construct_object(node, deep=True)
        except ValueError as error:  # a date of month 13, a number of 5,000 digits
            raise RegistryError(
                f"cannot be read: {error}; put it in quotes if it is text",
                file=self.file,
                line=node.start_mark.line + 1,
                path=".".join(str(part) for part in path),
            ) from error
        if not isinstance(value, str | int | float | None):
            self._refuse(
                f"a {type(value).__name__} has no place here; put text in quotes", node.start_mark, path
            )
        if isinstance(value, float) and not math.isfinite(value):
            self._refuse("not a finite number", node.start_mark, path)
        return value

    def _mapping(self, loader: yaml.SafeLoader, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        built: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = self._scalar(loader, key_node, path)
            here = (*path, str(key))
            if not isinstance(key, str):
                self._refuse(f"the key {key!r} must be text; put it in quotes", key_node.start_mark, here)
            if key in built:
                first = self._lines[here]
                self._refuse(f"duplicate key {key!r}, first on line {first}", key_node.start_mark, here)
            self._lines[here] = key_node.start_mark.line + 1
            built[key] = self._build(loader, value_node, here)
        return built
