"""The shapes of the registry: what a model is, how it can be run and what it costs.

Two families of structs live here. `*Row` structs are what a person writes in `models.yaml`;
the others are what the rest of the program reads, with every dialect merged in. The loader
(`registry.load`) turns the first into the second. Nothing here knows a provider but by name.
"""

import re
from decimal import Decimal
from typing import Any, Literal

from msgspec import Struct, field
from msgspec.structs import replace

from registry.prices_schema import CostRow, Multiplier, Price, PriceList, Rate, Surcharge, Table
from registry.sizes_schema import SizeRow, SizeRule, SizeStyle, ordered
from registry.styles_schema import PromptStyle

__all__ = [
    "Catalogue",
    "CostRow",
    "DialectRow",
    "Feature",
    "Intent",
    "Model",
    "ModelRow",
    "Multiplier",
    "Output",
    "ParameterRule",
    "Pipeline",
    "Price",
    "PriceList",
    "PromptStyle",
    "ProviderRow",
    "Rate",
    "Route",
    "RouteRow",
    "SizeRow",
    "SizeRule",
    "SizeStyle",
    "Surcharge",
    "Table",
    "Term",
    "TermType",
    "Tier",
]

Feature = Literal["image", "mask", "lora", "target_image", "references"]
"""A kind of input whose presence chooses a route (`when`)."""

Output = Literal["raster", "vector"]
"""Pixels, or shapes (SVG)."""

TermType = Literal[
    "string",
    "integer",
    "number",
    "boolean",
    "reference",
    "references",
    "loras",
    "size",
    "ratio",
]


