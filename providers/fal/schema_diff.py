"""Holds a route of the registry against the OpenAPI document of its endpoint. Pure.

What breaks is a request that the registry lets through and fal would refuse, or read otherwise. What the
endpoint takes besides, and the registry does not send, is a note.
"""

from collections.abc import Iterable, Mapping

from providers.fal.findings import Finding, Level
from providers.fal.openapi import EndpointSchema, Field, Shape
from providers.fal.outgoing import Outgoing, outgoing
from registry.schema import Model, Route, Term

__all__ = ["RESULTS", "UNUSED", "describe", "diff_schema"]

RESULTS = ("images", "image")
"""The members of a result that the gateway takes pictures from (`results.py`)."""
UNUSED = frozenset({"sync_mode", "request_id"})
"""Fields that no route will ever send: a picture inside of the result is one that fal does not keep."""
FITS = {
    "string": ("string",),
    "integer": ("integer", "number"),
    "number": ("number",),
    "boolean": ("boolean",),
    "object": ("object",),
    "array": ("array",),
}
MOST_SHOWN = 12
MOST_COUNTED = 100


def diff_schema(
    model: Model, route: Route, vocabulary: Mapping[str, Term], schema: EndpointSchema
) -> tuple[Finding, ...]:
    """What differs between a route and its endpoint, what breaks first.

    Args:
        model: whose route it is.
        route: of fal.
        vocabulary: the registry's.
        schema: the endpoint's, from `openapi.read_schema`.
    """
    desk = _Desk(model, route)
    sent = outgoing(route, model.required, vocabulary)
    for name, member in sent.items():
        if name not in schema.fields:
            desk.gone(member, name)
        else:
            desk.compare(member, schema.fields[name].shapes, name)
    desk.needs(sent.values(), schema.fields.values(), "")
    unused = [
        describe(field)
        for name, field in schema.fields.items()
        if name not in sent and not field.required and name not in UNUSED
    ]
    if unused:
        desk.add(
            "note",
            "field_unused",
            f"it also takes {'; '.join(unused)}",
            f"to offer one, add it to the dialect {route.dialect}",
        )
    if schema.outputs and not schema.outputs & set(RESULTS):
        desk.add(
            "breaks",
            "result_changed",
            f"its result has {_listed(sorted(schema.outputs))}, and the gateway reads {' or '.join(RESULTS)}",
            "this needs a change of providers/fal/results.py",
        )
    return tuple(sorted(desk.found, key=lambda finding: finding.level != "breaks"))


def describe(field: Field) -> str:
    """A field for people: `max_images (integer, 1 to 6)`."""
    said = []
    for shape in field.shapes:
        part = shape.type or "anything"
        if shape.values:
            part = f"{'one of ' if len(shape.values) > 1 else ''}{_listed(shape.values)}"
        elif shape.low is not None or shape.high is not None:
            part = f"{part}, {_range(shape.low, shape.high)}"
        said.append(part)
    return f"{field.name} ({' or '.join(dict.fromkeys(said))})"


