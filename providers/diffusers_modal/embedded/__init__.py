"""Models that this package ships, named `embedded:<name>` in the registry.

`MODEL_CARD.md` says what the one called `mini` draws, how well, and how it was trained.
"""

from pathlib import Path

__all__ = ["folder"]

_WEIGHTS = Path(__file__).parent / "weights"


def folder(name: str) -> Path:
    """Where an embedded model is: a folder that diffusers loads.

    Raises:
        LookupError: there is none of this name.
    """
    names = sorted(path.name for path in _WEIGHTS.iterdir()) if _WEIGHTS.is_dir() else []
    if name not in names:
        raise LookupError(f"there is no embedded model {name!r}; there is {', '.join(names) or 'none here'}")
    return _WEIGHTS / name
