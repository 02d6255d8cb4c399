"""Rehearses the shipped templates and notes their versions, so that no start need do it again.

`python -m templates.tried`, after a change in `templates/library/`; a test fails until it was run.
"""

from importlib import resources
from pathlib import Path

import msgspec

from templates.library import TRIED, TemplateLibrary, rehearse

__all__ = ["versions"]


def versions() -> dict[str, str]:
    """The version of each shipped template, all of them rehearsed.

    Raises:
        TemplateError: something is wrong with one.
    """
    found = TemplateLibrary.load().templates
    for template in found.values():
        rehearse(template)
    return {name: template.version for name, template in found.items()}


def main() -> None:
    """Write them down."""
    target = Path(str(resources.files("templates").joinpath("library", TRIED)))
    target.write_bytes(msgspec.json.format(msgspec.json.encode(versions()), indent=2) + b"\n")


if __name__ == "__main__":
    main()
