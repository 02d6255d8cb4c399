"""A YAML document that knows where each of its values stands.

Stricter than YAML: a duplicate key is an error (YAML libraries keep the last one and say
nothing), so are anchors and aliases (`extends` shares rows here, and aliases are how a small
file becomes a huge one), non-text keys and a file above 1 MiB.
"""

from typing import Any

import yaml

from registry.errors import RegistryError

__all__ = ["Document", "Path"]

Path = tuple[str | int, ...]
MAX_BYTES = 1 << 20


class Document:
    """A parsed file: `data`, and the line of every path in it.

    Raises:
        RegistryError: not YAML, a duplicate key, an alias, too large.
    """

    def __init__(self, text: str, file: str) -> None:
        self.file = file
        self._lines: dict[Path, int] = {}
        if len(text.encode()) > MAX_BYTES:
            raise RegistryError("larger than 1 MiB", file=file)
        loader = yaml.SafeLoader(text)
        try:
            for token in yaml.scan(text, Loader=yaml.SafeLoader):
                if isinstance(token, yaml.AliasToken | yaml.AnchorToken):
                    line = token.start_mark.line + 1
                    raise RegistryError("anchors and aliases are not used here", file=file, line=line)
            root = loader.get_single_node()
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 0
            raise RegistryError(f"not YAML: {error.problem}", file=file, line=line) from error
        self.data: Any = self._build(loader, root, ()) if root is not None else None

    def line(self, path: Path) -> int:
        """The line of a path, or of the nearest part of it that the file has."""
        while path and path not in self._lines:
            path = path[:-1]
        return self._lines.get(path, 0)

    def error(self, message: str, path: Path) -> RegistryError:
        """An error that names the file, the line and the path."""
        dotted = ".".join(str(part) for part in path)
        return RegistryError(message, file=self.file, line=self.line(path), path=dotted)

    def _build(self, loader: yaml.SafeLoader, node: yaml.Node, path: Path) -> Any:
        self._lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(loader, node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self._build(loader, item, (*path, i)) for i, item in enumerate(node.value)]
        return loader.construct_object(node, deep=True)

    def _mapping(self, loader: yaml.SafeLoader, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        built: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = loader.construct_object(key_node, deep=True)
            here = (*path, str(key))
            line = key_node.start_mark.line + 1
            if not isinstance(key, str):
                raise self.error(f"the key {key!r} must be text; put it in quotes", here)
            if key in built:
                first = self._lines[here]
                dotted = ".".join(str(part) for part in here)
                raise RegistryError(
                    f"duplicate key {key!r}, first on line {first}", file=self.file, line=line, path=dotted
                )
            self._lines[here] = line
            built[key] = self._build(loader, value_node, here)
        return built