class _Desk:
    """One comparison under way."""

    def __init__(self, model: Model, route: Route) -> None:
        self.model = model
        self.route = route
        self.found: list[Finding] = []

    def add(self, level: Level, code: str, message: str, todo: str = "") -> None:
        """Note a difference."""
        self.found.append(
            Finding(
                level=level,
                code=code,
                model=self.model.id,
                endpoint=self.route.endpoint,
                message=message,
                todo=todo,
            )
        )

    def gone(self, member: Outgoing, name: str) -> None:
        """A member that the endpoint does not have."""
        row = f"`{member.word}: null` under the parameters of this route, or take it out of the dialect"
        todo = {
            "size": "choose another `size.style`; docs/registry.md has them",
            "constants": f"take {name} out of the constants",
        }.get(member.word, f"write {row} {self.route.dialect}; if it was renamed, `send` names it anew")
        self.add("breaks", "field_gone", f"{name} is sent, and the endpoint has no such field", todo)

    def compare(self, member: Outgoing, shapes: Iterable[Shape], name: str) -> None:
        """A member against what its field takes."""
        fitting = [s for s in shapes if s.type is None or s.type in FITS[member.type]]
        if not fitting:
            wanted = " or ".join(dict.fromkeys(s.type or "anything" for s in shapes))
            self.add(
                "breaks",
                "type_changed",
                f"{name} is sent as {_a(member.type)}, and the endpoint takes {_a(wanted)}",
                f"{self._where(member)}: change its `shape` or `type`",
            )
            return
        if any(shape.type is None and not shape.values for shape in fitting):
            return
        if member.item is not None:
            if all(shape.items for shape in fitting):
                self.compare(member.item, [item for shape in fitting for item in shape.items], f"{name}[]")
        elif member.type == "object":
            self._object(member, fitting, name)
        elif member.type != "boolean":
            self._scalar(member, fitting, name)

    def needs(self, sent: Iterable[Outgoing], fields: Iterable[Field], inside: str) -> None:
        """The required ones of some fields, against what every request has."""
        by_name = {member.name: member for member in sent}
        for field in fields:
            member = by_name.get(field.name)
            if not field.required or (member is not None and member.always):
                continue
            name = f"{inside}{field.name}"
            if member is None:
                self.add(
                    "breaks",
                    "field_required",
                    f"{inside}{describe(field)} is required, and never sent",
                    f"add it to the dialect {self.route.dialect} with a default, or to its `constants`",
                )
            else:
                self.add(
                    "breaks",
                    "field_required",
                    f"{name} is required, and sent only when the caller gives {member.word}",
                    f"give {member.word} a default, or put it into `required` of the model",
                )

    def _object(self, member: Outgoing, fitting: list[Shape], name: str) -> None:
        known = [shape for shape in fitting if shape.members]
        if len(known) < len(fitting):
            return  # one of them says nothing of its members
        fields = {key: field for shape in known for key, field in shape.members.items()}
        for inner in member.members:
            if inner.name in fields:
                self.compare(inner, fields[inner.name].shapes, f"{name}.{inner.name}")
            else:
                self.gone(inner, f"{name}.{inner.name}")
        self.needs(member.members, fields.values(), f"{name}.")

    def _scalar(self, member: Outgoing, fitting: list[Shape], name: str) -> None:
        listed = all(shape.values for shape in fitting)
        values = member.values or (_counted(member) if listed else ())
        if values:
            self._values(member, values, fitting, name)
        elif listed:
            theirs = dict.fromkeys(value for shape in fitting for value in shape.values)
            self.add(
                "breaks",
                "value_gone",
                f"{name} may be {_anything(member)}, and the endpoint takes only {_listed(theirs)}",
                f"{self._where(member)}: give these as its `enum`",
            )
        elif member.type in ("integer", "number"):
            self._limits(member, fitting, name)
        elif all(shape.longest is not None for shape in fitting):
            longest = max(shape.longest or 0 for shape in fitting)
            if member.longest is None or member.longest > longest:
                self.add(
                    "note",
                    "text_shorter",
                    f"{name} may have {longest} characters there, and {member.longest or 'any number'} here",
                    "nothing can be written for this: fal refuses a longer one, uncharged",
                )

    def _values(self, member: Outgoing, values: tuple[str, ...], fitting: list[Shape], name: str) -> None:
        gone = [v for v in values if not any(_takes(shape, member.type, v) for shape in fitting)]
        if gone:
            self.add(
                "breaks",
                "value_gone",
                f"{name} may be {_listed(gone)} here, and the endpoint does not take that",
                f"{self._where(member)}: take {'it' if len(gone) == 1 else 'them'} out",
            )
        # Without a size the gateway sends the default's: "auto" is never of use.
        known = {*values, "auto"} if member.word == "size" else values
        more = [v for shape in fitting for v in shape.values if v not in known]
        if more and all(shape.values for shape in fitting) and member.word != "constants":
            self.add(
                "note",
                "value_unused",
                f"{name} also takes {_listed(dict.fromkeys(more))}",
                f"{self._where(member)}: add what is to be offered",
            )

    def _limits(self, member: Outgoing, fitting: list[Shape], name: str) -> None:
        low, low_open = _loosest(fitting, 1)
        high, high_open = _loosest(fitting, -1)
        below = low is not None and (
            member.low is None or member.low < low or (member.low == low and low_open)
        )
        above = high is not None and (
            member.high is None or member.high > high or (member.high == high and high_open)
        )
        ours, theirs = _range(member.low, member.high), _range(low, high, low_open, high_open)
        if below or above:
            self.add(
                "breaks",
                "range_narrower",
                f"{name} may be {ours} here, and {theirs} there",
                f"{self._where(member)}: set {self._limit_words(member, below=below, above=above)}",
            )
        steps = [shape.step for shape in fitting if shape.step is not None]
        if len(steps) == len(fitting) and all((member.step or 1) % step for step in steps):
            self.add(
                "breaks",
                "range_narrower",
                f"{name} goes in steps of {member.step or 1} here, and of {steps[0]} there",
                f"{self._where(member)}: set multiple_of, where it is a size",
            )
        if not (below or above) and _is_wider(member, low, high):
            self.add(
                "note",
                "range_wider",
                f"{name} may be {theirs} there, and {ours} here",
                f"{self._where(member)}: widen it, if that is wanted",
            )

    def _limit_words(self, member: Outgoing, *, below: bool, above: bool) -> str:
        words = " and ".join(["min"] * below + ["max"] * above)
        return f"{words} of `size`" if member.word == "size" else f"its {words}"

    def _where(self, member: Outgoing) -> str:
        return f"{member.word}, in the dialect {self.route.dialect} or on the route"


