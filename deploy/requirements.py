"""Prints what pyproject.toml asks for, a line each: the dependencies, or those of the extras that are named.

The images install these before the sources come, so that a change of the sources costs no new download.
"""

import sys
import tomllib
from pathlib import Path

project = tomllib.loads(Path("pyproject.toml").read_text("utf-8"))["project"]
extras = sys.argv[1:]
wanted = [each for extra in extras for each in project["optional-dependencies"][extra]]
sys.stdout.writelines(f"{line}\n" for line in (wanted if extras else project["dependencies"]))
