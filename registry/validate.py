"""From what a caller wrote to `UnifiedInputs`: spellings resolved, types and limits checked.

`inputs` and `options` are one namespace. Every fault of a request is found in one pass. What a
model does not take is no fault here: the normalizer decides that per route, by policy.
"""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

import msgspec

from registry.errors import Fault, InvalidInputs, pointer
from registry.inputs import Given, Lora, UnifiedInputs
from registry.schema import Model, ParameterRule, Term
from registry.sizes import SIZE_WORDS
from registry.values import BadValue, read_native, read_value

__all__ = ["validate"]

MAX_MEMBERS = 256
"""Of one request: looking for what each of many unknown names may have meant takes time."""
SHOWN = 80


def validate(
    parts: Mapping[str, Mapping[str, Any]], model: Model, vocabulary: Mapping[str, Term]
) -> UnifiedInputs:
    """Check and type a request's parameters.

    Args:
        parts: the body's members that hold parameters, `{"inputs": {...}, "options": {...}}`.
        model: the model that they are for.
        vocabulary: the registry's.

    Raises:
        InvalidInputs: with every fault: unknown or missing parameter, wrong type, out of
            range, two values for one parameter.
    """
    count = sum(len(members) for members in parts.values())
    where = next(iter(parts), "inputs")
    if count > MAX_MEMBERS:
        message = f"{count} parameters are too many"
        fault = Fault(
            pointer=pointer(where), code="out_of_range", message=message, allowed=f"at most {MAX_MEMBERS}"
        )
        raise InvalidInputs([fault])
    reader = _Reader(model, vocabulary)
    for part, members in parts.items():
        for spelling, value in members.items():
            if value is not None:
                reader.take(spelling, value, pointer(part, spelling))
    reader.combine()
    reader.require(where)
    if reader.faults:
        raise InvalidInputs(reader.faults)
    values = {k: v for k, v in reader.values.items() if k not in ("size", "lora_url", "lora_scale")}
    return msgspec.convert({**values, "native": reader.native, "given": tuple(reader.given)}, UnifiedInputs)


class _Reader:
    """Collects values and faults over one request."""

    def __init__(self, model: Model, vocabulary: Mapping[str, Term]) -> None:
        self.model = model
        self.vocabulary = vocabulary
        self.names = {s: name for name, term in vocabulary.items() for s in (name, *term.aliases)}
        self.natives: dict[str, ParameterRule] = {
            name: rule for name, rule in model.parameters().items() if rule.native
        }
        self.values: dict[str, Any] = {}
        self.native: dict[str, Any] = {}
        self.given: list[Given] = []
        self.faults: list[Fault] = []
        self.faulty: set[str] = set()
        """Parameters that were given, wrongly: they are not missing too."""

    def take(self, spelling: str, value: Any, at: str) -> None:
        """Read one member of the request."""
        native = self.natives.get(spelling)
        name = spelling if native else self.names.get(spelling)
        if name is None:
            self.unknown(spelling, at)
            return
        try:
            read = read_native(native, value) if native else read_value(self.vocabulary[name], value)
        except BadValue as bad:
            self.faulty.add(name)
            self.fault(at + bad.inside, bad.code, bad.message, bad.allowed)
            return
        into = self.native if native else self.values
        if name in into and into[name] != read:
            earlier = next(g.requested_as for g in self.given if g.name == name)
            self.fault(
                at, "conflicting_values", f"{spelling!r} and {earlier!r} set {name} to two values", None
            )
        elif name not in into:
            into[name] = read
            self.given.append(Given(name=name, requested_as=spelling, requested=value, pointer=at))

    def combine(self) -> None:
        """Fold the shorthands: `size` into width and height, `lora_url` into `loras`."""
        if "size" in self.values:
            for name, edge in zip(("width", "height"), self.values["size"], strict=True):
                if self.values.get(name, edge) != edge:
                    self.fault(self.where(name), "conflicting_values", f"{name} and size differ", None)
                self.values[name] = edge
                self.check_edge(name, edge)
        if "lora_scale" in self.values and "lora_url" not in self.values.keys() | self.faulty:
            self.fault(self.where("lora_scale"), "missing", "lora_scale needs a lora_url", None)
        if "lora_url" in self.values:
            single = Lora(url=self.values["lora_url"], scale=self.values.get("lora_scale", 1.0))
            if self.values.get("loras", (single,)) != (single,):
                self.fault(self.where("loras"), "conflicting_values", "loras and lora_url differ", None)
            self.values["loras"] = (single,)

    def check_edge(self, name: str, edge: int) -> None:
        """Hold an edge that came in a `size` to the limits of width and height."""
        try:
            read_value(self.vocabulary[name], edge)
        except BadValue as bad:
            self.fault(self.where("size"), bad.code, f"{name}: {bad.message}", bad.allowed)

    def require(self, part: str) -> None:
        """Note every required parameter that is not there."""
        for name in self.model.required:
            ways = {name, "loras"} if name == "lora_url" else {name}
            given = any(self.values.get(way) not in (None, "") for way in ways)
            if not given and not ways & self.faulty:
                about = self.vocabulary[name].about
                self.fault(pointer(part, name), "missing", f"{self.model.id} needs {name}", about)

    def unknown(self, spelling: str, at: str) -> None:
        """Note a parameter that nobody knows, with those that come close."""
        sized = any(route.size.style != "none" for route in self.model.routes)
        allowed = sorted(set(self.model.parameters()) | set(SIZE_WORDS if sized else ()))
        close = get_close_matches(spelling, [*self.names, *self.natives], n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        shown = repr(spelling if len(spelling) <= SHOWN else spelling[:SHOWN] + "...")
        self.fault(at, "unknown_parameter", f"{shown} is not a parameter{hint}", ", ".join(allowed))

    def where(self, name: str) -> str:
        """Where the request gave a parameter."""
        return next((g.pointer for g in self.given if g.name == name), pointer("inputs", name))

    def fault(self, at: str, code: str, message: str, allowed: str | None) -> None:
        """Note a fault."""
        self.faults.append(Fault(pointer=at, code=code, message=message, allowed=allowed))
