"""Models that this package ships, named `embedded:<name>` in the registry."""

import os
from pathlib import Path

from providers.diffusers_modal.embedded.build import ensure

__all__ = ["folder"]


def folder(name: str) -> Path:
    """Where an embedded model is: a folder that diffusers loads. Built on its first use.

    Raises:
        LookupError: there is none of this name.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return ensure(name, cache / "image-gateway")
