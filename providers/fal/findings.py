"""What a comparison of our registry with fal's documents found, or that there was none."""

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct

__all__ = ["CODES", "CatalogueError", "Finding", "Level"]

Level = Literal["breaks", "note"]
"""`breaks`: a request that we plan would be refused, or cost more than we think. `note`: worth knowing."""

CODES: Mapping[str, Level] = {
    "endpoint_removed": "breaks",
    "field_gone": "breaks",
    "field_required": "breaks",
    "type_changed": "breaks",
    "value_gone": "breaks",
    "range_narrower": "breaks",
    "result_changed": "breaks",
    "price_raised": "breaks",
    "price_unit_changed": "breaks",
    "endpoint_deprecated": "note",
    "not_read": "note",
    "field_unused": "note",
    "value_unused": "note",
    "range_wider": "note",
    "text_shorter": "note",
    "price_lower": "note",
    "price_not_comparable": "note",
}
"""Every code, and what it is; docs/registry.md says what each means."""


class CatalogueError(Exception):
    """fal could not be asked. The message says what to do."""


class Finding(Struct, frozen=True, kw_only=True):
    """One difference between a route of ours and what fal says of its endpoint.

    Raises:
        ValueError: the code is none, or of the other level.
    """

    level: Level
    code: str
    """Stable, for programs: one of `CODES`."""
    model: str
    endpoint: str
    message: str
    todo: str
    """What a person does about it."""

    def __post_init__(self) -> None:
        if CODES.get(self.code) != self.level:
            raise ValueError(f"{self.code!r} is no code that {self.level}")