def _counted(member: Outgoing) -> tuple[str, ...]:
    """The whole numbers of a short range; () for any other."""
    low, high = member.low, member.high
    if member.type != "integer" or low is None or high is None or high - low > MOST_COUNTED:
        return ()
    return tuple(str(number) for number in range(int(low), int(high) + 1))


def _anything(member: Outgoing) -> str:
    return _range(member.low, member.high) if member.type in ("integer", "number") else "any text"


def _takes(shape: Shape, kind: str, value: str) -> bool:
    """Whether a kind of value takes one that we list, which stands here as text."""
    if shape.values:
        return value in shape.values
    if kind not in ("integer", "number"):
        return True
    number = float(value)
    low = shape.low is None or number > shape.low or (number == shape.low and not shape.low_open)
    high = shape.high is None or number < shape.high or (number == shape.high and not shape.high_open)
    return low and high


def _is_wider(member: Outgoing, low: int | float | None, high: int | float | None) -> bool:
    """Whether a route could let more through than it does."""
    if member.word == "size":
        return False  # fal's are the limits of a type that many endpoints share: not what the model can
    lower = low is not None and member.low is not None and _clipped(low, member) < member.low
    higher = high is not None and member.high is not None and _clipped(high, member) > member.high
    return lower or higher


def _clipped(limit: float, member: Outgoing) -> float:
    """A limit of fal's within those of the vocabulary."""
    least = limit if member.lowest is None else max(limit, member.lowest)
    return least if member.highest is None else min(least, member.highest)


def _loosest(shapes: list[Shape], sign: int) -> tuple[int | float | None, bool]:
    """The lowest (1) or highest (-1) limit of all of them; None where one of them has none."""
    limits = [(s.low, s.low_open) if sign > 0 else (s.high, s.high_open) for s in shapes]
    known = [(limit * sign, is_open) for limit, is_open in limits if limit is not None]
    if len(known) < len(limits):
        return None, False
    limit, is_open = min(known)
    return limit * sign, is_open


def _range(
    low: int | float | None, high: int | float | None, low_open: bool = False, high_open: bool = False
) -> str:
    if low is None and high is None:
        return "any number"
    least = f"{'above' if low_open else 'from'} {low}"
    most = f"{'below' if high_open else 'to'} {high}"
    if low is None:
        return f"{'below' if high_open else 'at most'} {high}"
    if high is None:
        return f"{'above' if low_open else 'at least'} {low}"
    return f"{low} to {high}" if not (low_open or high_open) else f"{least} {most}"


def _listed(values: Iterable[str]) -> str:
    shown = list(values)
    more = f" and {len(shown) - MOST_SHOWN} more" if len(shown) > MOST_SHOWN else ""
    return ", ".join(shown[:MOST_SHOWN]) + more


def _a(kind: str) -> str:
    article = "an" if kind[:1] in "aio" and kind != "anything" else "a"
    return kind if kind == "anything" else f"{article} {kind}"
