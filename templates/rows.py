"""`template.yaml`, typed: what a template takes, which pictures it has made, what comes out."""

import re
from typing import Any, Literal

from msgspec import Struct

from templates.variables import Variable

__all__ = ["FORMATS", "Deed", "Format", "Output", "Step", "TemplateRow", "Use", "problem_of"]

Deed = Literal["generate", "edit", "remove-background", "upscale"]
Format = Literal["png", "jpeg", "webp", "pdf"]
FORMATS: tuple[Format, ...] = ("png", "jpeg", "webp", "pdf")
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
MOST_PIXELS = 40_000_000
MOST_EDGE = 16_384
Box = tuple[float, float, float, float]


class Use(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"if_": "if"}):
    """Which model or intent serves a step, and when."""

    when: tuple[str, ...] = ()
    """The caller gives these variables."""
    if_: dict[str, tuple[str, ...]] = {}
    """Variables that have one of these values; `if` in the file."""
    model: str | None = None
    intent: str | None = None

    def __post_init__(self) -> None:
        if (self.model is None) == (self.intent is None):
            raise ValueError("a `use` names a model or an intent")


class Step(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One picture that is made before anything is laid over it."""

    name: str
    do: Deed
    use: tuple[Use, ...]
    """The first that fits serves; the last one always fits."""
    of: str | None = None
    """Whose picture it takes: a step before it, or a variable of the type `image`."""
    when: tuple[str, ...] = ()
    """Only where the caller gives all of these variables."""
    unless: tuple[str, ...] = ()
    """Not where the caller gives one of these."""
    prompt: str | None = None
    """The file with its prompt; `prompt.jinja` for what is generated."""
    inputs: dict[str, Any] = {}
    """Inputs that each request of this step has."""
    send: dict[str, str] = {}
    """Inputs filled from a variable: input name -> variable name."""
    optional: bool = False
    """Left out, with a warning, where no model can do it now."""
    only_if: Literal["no-cutout"] | None = None
    """Only where the product cannot be cut out of its own picture by rule."""

    @property
    def prompt_file(self) -> str | None:
        """The file with its prompt; None for what needs none."""
        return self.prompt or ("prompt.jinja" if self.do == "generate" else None)


class Output(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One finished file."""

    name: str
    width: int
    """Pixels."""
    height: int
    format: Format = "png"
    dpi: int = 150
    """Pixels of an inch, on paper."""
    safe: float | Box = 0.05
    """Of the shorter edge: how far text and logos stay off each edge; or off the left, top, right and
    bottom one, where an app lays its own buttons over some of them."""
    focus: tuple[float, float] = (0.5, 0.5)
    """What of the scene is kept when it is cropped: 0, 0 is its upper left corner."""
    about: str = ""
    when: tuple[str, ...] = ()
    """Only where the caller gives all of these variables."""
    scene: bool = True
    """False: the product lies on white, as catalogues want it."""
    room: Box | None = None
    """Where the product may be, in place of the template's own."""
    area: Box | None = None
    """Which part of it the scene fills, where the rest is the overlay's: left, top, right and bottom as
    parts of its edges; mirrored like a room. All of it, by default."""
    trim: float = 0.0
    """How much of each of the scene's edges, which models draw worst, is cut off, as a part of it."""
    radius: float = 0.0
    """Of its corners, as a part of the shorter edge; beyond them a PNG or WebP is clear."""

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise ValueError(f"an output's name is of small letters, digits and hyphens, not {self.name!r}")
        if not (1 <= self.width <= MOST_EDGE and 1 <= self.height <= MOST_EDGE):
            raise ValueError(f"an edge of {self.name} is not between 1 and {MOST_EDGE} pixels")
        if self.width * self.height > MOST_PIXELS:
            raise ValueError(f"{self.name} has more than {MOST_PIXELS} pixels")
        left, top, right, bottom = self.edges
        if min(self.edges) < 0 or left + right >= self.width or top + bottom >= self.height:
            raise ValueError(f"the safe area of {self.name} is a part of its shorter edge, below 0.5")
        parts = (("trim", self.trim, 0.5), ("radius", self.radius, 0.501))
        wrong = next((name for name, part, most in parts if not 0 <= part < most), None)
        if wrong:
            raise ValueError(f"the {wrong} of {self.name} is a part of an edge, from 0 and below 0.5")
        if not all(0 <= place <= 1 for place in self.focus):
            raise ValueError(f"the focus of {self.name} is within the picture: 0 to 1")
        for room in (self.room, self.area):
            if room is not None:
                check_room(room)
        if not 18 <= self.dpi <= 1200:
            raise ValueError(f"the dpi of {self.name} is not between 18 and 1200")

    @property
    def edges(self) -> Box:
        """How far text and logos stay off the left, top, right and bottom edge, in pixels."""
        sides = self.safe if isinstance(self.safe, tuple) else (self.safe,) * 4
        shorter = min(self.width, self.height)
        left, top, right, bottom = (side * shorter for side in sides)
        return left, top, right, bottom


class Product(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The caller's product: cut out of its picture and laid on the scene with its own pixels."""

    of: str
    """The variable that has its picture."""
    room: Box = (0.15, 0.15, 0.85, 0.85)
    """Where in an output it may be: left, top, right and bottom as parts of its edges. As a page that is
    read from left to right has it; mirrored where the words' language is read the other way."""
    least: float = 0.6
    """How much of its room it fills at least, enlarged where it is smaller."""
    align: tuple[float, float] = (0.5, 1.0)
    """Where in its room it stands when it does not fill it: 0 is left and top."""
    shadow: Literal["cast", "contact", "none"] = "cast"
    """`cast`: its outline lies on the ground beside it; `contact`: only where it touches the ground."""

    def __post_init__(self) -> None:
        check_room(self.room)
        if not 0 < self.least <= 1 or not all(0 <= place <= 1 for place in self.align):
            raise ValueError("`least` and `align` of a product are from 0 to 1")


class TemplateRow(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`template.yaml` as written."""

    title: str
    description: str
    variables: dict[str, Variable]
    steps: tuple[Step, ...]
    """In their order; the last scene of them is what the overlay lies on."""
    outputs: tuple[Output, ...] = ()
    """None: the pictures of the last step come out as they are."""
    sample: dict[str, Any] = {}
    """Variables of an example; of an image, the name of a file in the folder."""
    scene: str | None = None
    """The step whose picture fills each output; the last one by default."""
    product: Product | None = None


def check_room(room: Box) -> None:
    """See that a room has some.

    Raises:
        ValueError: it does not, or lies outside of the picture.
    """
    left, top, right, bottom = room
    if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
        raise ValueError("a room is left, top, right and bottom, as parts of the picture's edges: 0 to 1")


def problem_of(row: TemplateRow) -> str | None:
    """What the rows of a template say against one another; None when nothing."""
    return next((why for why in (_names(row), _steps(row), _outputs(row), _sample(row)) if why), None)


def _names(row: TemplateRow) -> str | None:
    for name in row.variables:
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", name):
            return f"a variable's name is of small letters, digits and underscores, not {name!r}"
    named = [
        *(name for step in row.steps for name in (*step.send.values(), *step.when, *step.unless)),
        *(name for step in row.steps for use in step.use for name in (*use.when, *use.if_)),
        *(name for output in row.outputs for name in output.when),
        *row.sample,
    ]
    unknown = next((name for name in named if name not in row.variables), None)
    return None if unknown is None else f"there is no variable {unknown!r}"


def _steps(row: TemplateRow) -> str | None:
    before: list[str] = []
    for step in row.steps:
        if step.name in before or step.name in row.variables or not NAME.fullmatch(step.name):
            return f"a step cannot be called {step.name!r}"
        if not step.use or step.use[-1].when or step.use[-1].if_:
            return f"the last `use` of {step.name} serves always, so it has no `when`"
        if "prompt" in (*step.inputs, *step.send):
            return f"the prompt of {step.name} is its file's"
        if (step.of is None) != (step.do == "generate"):
            return f"{step.name}: {step.do} {'takes' if step.of is None else 'does not take'} a picture: `of`"
        images = {name for name, variable in row.variables.items() if variable.type == "image"}
        if step.of is not None and step.of not in (*before, *images):
            return f"{step.name} is of {step.of!r}, which is no step before it and no image"
        before.append(step.name)
    if row.scene is not None and row.scene not in before:
        return f"the scene is {row.scene!r}, which is no step"
    images = {name for name, variable in row.variables.items() if variable.type == "image"}
    if row.product is not None and row.product.of not in images:
        return f"the product is of {row.product.of!r}, which is no image"
    return None


def _outputs(row: TemplateRow) -> str | None:
    names = [output.name for output in row.outputs]
    twice = next((name for name in names if names.count(name) > 1), None)
    return None if twice is None else f"two outputs are called {twice!r}"


def _sample(row: TemplateRow) -> str | None:
    missing = [
        name for name, variable in row.variables.items() if variable.required and name not in row.sample
    ]
    return f"the sample lacks {missing[0]}" if row.outputs and missing else None
