"""What the registry raises.

RegistryError          the file is wrong: the start fails; line, path, what is allowed
UnknownModel           a caller named a model that is not here
InvalidInputs          a caller's inputs are wrong: every fault at once, by JSON pointer
UnknownPriceList       an account is to pay by a price list that is not here
"""

from msgspec import Struct

__all__ = ["Fault", "InvalidInputs", "RegistryError", "UnknownModel", "UnknownPriceList", "pointer"]


class Fault(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that is wrong in a request."""

    pointer: str
    """JSON pointer (RFC 6901) into the request body."""
    code: str
    """Stable: `missing`, `wrong_type`, `out_of_range`, `unknown_parameter`, ..."""
    message: str
    allowed: str | None = None
    """What would be right, for people."""


class RegistryError(Exception):
    """The registry file cannot be used.

    Args:
        message: what is wrong and what is allowed.
        file: the file's name.
        line: its line, from 1; 0 when the fault has no line of its own.
        path: where in the document, as `models.flux-dev.price`.
    """

    def __init__(self, message: str, *, file: str, line: int = 0, path: str = "") -> None:
        where = f"{file}:{line}" if line else file
        super().__init__(f"{where}: {path}: {message}" if path else f"{where}: {message}")
        self.message = message
        self.line = line
        self.path = path


class UnknownModel(Exception):
    """No model has this id or alias.

    Args:
        model: what was asked for.
        supported: the ids that exist.
        close: the ids most like it, at most three.
    """

    def __init__(self, model: str, supported: tuple[str, ...], close: tuple[str, ...]) -> None:
        hint = f" Did you mean {' or '.join(close)}?" if close else ""
        super().__init__(f"No model is called {model!r}.{hint}")
        self.model = model
        self.supported = supported
        self.close = close


class UnknownPriceList(Exception):
    """The registry has no price list of this name: no price of its account is known.

    Args:
        name: of the list.
    """

    def __init__(self, name: str) -> None:
        super().__init__(f"The registry has no price list {name!r}")
        self.name = name


class InvalidInputs(Exception):
    """A request's inputs are wrong.

    Args:
        faults: every fault found, in the order of the request.
    """

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__("; ".join(f"{f.pointer}: {f.message}" for f in faults))
        self.faults = tuple(faults)


def pointer(*parts: str | int) -> str:
    """A JSON pointer from its parts: `pointer("inputs", "a/b") == "/inputs/a~1b"`.

    What cannot be written as UTF-8 becomes `?`, so that a fault can always be answered.
    """
    joined = "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)
    return joined.encode("utf-8", "replace").decode()
