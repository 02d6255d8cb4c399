"""The names that labels of metrics may have: those that the registry and the templates have now."""

from typing import TYPE_CHECKING

from gateway.observe.metrics import Bounds
from gateway.runs.records import PROVIDER, model_of

if TYPE_CHECKING:
    from gateway.core import Core

__all__ = ["bounds_of"]


def bounds_of(core: "Core") -> Bounds:
    """Those of a core, also after its registry was read again."""
    return Bounds(
        lambda name: name in core.catalog.models or name in map(model_of, core.templates.templates),
        lambda name: name == PROVIDER or name in core.catalog.data.providers,
    )
