"""What goes over the wire of templates, beside the job that a run is."""

from decimal import Decimal
from typing import Any

from msgspec import Struct, field

from templates.rows import Deed, Format

__all__ = [
    "PreviewOutputView",
    "PreviewTextView",
    "PreviewView",
    "TemplateDetail",
    "TemplateList",
    "TemplateOutputView",
    "TemplateStepView",
    "TemplateView",
    "UseView",
]


class TemplateOutputView(Struct, frozen=True, kw_only=True, rename="camel"):
    """A finished file that a template makes."""

    name: str
    width: int
    """Pixels; it is exactly so wide."""
    height: int
    format: Format
    about: str
    when: tuple[str, ...]
    """Made only where all of these variables are given."""


class UseView(Struct, frozen=True, kw_only=True, rename="camel"):
    """What serves a step, and when: the first that fits does."""

    when: tuple[str, ...]
    """Where all of these variables are given."""
    values: dict[str, tuple[str, ...]] = field(name="if")
    """Where variables have one of these values."""
    model: str | None
    intent: str | None
    """In place of a model: the first of its models that can serve."""
    available: bool
    unavailable_because: str | None


class TemplateStepView(Struct, frozen=True, kw_only=True, rename="camel"):
    """A picture that is made before anything is laid over it."""

    name: str
    does: Deed
    of: str | None
    """Whose picture it takes: a step's, or a variable's."""
    uses: tuple[UseView, ...]
    when: tuple[str, ...]
    """Made only where all of these variables are given."""
    unless: tuple[str, ...]
    """Not made where one of these variables is given."""
    only_if: str | None
    """`no-cutout`: only where the product cannot be cut out of its picture by rule."""
    optional: bool
    """Left out, with a warning, where no model can do it now."""
    available: bool
    """Where no variable asks for something else."""
    unavailable_because: str | None


class TemplateView(Struct, frozen=True, kw_only=True, rename="camel"):
    """A template, as the list has it."""

    name: str
    title: str
    description: str
    variables: dict[str, Any]
    """JSON Schema."""
    text: tuple[str, ...]
    """By whom its words may be set (the variable `text`), where that can be chosen."""
    outputs: tuple[TemplateOutputView, ...]
    """None: the last step's pictures come out as they are."""
    steps: tuple[TemplateStepView, ...]
    thumbnail_url: str | None
    available: bool
    """With the variables that it requires alone."""
    unavailable_because: str | None
    price: Decimal | None
    """US dollars for its sample, as things stand; null where that cannot be told."""
    price_micros: int | None
    currency: str
    version: str
    """Of its files."""


class TemplateDetail(TemplateView, frozen=True, kw_only=True, rename="camel"):
    """A template with an example."""

    sample: dict[str, Any]
    """Variables that can be sent as they are; pictures as `data:` URLs."""


class TemplateList(Struct, frozen=True, kw_only=True, rename="camel"):
    """The templates."""

    templates: tuple[TemplateView, ...]


class PreviewTextView(Struct, frozen=True, kw_only=True, rename="camel"):
    """Words in an output; places and sizes in its pixels."""

    name: str
    """The variable that they come from."""
    text: str
    lines: tuple[str, ...]
    size: float
    """Of the letters."""
    x: float
    y: float
    width: float
    height: float
    color: str
    contrast: float
    """The lowest to any pixel beneath them, by WCAG 2; never below 4.5."""
    scrim: float
    """The opacity of the scrim beneath them; 0: there is none."""


class PreviewOutputView(Struct, frozen=True, kw_only=True, rename="camel"):
    """An output as it would be, small."""

    name: str
    width: int
    """Pixels of the file that a run makes."""
    height: int
    content_type: str
    """Of that file."""
    data_url: str
    """The preview, as WebP: of that size, or smaller."""
    texts: tuple[PreviewTextView, ...]


class PreviewView(Struct, frozen=True, kw_only=True, rename="camel"):
    """Outputs over a scene that is drawn by rule."""

    template: str
    outputs: tuple[PreviewOutputView, ...]
    warnings: tuple[str, ...]
    """What a run will do otherwise."""