class Term(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One word of the unified vocabulary, with the spellings other ecosystems give it.

    Raises:
        ValueError: min above max, limits of another type, or a spelling of a value that is not
            in the enum.
    """

    type: TermType
    about: str
    """One line for people: shape, unit, meaning."""
    matters: Literal["picture", "hint"] = "hint"
    """`picture`: what cannot be honoured is an error unless the caller says otherwise;
    `hint`: it is a warning."""
    aliases: tuple[str, ...] = ()
    values: dict[str, str] = {}
    """Other spellings of a value: `k_euler: euler`."""
    enum: tuple[str, ...] = ()
    min: int | float | None = None
    max: int | float | None = None
    max_length: int | None = None
    """Characters."""

    def __post_init__(self) -> None:
        ordered(self.min, self.max)
        if self.type != "string" and (self.enum or self.values or self.max_length is not None):
            raise ValueError("enum, values and max_length are of text alone")
        if self.type not in ("integer", "number") and (self.min is not None or self.max is not None):
            raise ValueError("min and max are of numbers alone")
        strange = [value for value in self.values.values() if self.enum and value not in self.enum]
        if strange:
            raise ValueError(f"{strange[0]!r} is not in the enum")


class ParameterRule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How one parameter is spelled, limited and defaulted on a route.

    Raises:
        ValueError: min above max.
    """

    send: str | None = None
    """The endpoint's own name for it; its unified name when not given."""
    shape: Literal["value", "string", "list", "more", "loras"] = "value"
    """`string`: sent as text ("4"); `list`: wrapped in a list; `more`: put behind what a parameter before it
    has sent under the same name; `loras`: [{path, scale}]."""
    type: Literal["string", "integer", "number", "boolean"] | None = None
    """Only of a native parameter: the vocabulary types the others."""
    native: bool = False
    """A parameter of this endpoint that the vocabulary does not have, passed as it is."""
    min: int | float | None = None
    """Of a number; of `loras`, of each one's scale."""
    max: int | float | None = None
    most: int | None = None
    """Of a list: how many."""
    enum: tuple[str, ...] = ()
    default: Any = None
    about: str = ""

    def __post_init__(self) -> None:
        ordered(self.min, self.max)

    def wider(self, other: "ParameterRule") -> "ParameterRule":
        """This rule, with every value that the other takes allowed too."""
        low = None if self.min is None or other.min is None else min(self.min, other.min)
        high = None if self.max is None or other.max is None else max(self.max, other.max)
        both = tuple(dict.fromkeys((*self.enum, *other.enum))) if self.enum and other.enum else ()
        default = self.default if self.default == other.default else None
        return replace(self, min=low, max=high, enum=both, default=default)


class DialectRow(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a family of endpoints spells the vocabulary, as written."""

    extends: str | None = None
    parameters: dict[str, ParameterRule | None] = {}
    """null takes away what the extended dialect has."""
    constants: dict[str, Any] = {}
    """Fields sent with every request."""
    size: SizeRow | None = None
    provider_cost: CostRow | None = None
    """Of its routes, unless they say otherwise."""
    prompt_style: str | None = None
    """A key of the registry's `prompt_styles`."""
    output: Output | None = None
    """`vector`: its pictures may be SVG. `raster` when not given."""


class Pipeline(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a diffusers engine loads for a route."""

    source: str
    """A Hugging Face id, or `embedded:<name>` for a model that this package ships."""
    pipeline_class: str = field(name="class")
    """A pipeline class of diffusers, by name."""
    tier: str
    """A key of the registry's `tiers`."""
    dtype: Literal["float32", "float16", "bfloat16"]
    device_map: str | None = None
    variant: str | None = None
    sizes: tuple[str, ...] = ()
    """What the weights draw well, `["256x256", "576x192"]`, the model's own size first. A request
    for another is drawn at the nearest of these, then cut and scaled. None: they draw every size."""


class RouteRow(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One way to run a model, as written."""

    provider: str
    endpoint: str
    dialect: str
    provider_cost: CostRow | None = None
    """The dialect's when not given."""
    when: tuple[Feature, ...] = ()
    pipeline: Pipeline | None = None
    parameters: dict[str, ParameterRule | None] = {}
    constants: dict[str, Any] = {}
    size: SizeRow | None = None
    prompt_style: str | None = None
    output: Output | None = None


class ModelRow(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model as written."""

    description: str
    tasks: tuple[
        Literal[
            "text-to-image", "image-to-image", "inpainting", "face-swap", "upscale", "background-removal"
        ],
        ...,
    ]
    routes: tuple[RouteRow, ...]
    price: Price | None = None
    required: tuple[str, ...] = ("prompt",)
    aliases: tuple[str, ...] = ()
    status: Literal["active", "deprecated", "retired"] = "active"
    below_cost: str | None = None
    """Why this model may be sold below what it costs us at some size."""


class ProviderRow(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A named provider instance."""

    type: str
    """A built-in provider type, or one that an installed package registers."""
    key: str | None = None
    """The environment variable that holds its credential."""
    base_url: str | None = None


class Tier(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A class of machine that diffusers models run on.

    Raises:
        ValueError: a negative price.
    """

    memory_gb: int
    per_second: Decimal
    """US dollars a second, as the cloud bills it; 0 for this machine."""

    def __post_init__(self) -> None:
        if not self.per_second.is_finite() or self.per_second < 0:
            raise ValueError("per_second is a number of dollars, 0 or more")


class Intent(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A need, and the models that serve it, best first."""

    about: str
    models: tuple[str, ...]
    needs: tuple[Feature, ...] = ()
    """Inputs without which it makes no sense."""
    prompts: tuple[str, ...] = ()
    """What tells it from a prompt, for `intent: auto`: regular expressions, capitals or not.

    Raises:
        ValueError: one is none.
    """

    def __post_init__(self) -> None:
        for pattern in self.prompts:
            try:
                re.compile(pattern, re.IGNORECASE)
            except re.error as error:
                raise ValueError(f"{pattern!r} is no regular expression: {error}") from error


class Route(Struct, frozen=True, kw_only=True):
    """One way to run a model, its dialect merged in."""

    model: str
    index: int
    """Place among the model's routes, from 0."""
    when: frozenset[str]
    provider: str
    endpoint: str
    dialect: str
    parameters: dict[str, ParameterRule]
    constants: dict[str, Any]
    size: SizeRule
    provider_cost: Price
    pipeline: Pipeline | None
    prompt_style: PromptStyle | None = None
    """How the model wants its prompts written."""
    output: Output = "raster"

    @property
    def images_per_call(self) -> int | None:
        """How many pictures the endpoint makes at once; None when no limit is known."""
        rule = self.parameters.get("num_images")
        if rule is None:
            return 1
        return None if rule.max is None else int(rule.max)

    @property
    def repeatable(self) -> bool:
        """Whether a second call gives another picture. An endpoint without a prompt, which removes a
        background or swaps a face, gives the same one again.
        """
        return "prompt" in self.parameters


class Model(Struct, frozen=True, kw_only=True):
    """A model that callers can name."""

    id: str
    description: str
    tasks: tuple[str, ...]
    required: tuple[str, ...]
    price: Price
    aliases: tuple[str, ...]
    status: Literal["active", "deprecated", "retired"]
    below_cost: str | None
    routes: tuple[Route, ...]

    def parameters(self) -> dict[str, ParameterRule]:
        """Every parameter that some route of the model takes, by unified or native name, with
        the values that any of them takes and the default that all of them have.
        """
        merged: dict[str, ParameterRule] = {}
        for route in self.routes:
            for name, rule in route.parameters.items():
                merged[name] = merged[name].wider(rule) if name in merged else rule
        return merged


class Catalogue(Struct, frozen=True, kw_only=True):
    """The whole registry, checked and merged: what `registry.catalog.Catalog` looks things up in."""

    version: str
    """The first 12 hex digits of the sha256 of the file: jobs keep it."""
    providers: dict[str, ProviderRow]
    tiers: dict[str, Tier]
    vocabulary: dict[str, Term]
    models: dict[str, Model]
    intents: dict[str, Intent]
    default: tuple[str, ...]
    """The models that serve when a caller names neither model nor intent, best first."""
    dialects: tuple[str, ...] = ()
    """The names of its dialects, which the routes have merged in."""
    price_lists: dict[str, PriceList] = {}
    """What some accounts pay, by the list's name."""
